"""Check that the chosen method uses the given flags, instead of ignoring them.

The general flags on execution and output are accepted with every method: a note lists those without
effect.
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
from Enviroment.dataset.count import parse_count

# The methods that accept each flag, without the switches of the methods.
USES: Mapping[str, tuple[str, ...]] = flag_methods(Flags)
# Accepted with every method, so that a command line can pass the same ones to all of them.
WHOLE_TOOLKIT = ("run_index", *(field.name for field in dataclasses.fields(RunFlags)))
# Set by the student of --init_from.
NETWORK_FLAGS = (
    *("pooling", "init_log_std", "camera_encoders", "keypoints"),
    *("backbone", "backbone_sha256", "recurrent", "recurrent_units"),
)
# Reasons, or what to do instead.
_NOTES = {
    "overwrite": " (a dataset is never deleted: delete its folder, or continue with --resume)",
    "init_from": " (DAgger continues a BC run with --folder_Dagger RUN)",
    **dict.fromkeys(
        ("corrupt_teacher", "min_teacher_std", "clip_teacher_mean"), " (PPO has no teacher)"
    ),
}


@dataclass(frozen=True)
class _Condition:
    """A condition on other flags under which flags have an effect."""

    flags: tuple[str, ...]
    is_met: Callable[[Flags], bool]
    text: str  # reason in messages, after the flag's name


_CONDITIONS = (
    _Condition(
        ("final_lambda",),
        lambda flags: flags.training.lambda_schedule != "constant",
        "only with --lambda_schedule linear or skill",
    ),
    _Condition(
        ("teacher_critic",),
        lambda flags: flags.student.critic_on_state or flags.student.mode == "State",
        "only for a critic that observes the state, as the teacher's does (add --critic_on_state)",
    ),
    _Condition(
        ("mode_alpha",),
        lambda flags: flags.cloning.alpha != 0,
        "only with --alpha above 0",
    ),
    _Condition(
        ("learning_rate", "optimization_steps"),
        lambda flags: not flags.method.chosen.takes("rounds") or _has_round_zero(flags),
        "only with DAgger's round 0, which --folder_Dagger and --dataset none skip (rounds "
        "without it use --round_gradient_steps and a fixed learning rate)",
    ),
    _Condition(
        ("dataset", "collect_missing"),
        lambda flags: not flags.method.has_phase("C_data"),
        "only without --C_data, whose --num_data env steps are the dataset",
    ),
    _Condition(
        ("folder_Dagger",),
        lambda flags: not flags.method.has_phase("BC_phase"),
        "only without --BC_phase, which clones a student of its own",
    ),
    _Condition(
        ("collect_missing",),
        lambda flags: (
            flags.cloning.folder_Dagger is not None
            or parse_count(flags.cloning.dataset) is not None
        ),
        "only with a --dataset given as a number of env steps (collect a folder with --C_data)",
    ),
    _Condition(
        ("behaviour_noise",),
        lambda flags: "C_data" in flags.method.phases or flags.cloning.collect_missing,
        "only with --C_data or --collect_missing",
    ),
    _Condition(
        ("run_index",),
        lambda flags: (
            not flags.method.chosen.takes("collection") or flags.teaching.corrupt_teacher != 0
        ),
        "only with --corrupt_teacher, whose noise it seeds (all datasets use the same episodes)",
    ),
    _Condition(
        (
            *("camera", "rgb", "depth", "depth_range"),
            *("stack", "frame_interval", "camera_encoders", "keypoints"),
            *("randomise_looks", "look_ranges"),
        ),
        lambda flags: _observes_frames(flags),
        "only for frames, which students of --mode State do not observe (give another --mode)",
    ),
    _Condition(
        ("pooling",),
        lambda flags: not (flags.student.keypoints or flags.student.own_encoder),
        "only for average pooling, which --keypoints and --encoder replace",
    ),
    _Condition(
        ("keypoints",),
        lambda flags: flags.student.own_encoder is None,
        "only for --mode, which --encoder replaces",
    ),
    _Condition(
        ("backbone", "backbone_sha256"),
        lambda flags: flags.student.own_encoder is not None,
        "only with --encoder, whose class has a `backbone`",
    ),
    _Condition(
        ("backbone_sha256",),
        lambda flags: flags.student.backbone is not None,
        "only with --backbone, the file",
    ),
    _Condition(
        ("recurrent",),
        lambda flags: flags.student.mode != "State" or flags.student.own_encoder is not None,
        "only for frames, because the state leaves nothing to remember (give another --mode)",
    ),
    _Condition(
        ("recurrent_units",),
        lambda flags: flags.student.recurrent != "none",
        "only with --recurrent gru",
    ),
    _Condition(
        ("sequence_length",),
        lambda flags: flags.student.recurrent != "none" or _inherits_network(flags),
        "only with --recurrent gru",
    ),
    _Condition(
        ("randomise_looks", "look_ranges"),
        lambda flags: not flags.student.blind,
        "only without --blind, which zeroes the frames",
    ),
    _Condition(
        ("look_ranges",),
        lambda flags: flags.student.randomise_looks,
        "only with --randomise_looks",
    ),
    _Condition(
        NETWORK_FLAGS,
        lambda flags: flags.training.init_from is None,
        "only without --init_from, which sets the network",
    ),
)


class UnusedFlagsError(UserError):
    """Flags without effect."""

    def __init__(self, phases: Collection[str], reasons: Mapping[str, str]) -> None:
        self.flags = tuple(reasons)
        flags_of: dict[str, list[str]] = {}
        for flag, reason in reasons.items():
            flags_of.setdefault(reason, []).append(flag)
        lines = (f"\n  {_joined(flags)}: {reason}" for reason, flags in flags_of.items())
        verb = "does" if len(phases) == 1 else "do"
        super().__init__(
            f"{_joined(phases)} {verb} not use these flags; leave them out:{''.join(lines)}"
        )


def check_uses(flags: Flags, defaults: Mapping[str, Any]) -> None:
    """Check that all flags that differ from their defaults have an effect.

    General flags are excluded (see `unused_flags_note`).

    Args:
        defaults: default values of all flags for the same task and method.

    Raises:
        UserError: flags have no effect (the message lists them with the reasons), or not exactly
            one method is given.
    """
    reasons = _unused(flags, defaults)
    if refused := {name: r for name, r in reasons.items() if name not in WHOLE_TOOLKIT}:
        raise UnusedFlagsError(flags.method.phases, refused)


def unused_flags_note(flags: Flags, defaults: Mapping[str, Any]) -> str:
    """Return a note on general flags without effect, or an empty string.

    Args:
        defaults: default values of all flags for the same task and method.
    """
    names = [name for name in _unused(flags, defaults) if name in WHOLE_TOOLKIT]
    if not names:
        return ""
    listed = ", ".join(f"--{name}{_NOTES.get(name, '')}" for name in names)
    return f"Note: without effect with {_joined(flags.method.phases)}: {listed}."


def _unused(flags: Flags, defaults: Mapping[str, Any]) -> dict[str, str]:
    """Return the flags that differ from their defaults without effect, and the reasons."""
    flags.method.phases  # noqa: B018 - raises if invalid
    changed = [name for name, value in flag_values(flags).items() if value != defaults[name]]
    reasons = {name: why_unused(name, flags) for name in changed if name not in METHODS}
    return {name: reason for name, reason in reasons.items() if reason}


def why_unused(name: str, flags: Flags) -> str:
    """Return why the flag has no effect, or an empty string if it has one."""
    if not set(flags.method.phases).intersection(USES[name]):
        return f"only with {_joined(USES[name])}{_NOTES.get(name, '')}"
    unmet = (c.text for c in _CONDITIONS if name in c.flags and not c.is_met(flags))
    return next(unmet, "")


def _joined(flags: Collection[str]) -> str:
    return ", ".join(f"--{flag}" for flag in flags)


def _observes_frames(flags: Flags) -> bool:
    """Return whether frames are drawn. DAgger's student may be that of another run."""
    inherits = flags.method.chosen.takes("rounds") and flags.cloning.folder_Dagger is not None
    collects = flags.method.chosen.takes("collection") or flags.cloning.collect_missing
    sees = flags.student.mode != "State" or flags.student.own_encoder is not None
    return sees or collects or inherits


def _inherits_network(flags: Flags) -> bool:
    """Return whether the network is that of another student, which may be recurrent."""
    return flags.training.init_from is not None or flags.cloning.folder_Dagger is not None


def _has_round_zero(flags: Flags) -> bool:
    return flags.cloning.folder_Dagger is None and flags.cloning.dataset != "none"
