"""The teacher: a frozen policy, read from a bundle or converted from an SB3 agent.

`python -m Models.teacher convert ZIP --task TASK --output DIR` and `inspect DIR`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Models.teacher.bundle import save_teacher
    from Models.teacher.policy import Teacher

__all__ = ["Teacher", "save_teacher"]


def __getattr__(name: str) -> Any:
    # Import lazily: `Models.sb3` imports modules of this package, and `Teacher` imports
    # `Models.sb3`.
    if name == "Teacher":
        from Models.teacher.policy import Teacher

        return Teacher
    if name == "save_teacher":
        from Models.teacher.bundle import save_teacher

        return save_teacher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
