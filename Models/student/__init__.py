"""The student: a policy that observes frames and joints, or the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.lazy import lazy

if TYPE_CHECKING:
    from Models.student.bundle import load_student, save_student
    from Models.student.config import StudentConfig
    from Models.student.policy import StudentPolicy

__all__ = ["StudentConfig", "StudentPolicy", "load_student", "save_student"]
# Lazily, so that the configuration is read without torch.
__getattr__ = lazy(
    __name__,
    {
        "bundle": ("load_student", "save_student"),
        "config": ("StudentConfig",),
        "policy": ("StudentPolicy",),
    },
)
