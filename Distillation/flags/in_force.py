"""Determine the effective settings of a run: its method's flags, with defaults resolved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from Distillation.flags.groups import MethodFlags
from Distillation.flags.resolve import Flags, UncheckedFlags
from Distillation.flags.uses import NETWORK_FLAGS, why_unused
from Evaluation.runs import OF_OLDER_RUNS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_GROUPS = {
    field.name: type(getattr(UncheckedFlags(), field.name))
    for field in dataclasses.fields(Flags)
    if field.name != "method"
}

PHASES = "phases"  # key of a configuration, for a run of several phases


def effective_settings(flags: Flags) -> dict[str, dict[str, Any]]:
    """Return the flags by group, in the form of `config.json`.

    Flags of other methods and flags without a value are left out. Defaults that depend on the
    method are resolved.
    """
    resolved = _resolved(flags)
    groups = {}
    for name in _GROUPS:
        values = {**dataclasses.asdict(getattr(flags, name))}
        values |= {flag: value for flag, value in resolved.items() if flag in values}
        groups[name] = {
            flag: value
            for flag, value in values.items()
            if value is not None and _is_used(flag, flags)
        }
    return groups


def _is_used(flag: str, flags: Flags) -> bool:
    """Return whether the flag has an effect.

    The network flags count as used with `--init_from`, where the initial student sets them.
    """
    is_taken_over = flag in NETWORK_FLAGS and flags.training.init_from is not None
    return is_taken_over or not why_unused(flag, flags)


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration in a normalised form for comparisons.

    Args:
        config: configuration of a `config.json`, of this version or of an older one; 0.1 stored all
            flags as given.

    Raises:
        KeyError, TypeError, UserError: the configuration does not match the flags of this version.
    """
    groups = {name: kind(**_of_older(kind, config[name])) for name, kind in _GROUPS.items()}
    phases = config.get(PHASES, [config["method"]])
    flags = UncheckedFlags(method=MethodFlags(**dict.fromkeys(phases, True)), **groups)
    return {**config, **effective_settings(flags)}


def _of_older(group: type[DataclassInstance], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group of a configuration, with what runs did that lack flags of this version."""
    names = {field.name for field in dataclasses.fields(group)}
    return {**{name: OF_OLDER_RUNS[name] for name in OF_OLDER_RUNS.keys() & names}, **config}


def _resolved(flags: Flags) -> dict[str, Any]:
    """Return the values of flags whose default depends on the method."""
    values: dict[str, Any] = {
        "eval_every": flags.eval_every,
        "checkpoint_every": flags.checkpoint_every,
    }
    family = flags.method.chosen.family
    if family == "cloning":
        clone = flags.clone()
        return {
            **values,
            "learning_rate": clone.learning_rate,
            "batch_size": clone.batch_size,
            "optimization_steps": clone.gradient_steps,
        }
    if family == "collection":
        return values
    config = flags.on_policy()
    first = config.learning_rate
    assert isinstance(first, float)  # flags are numbers
    is_constant = flags.training.learning_rate_schedule == "constant"
    return {
        **values,
        "learning_rate": first,
        "final_learning_rate": None if is_constant else flags.final_learning_rate(first),
        "batch_size": config.batch_size,
        "num_steps": config.n_steps,
        "total_timesteps": flags.total_timesteps,
    }
