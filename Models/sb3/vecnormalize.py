"""Read VecNormalize's statistics from a live one, or from its file without unpickling."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Common.files.bounded_read import read_bounded
from Models.sb3.inert_pickle import RefusedPickleError, read_inert
from Models.sb3.trust import NO_TRUST, NeedsTrustError, Trust

_MAX_BYTES = 512 * 2**20
# Errors of reading statistics from a record of another class.
_NO_VECNORMALIZE = (KeyError, TypeError, ValueError, AttributeError, IndexError)


@dataclass(frozen=True)
class Normaliser:
    """VecNormalize's statistics of the observations."""

    mean: np.ndarray  # (state_dim,) float64
    var: np.ndarray  # (state_dim,) float64
    clip: float | None  # standard deviations; None: not clipped
    epsilon: float
    reward_scale: float = 1.0  # raw rewards divided by the rewards of training
    # Sizes of the groups in mean and var, in order; None: the observation is a vector.
    groups: dict[str, int] | None = None

    @classmethod
    def identity(cls, state_dim: int) -> Normaliser:
        """Return the statistics for an agent trained on raw states."""
        return cls(np.zeros(state_dim), np.ones(state_dim), clip=None, epsilon=0.0)

    def of_groups(self, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of these groups, in this order."""
        assert self.groups is not None
        ends = np.cumsum(list(self.groups.values()))
        rows = {
            name: np.arange(end - size, end)
            for (name, size), end in zip(self.groups.items(), ends, strict=True)
        }
        order = np.concatenate([np.empty(0, int), *(rows[name] for name in names)])
        return self.mean[order], self.var[order]


def live_normaliser(env: VecNormalize, state_dim: int) -> Normaliser:
    """Return a copy of the current statistics of `env`."""
    statistics = None
    if env.norm_obs:
        rms = env.obs_rms
        by_name = rms if isinstance(rms, dict) else {"": rms}
        statistics = {name: (group.mean, group.var) for name, group in by_name.items()}
    returns: RunningMeanStd = env.ret_rms
    variance = float(returns.var) if env.norm_reward else None
    return _assemble(statistics, env.clip_obs, env.epsilon, variance, state_dim)


def read_vecnormalize(path: Path, state_dim: int, trust: Trust = NO_TRUST) -> Normaliser:
    """Return the statistics in a file of `VecNormalize.save`.

    Args:
        state_dim: size of the identity statistics for a VecNormalize of rewards only.
        trust: whether the file may be unpickled if it cannot be read otherwise.

    Raises:
        NeedsTrustError: the pickle needs names that a VecNormalize does not.
        UserError: the file is missing, damaged, or not of a VecNormalize.
    """
    try:
        content = read_bounded(path, _MAX_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if content.startswith(b"PK"):
        raise UserError(
            f"{path} is a zip file, such as that of an agent, not a file of `VecNormalize.save`. "
            "Give that one as `vecnormalize`."
        )
    try:
        record = read_inert(content, _ALLOWED)
    except RefusedPickleError as error:
        if trust.covers(content):
            return _read_trusted(path, content, state_dim, trust)
        raise NeedsTrustError(
            path, f"{error}, and only names that are known to be harmless are read"
        ) from None
    try:
        return _of_record(record, state_dim)
    except _NO_VECNORMALIZE as error:
        raise UserError(f"{path} is not a VecNormalize of Box states: {error!r}.") from None


class _EveryName:
    def __contains__(self, name: object) -> bool:
        return True


def _read_trusted(path: Path, content: bytes, state_dim: int, trust: Trust) -> Normaliser:
    """Return the statistics of a trusted file with other names.

    Read it as inert records if possible, which needs no imports; otherwise unpickle it.
    """
    with contextlib.suppress(RefusedPickleError, *_NO_VECNORMALIZE):
        return _of_record(read_inert(content, _EveryName()), state_dim)
    env = trust.unpickle(path, content)
    if not isinstance(env, VecNormalize):
        raise UserError(f"{path} is not a VecNormalize but a {type(env).__name__}.")
    return live_normaliser(env, state_dim)


def _assemble(
    statistics: dict[str, tuple[np.ndarray, np.ndarray]] | None,
    clip: float,
    epsilon: float,
    return_variance: float | None,
    state_dim: int,
) -> Normaliser:
    normaliser = Normaliser.identity(state_dim)
    if statistics is not None:
        means, variances = zip(*statistics.values(), strict=True)
        mean, var = (
            np.concatenate([array.ravel() for array in arrays]) for arrays in (means, variances)
        )
        groups = {name: group_mean.size for name, (group_mean, _) in statistics.items()}
        vector = list(groups) == [""]
        if math.isnan(clip):
            raise ValueError("clip_obs is NaN")
        limit = clip if math.isfinite(clip) else None
        normaliser = Normaliser(mean, var, limit, epsilon, groups=None if vector else groups)
    if return_variance is not None:
        scale = float(np.sqrt(return_variance + epsilon))
        normaliser = replace(normaliser, reward_scale=scale)
    return normaliser


# -- the file --------------------------------------------------------------------------------------

_SPACES = (
    ("box", "Box"),
    ("discrete", "Discrete"),
    ("multi_discrete", "MultiDiscrete"),
    ("multi_binary", "MultiBinary"),
    ("dict", "Dict"),
    ("tuple", "Tuple"),
    ("text", "Text"),
)
# All allowed names. NumPy's differ before version 2; Gymnasium was Gym before SB3 2.0.
_ALLOWED = frozenset(
    {
        ("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize"),
        ("stable_baselines3.common.running_mean_std", "RunningMeanStd"),
        *((f"gymnasium.spaces.{module}", name) for module, name in _SPACES),
        *((f"gym.spaces.{module}", name) for module, name in _SPACES),
        *(
            (module, name)
            for module in ("builtins", "__builtin__")
            for name in ("set", "frozenset")
        ),
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),  # bytes in protocols up to 2 ...
        ("__builtin__", "bytes"),  # ... and empty bytes
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy.random._pickle", "__generator_ctor"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random", "__RandomState_ctor"),  # before NumPy 1.17
        ("numpy.random._mt19937", "MT19937"),
        ("numpy.random._pcg64", "PCG64"),
        ("gym.utils.seeding", "RandomNumberGenerator"),
        ("gym.utils.seeding", "RandomNumberGenerator._generator_ctor"),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
        ("numpy.random.bit_generator", "SeedSequence"),
    }
)


_NUMBERS = ("f8", "f4", "i8", "i4")


def _of_record(record: Any, state_dim: int) -> Normaliser:
    if type(record).__name__ != "VecNormalize":
        raise TypeError(f"a {type(record).__name__}")
    fields = record.state
    statistics = None
    if fields["norm_obs"]:
        rms = fields["obs_rms"]
        by_name = rms if isinstance(rms, dict) else {"": rms}
        statistics = {
            name: (_array(group.state["mean"]), _array(group.state["var"]))
            for name, group in by_name.items()
        }
    variance = _number(fields["ret_rms"].state["var"]) if fields["norm_reward"] else None
    clip, epsilon = _number(fields["clip_obs"]), _number(fields["epsilon"])
    return _assemble(statistics, clip, epsilon, variance, state_dim)


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else float(_array(value))


def _array(record: Any) -> np.ndarray:
    """Return the array or scalar of a record as a float64 copy."""
    kind = type(record).__name__
    if kind == "_reconstruct":
        _, shape, dtype, is_fortran, content = record.state
    elif kind == "_frombuffer":
        content, dtype, shape, order = record.arguments
        is_fortran = order == "F"
    elif kind == "scalar":
        (dtype, content), shape, is_fortran = record.arguments, (), False
    else:
        raise TypeError(f"{kind} in place of numbers")
    if type(dtype).__name__ != "dtype" or dtype.arguments[0] not in _NUMBERS:
        raise TypeError("other values in place of numbers")
    if dtype.state[1] != "<":
        raise TypeError("numbers that are not little-endian")
    order = "F" if is_fortran else "C"
    numbers = np.frombuffer(_bytes(content), f"<{dtype.arguments[0]}")
    return numbers.reshape(shape, order=order).astype(np.float64)


def _bytes(content: Any) -> Any:
    """Return bytes, which protocols up to 2 store as encoded text."""
    if type(content).__name__ != "encode":
        return content
    text, encoding = content.arguments
    if encoding != "latin1":
        raise TypeError(f"bytes in {encoding}")
    return text.encode("latin1")
