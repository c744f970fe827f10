"""What of `SHORT` a method has a use for: the rest would be refused."""

from __future__ import annotations

from Algorithm.method_registry import METHODS
from Distillation.flags.uses import USES
from tests.support.short_run import SHORT


def short_for(*flags: str) -> tuple[str, ...]:
    """For the method among the flags; all of it where there is none."""
    pairs = zip(SHORT[:-1:2], SHORT[1::2], strict=True)  # the last one is a switch
    methods = [flag[2:] for flag in flags if flag[2:] in METHODS]
    kept = [pair for pair in pairs if all(method in USES[pair[0][2:]] for method in methods)]
    return (*(word for pair in kept for word in pair), SHORT[-1])
