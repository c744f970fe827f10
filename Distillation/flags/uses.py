"""Which methods use which flag. What the chosen one has no use for is refused, not passed over.

Flags of the whole toolkit, which say where and how long a run runs, are no mistake with any method:
one without effect is told of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from Algorithm.method_registry import METHODS
from Common.errors import UserError
from Distillation.flags.groups import RunFlags, flag_methods, flag_values
from Distillation.flags.resolve import Flags
from Enviroment.dataset.reader import parse_count

# The methods of every flag but the methods' own.
USES: Mapping[str, tuple[str, ...]] = flag_methods(Flags)
# Of every method, whether it uses them or not: a command line may have the same ones for all.
WHOLE_TOOLKIT = ("run_index", *(field.name for field in dataclasses.fields(RunFlags)))
# What to do instead, or why there is nothing to do.
_NOTES = {
    "overwrite": " (a dataset is never deleted: delete its folder, or go on with it by --resume)",
    "init_from": " (DAgger goes on from a BC run by --folder_Dagger RUN)",
    **dict.fromkeys(("corrupt_teacher", "min_teacher_std"), " (PPO has no teacher)"),
}


@dataclass(frozen=True)
class _Need:
    """What a flag needs of the others, even with a method that uses it."""

    flags: tuple[str, ...]
    is_met: Callable[[Flags], bool]
    text: str  # follows the flag's name and a colon


_NEEDS = (
    _Need(
        ("final_lambda",),
        lambda flags: flags.training.lambda_schedule != "constant",
        "only with --lambda_schedule linear or skill, which end there",
    ),
    _Need(
        ("mode_alpha",),
        lambda flags: flags.cloning.alpha != 0,
        "only with --alpha above 0, which it changes while learning",
    ),
    _Need(
        ("learning_rate", "optimization_steps"),
        lambda flags: not flags.method.chosen.takes("rounds") or _has_round_zero(flags),
        "only for DAgger's round 0, which --folder_Dagger and --dataset none leave out (the others "
        "have --round_gradient_steps, and a rate of their own)",
    ),
    _Need(
        ("collect_missing",),
        lambda flags: (
            flags.cloning.folder_Dagger is not None
            or parse_count(flags.cloning.dataset) is not None
        ),
        "only with a --dataset that is a count of env steps (a folder is collected by --C_data)",
    ),
    _Need(
        ("behaviour_noise",),
        lambda flags: flags.method.chosen.takes("collection") or flags.cloning.collect_missing,
        "only with --C_data, or with --collect_missing",
    ),
    _Need(
        ("run_index",),
        lambda flags: (
            not flags.method.chosen.takes("collection") or flags.teaching.corrupt_teacher != 0
        ),
        "only with --corrupt_teacher, whose noise it seeds (episodes are the same in all datasets)",
    ),
    _Need(
        ("pooling", "init_log_std"),
        lambda flags: flags.training.init_from is None,
        "only without --init_from, which has a network already",
    ),
)


class UselessFlagsError(UserError):
    """Flags that would have changed nothing."""

    def __init__(self, method: str, reasons: Mapping[str, str]) -> None:
        self.flags = tuple(reasons)
        flags_of: dict[str, list[str]] = {}
        for flag, reason in reasons.items():
            flags_of.setdefault(reason, []).append(flag)
        lines = (f"\n  {_listed(flags)}: {reason}" for reason, flags in flags_of.items())
        super().__init__(
            f"--{method} has no use for these flags as given; leave them out:{''.join(lines)}"
        )


def check_uses(flags: Flags, defaults: Mapping[str, Any]) -> None:
    """Refuse, all at once, flags that differ from their defaults and would change nothing.

    Those of the whole toolkit are no mistake: see `without_effect`.

    Args:
        defaults: of every flag, for the same task and method.

    Raises:
        UserError: names them, and the methods that they are for; or not exactly one method is
            given.
    """
    reasons = _useless(flags, defaults)
    if refused := {name: r for name, r in reasons.items() if name not in WHOLE_TOOLKIT}:
        raise UselessFlagsError(flags.method.name, refused)


def without_effect(flags: Flags, defaults: Mapping[str, Any]) -> str:
    """Return a line on the flags of the whole toolkit that change nothing; empty: there are none.

    Args:
        defaults: of every flag, for the same task and method.
    """
    names = [name for name in _useless(flags, defaults) if name in WHOLE_TOOLKIT]
    if not names:
        return ""
    told = ", ".join(f"--{name}{_NOTES.get(name, '')}" for name in names)
    return f"Note: without effect with --{flags.method.name}: {told}."


def _useless(flags: Flags, defaults: Mapping[str, Any]) -> dict[str, str]:
    """Flags that differ from their defaults and change nothing, and why."""
    method = flags.method.name
    changed = [name for name, value in flag_values(flags).items() if value != defaults[name]]
    reasons = {name: why_unused(name, method, flags) for name in changed if name not in METHODS}
    return {name: reason for name, reason in reasons.items() if reason}


def why_unused(name: str, method: str, flags: Flags) -> str:
    """Return why the flag would change nothing; empty where it would."""
    if method not in USES[name]:
        return f"only with {_listed(USES[name])}{_NOTES.get(name, '')}"
    unmet = (need.text for need in _NEEDS if name in need.flags and not need.is_met(flags))
    return next(unmet, "")


def _listed(flags: Collection[str]) -> str:
    return ", ".join(f"--{flag}" for flag in flags)


def _has_round_zero(flags: Flags) -> bool:
    return flags.cloning.folder_Dagger is None and flags.cloning.dataset != "none"
