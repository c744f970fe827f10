"""Teacher datasets: collect, read, verify, and exchange with Minari."""

from Enviroment.dataset.reader import TeacherDataset

__all__ = ["TeacherDataset"]
