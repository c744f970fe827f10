"""Teacher datasets: collect, read, verify, and exchange with Minari."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.lazy import lazy

if TYPE_CHECKING:
    from Enviroment.dataset.reader import TeacherDataset

__all__ = ["TeacherDataset"]
__getattr__ = lazy(__name__, {"reader": ("TeacherDataset",)})  # so that flags are parsed fast
