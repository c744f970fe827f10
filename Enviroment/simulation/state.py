"""Store and restore the state of vectorised environments as plain data."""

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
from Common.files.typed_json import typed_fields
from Enviroment.simulation.held import Held
from Enviroment.simulation.snapshots import Snapshot


@dataclass(frozen=True)
class EnvState:
    """The complete state of vectorised environments, without pickle."""

    arrays: dict[str, np.ndarray]
    values: dict[str, Any]  # JSON


@runtime_checkable
class Savable(Protocol):
    """Environments that can be saved and restored bit-for-bit."""

    def save_state(self) -> EnvState:
        """Return the complete state. Call it between steps."""
        ...

    def restore_state(self, state: EnvState) -> Any:
        """Restore a state; return the observation that a policy acts on next."""
        ...


def savable(env: VecEnv) -> Savable:
    """Return the environments inside SB3's wrappers. The wrappers' own state is not included.

    Raises:
        NoStateError: the environments are not of this toolkit and cannot be saved.
    """
    inner = env.unwrapped
    if not isinstance(inner, Savable):
        raise NoStateError(
            f"{type(inner).__name__} cannot be saved: only environments of `make_env` and "
            "`make_state_env` can."
        )
    return inner


@dataclass(frozen=True)
class _Stored:
    """The values of `pack`, one item per environment but for `sizes`."""

    episode_seeds: tuple[int, ...]
    sizes: tuple[int, ...]  # bytes of each chunk in `held`
    chunks: tuple[tuple[int, ...], ...]  # indices into `sizes` of each environment's chunks
    # As text: a checkpoint would write each of the many small parts on a line of its own.
    trees: tuple[str, ...]


def pack(snapshots: Sequence[Snapshot]) -> EnvState:
    """Return the state of all snapshots, in their order. Equal chunks are stored once."""
    places: dict[bytes, int] = {}
    chunks = [
        [places.setdefault(chunk, len(places)) for chunk in snapshot.held.chunks]
        for snapshot in snapshots
    ]
    return EnvState(
        arrays={"held": np.frombuffer(b"".join(places), np.uint8)},
        values={
            "episode_seeds": [snapshot.episode_seed for snapshot in snapshots],
            "sizes": [len(chunk) for chunk in places],
            "chunks": chunks,
            "trees": [json.dumps(snapshot.held.tree, allow_nan=False) for snapshot in snapshots],
        },
    )


def unpack(state: EnvState, n_envs: int) -> list[Snapshot]:
    """Return the inverse of `pack`.

    Raises:
        UserError: an entry is missing or of the wrong kind.
    """
    blob = _array(state, "held", np.uint8, (None,)).tobytes()
    try:
        stored = _Stored(**typed_fields(_Stored, state.values))
        ends = np.cumsum([0, *stored.sizes]).tolist()
        if ends[-1] != len(blob) or min(stored.sizes, default=0) < 0:
            raise ValueError("'held' is not as long as its parts")
        chunks = [blob[start:end] for start, end in pairwise(ends)]
        rows = list(zip(stored.episode_seeds, stored.trees, stored.chunks, strict=True))
        if len(rows) != n_envs:
            raise ValueError(f"there are {len(rows)}, not {n_envs}")
        return [
            Snapshot(seed, Held(json.loads(tree), tuple(chunks[place] for place in own)))
            for seed, tree, own in rows
        ]
    except (IndexError, TypeError, ValueError, RecursionError) as error:
        # A plain ValueError is a sentence of a check; other errors need their type to be clear.
        what = error if type(error) is ValueError else repr(error)
        raise UserError(f"The saved environments are damaged: {what}.") from error


def load_array(state: EnvState, name: str, into: np.ndarray) -> None:
    """Copy an array of the state into one of the same type and shape.

    Raises:
        UserError: the array is missing, or of another type or shape.
    """
    into[:] = _array(state, name, into.dtype, into.shape)


def load_number(state: EnvState, name: str) -> float:
    """Return a number of the state.

    Raises:
        UserError: it is missing, or not a number.
    """
    value = state.values.get(name)
    if not isinstance(value, int | float):
        raise UserError(f"The saved environments are damaged: {name!r} is not a number.")
    return float(value)


def check_same(state: EnvState, made_with: dict[str, Any]) -> None:
    """Check that the state is of environments with the same settings.

    Args:
        state: a state with its settings in the value `made_with`.
        made_with: settings of the environments to restore; JSON, so without tuples.

    Raises:
        UserError: settings differ. The message lists them.
    """
    saved = state.values.get("made_with")
    if not isinstance(saved, dict):
        raise UserError("The saved environments are damaged: their settings are missing.")
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
