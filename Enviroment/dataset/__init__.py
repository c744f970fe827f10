"""Teacher datasets: `python -m Enviroment.dataset {info,verify,repair,export,import}`."""

from Enviroment.dataset.reader import TeacherDataset

__all__ = ["TeacherDataset"]
