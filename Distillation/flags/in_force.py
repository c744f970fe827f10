"""What a run's flags come to: those of its method, with what was in force in place of a default."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from Distillation.flags.groups import MethodFlags
from Distillation.flags.resolve import Flags, UncheckedFlags
from Distillation.flags.uses import why_unused

_GROUPS = {
    field.name: type(getattr(UncheckedFlags(), field.name))
    for field in dataclasses.fields(Flags)
    if field.name != "method"
}

_OF_THE_NETWORK = ("pooling", "init_log_std")


def settings_in_force(flags: Flags) -> dict[str, dict[str, Any]]:
    """Return the flags by group, as `config.json` holds them: flags of other methods are left out,
    a default that depends on the method has its value, and what is not there is not named.
    """
    method, resolved = flags.method.name, _resolved(flags)
    groups = {}
    for name in _GROUPS:
        values = {**dataclasses.asdict(getattr(flags, name))}
        values |= {flag: value for flag, value in resolved.items() if flag in values}
        groups[name] = {
            flag: value
            for flag, value in values.items()
            if value is not None and _is_used(flag, method, flags)
        }
    return groups


def _is_used(flag: str, method: str, flags: Flags) -> bool:
    """Whether the flag decides anything. A run that begins with another student cannot be given
    its network, and has it.
    """
    is_taken_over = flag in _OF_THE_NETWORK and flags.training.init_from is not None
    return is_taken_over or not why_unused(flag, method, flags)


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's configuration says, as JSON, in the form in which two can be compared.

    Args:
        config: of a `config.json`, of this version or of 0.1, which kept all flags as given.

    Raises:
        KeyError, TypeError, UserError: it is not a configuration of this version's flags.
    """
    groups = {name: kind(**config[name]) for name, kind in _GROUPS.items()}
    flags = UncheckedFlags(method=MethodFlags(**{config["method"]: True}), **groups)
    return {**config, **settings_in_force(flags)}


def _resolved(flags: Flags) -> dict[str, Any]:
    """The flags whose default depends on the method."""
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
