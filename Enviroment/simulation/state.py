"""The state of vectorised environments as plain data, to be stored and restored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from Common.differences import differences
from Common.errors import NoStateError, UserError
from Enviroment.simulation.held import Held
from Enviroment.simulation.snapshots import Snapshot


@dataclass(frozen=True)
class EnvState:
    """All that decides what environments show next. Nothing in it needs pickle."""

    arrays: dict[str, np.ndarray]
    values: dict[str, Any]  # JSON


@runtime_checkable
class Savable(Protocol):
    """Environments that can be saved and restored to the bit."""

    def save_state(self) -> EnvState:
        """Everything that decides what comes next. Call it between steps."""
        ...

    def restore_state(self, state: EnvState) -> Any:
        """Go on from there; the observation that a policy acts on next."""
        ...


def savable(env: VecEnv) -> Savable:
    """The environments inside SB3's wrappers, whose own state (`VecNormalize`) is not theirs.

    Raises:
        NoStateError: they come from elsewhere and cannot be saved.
    """
    inner = env.unwrapped
    if not isinstance(inner, Savable):
        raise NoStateError(
            f"{type(inner).__name__} cannot be saved: only environments of `make_env` and "
            "`make_state_env` can."
        )
    return inner


def pack(snapshots: Sequence[Snapshot]) -> EnvState:
    """One entry per environment, in their order. What several hold alike is stored once."""
    places: dict[bytes, int] = {}
    chunks = [
        [places.setdefault(chunk, len(places)) for chunk in snapshot.held.chunks]
        for snapshot in snapshots
    ]
    return EnvState(
        arrays={"held": np.frombuffer(b"".join(places), np.uint8)},
        values={
            "episode_seeds": [snapshot.episode_seed for snapshot in snapshots],
            "sizes": [len(chunk) for chunk in places],  # bytes of each chunk in `held`
            "chunks": chunks,  # the places in `sizes` of an environment's chunks
            # As text: a checkpoint would put each of their many small parts on a line.
            "trees": [json.dumps(snapshot.held.tree, allow_nan=False) for snapshot in snapshots],
        },
    )


def unpack(state: EnvState, n_envs: int) -> list[Snapshot]:
    """The inverse of `pack`.

    Raises:
        UserError: something is missing or of the wrong kind.
    """
    blob = _array(state, "held", np.uint8, (None,)).tobytes()
    sizes = _list(state, "sizes", int)
    seeds = _list(state, "episode_seeds", int, n_envs)
    places, trees = _list(state, "chunks", list, n_envs), _list(state, "trees", str, n_envs)
    ends = np.cumsum([0, *sizes]).tolist()
    if ends[-1] != len(blob) or min(sizes, default=0) < 0:
        raise UserError("The saved environments are damaged: 'held' is not as long as its parts.")
    chunks = [blob[start:end] for start, end in pairwise(ends)]
    try:
        held = [
            Held(json.loads(tree), tuple(chunks[place] for place in own))
            for tree, own in zip(trees, places, strict=True)
        ]
    except (IndexError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"The saved environments are damaged: {error!r}.") from error
    return [Snapshot(*row) for row in zip(seeds, held, strict=True)]


def load_array(state: EnvState, name: str, into: np.ndarray) -> None:
    """Copy an array of the state into one of the same type and shape.

    Raises:
        UserError: it is missing, or of another type or shape.
    """
    into[:] = _array(state, name, into.dtype, into.shape)


def load_number(state: EnvState, name: str) -> float:
    """A number of the state.

    Raises:
        UserError: it is missing, or something else.
    """
    value = state.values.get(name)
    if not isinstance(value, int | float):
        raise UserError(f"The saved environments are damaged: {name!r} is no number.")
    return float(value)


def check_same(state: EnvState, made_with: dict[str, Any]) -> None:
    """Make sure that the state is of environments that were made alike.

    Args:
        state: its value `made_with` tells how.
        made_with: the same of the environments that are to take it; JSON, so no tuples.

    Raises:
        UserError: they were not; lists what differs.
    """
    saved = state.values.get("made_with")
    if not isinstance(saved, dict):
        raise UserError("The saved environments are damaged: they do not say how they were made.")
    if differ := differences(saved, made_with):
        raise UserError(
            f"The saved state is of other environments: {'; '.join(differ)}. "
            "Resume with the settings that the run was started with."
        )


def _array(state: EnvState, name: str, dtype: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    array = state.arrays.get(name)
    if array is None:
        raise UserError(f"The saved environments are damaged: {name!r} is missing.")
    fits = len(array.shape) == len(shape) and all(
        want in (None, size) for want, size in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        raise UserError(
            f"The saved environments are damaged: {name!r} is {array.dtype} {array.shape}, "
            f"expected {np.dtype(dtype)} {shape}."
        )
    return array


def _list(state: EnvState, name: str, kind: type, length: int | None = None) -> list[Any]:
    values = state.values.get(name)
    if (
        not isinstance(values, list)
        or (length is not None and len(values) != length)
        or not all(isinstance(value, kind) for value in values)
    ):
        many = "a list" if length is None else length
        raise UserError(
            f"The saved environments are damaged: {name!r} should hold {many} of {kind.__name__}."
        )
    return values
