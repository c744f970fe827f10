"""The teacher: a frozen policy, read from a bundle or converted from an SB3 agent.

`python -m Models.teacher convert ZIP --task TASK --output DIR` and `inspect DIR`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.lazy import lazy

if TYPE_CHECKING:
    from Models.teacher.adoption import adopt
    from Models.teacher.bundle import save_teacher
    from Models.teacher.policy import Teacher

__all__ = ["Teacher", "adopt", "save_teacher"]
# Lazily: `Models.sb3` imports modules of this package, and `Teacher` imports `Models.sb3`.
__getattr__ = lazy(
    __name__, {"adoption": ("adopt",), "policy": ("Teacher",), "bundle": ("save_teacher",)}
)
