"""Teachers from SB3's own files, without running anything that is in them.

An SB3 zip holds tensors (`policy.pth`), and in `data` a JSON object whose values are either plain
or pickles in base64. Tensors are read by torch's `weights_only`; of `data` only what is plain is
read, never a pickle. A VecNormalize file is one pickle: it is read by an unpickler that knows the
names of an exact list, and makes inert records of them instead of calling anything.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from Enviroment.errors import UserError
from Models.distributions import Categorical, DiagGaussian, SquashedGaussian

_BOX = "gymnasium.spaces.box.Box"
_MAX_BYTES = 512 * 2**20  # of a file, or of a zip's member unpacked
_PLAIN_POLICY_ARGUMENTS = frozenset(
    # These change how the agent learned or started, not what it computes.
    {"optimizer_class", "optimizer_kwargs", "log_std_init", "ortho_init", "n_critics"}
    | {"net_arch", "activation_fn", "share_features_extractor", "normalize_images"}
    # These only act with gSDE, which is refused.
    | {"use_sde", "full_std", "use_expln", "clip_mean"}
)


@dataclass(frozen=True)
class Normaliser:
    """VecNormalize's statistics of the state."""

    mean: np.ndarray  # (state_dim,) float64
    var: np.ndarray  # (state_dim,) float64
    clip: float | None  # standard deviations
    epsilon: float
    reward_scale: float = 1.0  # raw rewards over those that the agent was trained on

    @classmethod
    def identity(cls, state_dim: int) -> Normaliser:
        """For an agent trained on raw states."""
        return cls(np.zeros(state_dim), np.ones(state_dim), clip=None, epsilon=0.0)


def read_sb3_zip(
    path: Path, vecnormalize: Path | Normaliser | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a `Models.teacher.Teacher`, and the fields of its description that tell
    what it computes: all but task, command, versions, baselines and hash.

    Args:
        path: saved by SB3's PPO, A2C or SAC with an MlpPolicy.
        vecnormalize: the file that `VecNormalize.save` wrote, or its statistics; None if the
            agent was trained on raw states.

    Raises:
        UserError: the file is missing, damaged, would need unpickling, or holds an agent of
            another kind; says which.
    """
    data, state = _read_members(path)
    activation = _read_policy_arguments(path, data)
    space = data.get("action_space")
    is_discrete = _type_name(space) == "gymnasium.spaces.discrete.Discrete"
    if not isinstance(space, dict) or not (is_discrete or _type_name(space) == _BOX):
        raise UserError(f"{path}: actions in {_type_name(space)} have no adapter yet.")
    if "actor.log_std.weight" in state and "target_entropy" in data:
        tensors, shape = _from_sac(state, activation or "ReLU")
    elif "action_net.weight" in state and "gae_lambda" in data:
        tensors, shape = _from_actor_critic(state, activation or "Tanh", is_discrete)
        shape["algo"] = "ppo" if "clip_range" in data else "a2c"
    else:
        raise UserError(
            f"{path} holds no agent of SB3's PPO, A2C or SAC with an MlpPolicy "
            f"(weights: {', '.join(sorted(state)[:4])}, ...). There is no adapter for it yet."
        )
    low, high = ((), ()) if is_discrete else (_bounds(path, space, b) for b in ("low", "high"))
    normaliser = _resolve(vecnormalize, shape["state_dim"])
    tensors["state_normaliser.mean"] = torch.from_numpy(normaliser.mean.copy())
    tensors["state_normaliser.var"] = torch.from_numpy(normaliser.var.copy())
    return tensors, {
        **shape,
        "action_low": low,
        "action_high": high,
        "gamma": float(data["gamma"]),
        "normaliser_clip": normaliser.clip,
        "normaliser_epsilon": normaliser.epsilon,
        "reward_scale": normaliser.reward_scale,
    }


# -- the zip ---------------------------------------------------------------------------------


def _read_members(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON object of `data`, and the policy's state dict."""
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(_read_member(archive, "data"))
            policy = _read_member(archive, "policy.pth")
    except FileNotFoundError:
        raise UserError(f"There is no SB3 agent at {path}.") from None
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path} is no zip that SB3 saved: {error}.") from error
    try:
        state = torch.load(io.BytesIO(policy), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, LookupError) as error:
        raise UserError(
            f"{path}: policy.pth is refused. It is damaged, or holds a pickle that would run "
            f"code: {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(data, dict) or not isinstance(state, Mapping):
        raise UserError(f"{path} is no zip that SB3 saved: its members are of other types.")
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"{path}: policy.pth holds more than tensors.")
    return data, dict(state)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MAX_BYTES:
        raise ValueError(f"{name} unpacks to more than {_MAX_BYTES >> 20} MiB")
    return archive.read(name)


def _type_name(value: Any) -> str:
    """`package.module.Class` of a value that SB3 pickled, from the text it keeps beside it."""
    text = value.get(":type:") if isinstance(value, dict) else None
    match = re.fullmatch(r"<class '([\w.]+)'>", text or "")
    return match[1] if match else type(value).__name__


def _read_policy_arguments(path: Path, data: Mapping[str, Any]) -> str | None:
    """The activation's name, None for SB3's default; refuses what has no plain form."""
    if data.get("use_sde"):
        raise UserError(f"{path}: an agent that explores by gSDE (use_sde) has no adapter.")
    arguments = data.get("policy_kwargs") or {}
    unknown = sorted(
        name
        for name in arguments
        if name not in _PLAIN_POLICY_ARGUMENTS and not name.startswith(":")
    )
    if unknown:
        raise UserError(
            f"{path}: its policy was made with {', '.join(unknown)}, which only unpickling "
            "could restore. That is refused, because a pickle can run any code."
        )
    if "activation_fn" not in arguments:
        return None
    match = re.fullmatch(
        r"<class 'torch\.nn\.modules\.activation\.(\w+)'>", str(arguments["activation_fn"])
    )
    if match is None:
        raise UserError(f"{path}: activation {arguments['activation_fn']} is not one of torch's.")
    return match[1]


def _bounds(path: Path, space: dict[str, Any], name: str) -> tuple[float, ...]:
    """A Box's bounds, of which SB3 keeps NumPy's text, exact to 1e-8."""
    try:
        return tuple(float(word) for word in str(space[name]).strip("[]").split())
    except (KeyError, ValueError):
        raise UserError(f"{path}: the action bounds {space.get(name)!r} cannot be read.") from None


# -- the networks ------------------------------------------------------------------------------


def _from_sac(
    state: Mapping[str, Tensor], activation: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {
        **_renamed(state, "actor.latent_pi.", "actor."),
        **_renamed(state, "actor.mu.", "head."),
        **_renamed(state, "actor.log_std.", "log_std_head."),
    }
    n_critics = 0
    while f"critic.qf{n_critics}.0.weight" in state:
        tensors |= _renamed(state, f"critic.qf{n_critics}.", f"critics.{n_critics}.")
        n_critics += 1
    return tensors, {
        "algo": "sac",
        "family": SquashedGaussian.family,
        **_shape(tensors, n_critics, activation),
        "value_kind": "action",
    }


def _from_actor_critic(
    state: Mapping[str, Tensor], activation: str, is_discrete: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {
        **_renamed(state, "mlp_extractor.policy_net.", "actor."),
        **_renamed(state, "action_net.", "head."),
        **_renamed(state, "mlp_extractor.value_net.", "critics.0."),
    }
    if not is_discrete:
        tensors["log_std"] = state["log_std"]
    depth = 2 * sum(name.endswith(".weight") for name in tensors if name.startswith("critics.0."))
    tensors |= _renamed(state, "value_net.", f"critics.0.{depth}.")  # layers and activations
    return tensors, {
        "family": Categorical.family if is_discrete else DiagGaussian.family,
        **_shape(tensors, 1, activation),
        "value_kind": "state",
    }


def _renamed(state: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {
        new + name.removeprefix(old): tensor
        for name, tensor in state.items()
        if name.startswith(old)
    }


def _shape(tensors: Mapping[str, Tensor], n_critics: int, activation: str) -> dict[str, Any]:
    """The sizes of the layers, read off the weights themselves."""
    actor = _hidden_sizes(tensors, "actor.")
    critic = _hidden_sizes(tensors, "critics.0.")[:-1]  # the last one is the value
    first = tensors["actor.0.weight"] if actor else tensors["head.weight"]
    return {
        "state_dim": first.shape[1],
        "action_dim": tensors["head.weight"].shape[0],
        "actor_layers": actor,
        "critic_layers": critic,
        "n_critics": n_critics,
        "activation": activation,
    }


def _hidden_sizes(tensors: Mapping[str, Tensor], prefix: str) -> tuple[int, ...]:
    return tuple(
        tensor.shape[0]
        for name, tensor in tensors.items()
        if name.startswith(prefix) and name.endswith(".weight")
    )


# -- VecNormalize --------------------------------------------------------------------------------


def _resolve(vecnormalize: Path | Normaliser | None, state_dim: int) -> Normaliser:
    if vecnormalize is None:
        return Normaliser.identity(state_dim)
    if isinstance(vecnormalize, Normaliser):
        return vecnormalize
    normaliser = read_vecnormalize(vecnormalize, state_dim)
    if normaliser.mean.shape != (state_dim,):
        raise UserError(
            f"{vecnormalize} normalises states of shape {normaliser.mean.shape}; the agent takes "
            f"({state_dim},). It is another agent's."
        )
    return normaliser


class _Record:
    """What an allowed name makes: it keeps what the pickle gives it, and does nothing."""

    arguments: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *arguments: Any) -> _Record:
        record = super().__new__(cls)
        record.arguments = arguments
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _RecordUnpickler(pickle.Unpickler):
    """Knows these names, and no others; NumPy's are spelled differently before version 2."""

    ALLOWED: ClassVar[frozenset[tuple[str, str]]] = frozenset(
        {
            ("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize"),
            ("stable_baselines3.common.running_mean_std", "RunningMeanStd"),
            ("gymnasium.spaces.box", "Box"),
            ("gymnasium.spaces.discrete", "Discrete"),
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
            ("numpy.random._pcg64", "PCG64"),
            ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
            ("numpy.random.bit_generator", "SeedSequence"),
        }
    )

    def find_class(self, module_name: str, global_name: str) -> type[_Record]:
        if (module_name, global_name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        # A class of its own for each reference: a pickle that writes to one reaches no other.
        return type(global_name, (_Record,), {})


def read_vecnormalize(path: Path, state_dim: int) -> Normaliser:
    """The statistics in a file that `VecNormalize.save` wrote.

    Raises:
        UserError: the file is missing, damaged, or names anything that a VecNormalize over
            Box states does not need.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path} is larger than {_MAX_BYTES >> 20} MiB: no VecNormalize is.")
        record = _RecordUnpickler(io.BytesIO(path.read_bytes())).load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (
        # What Python's unpickler raises on bytes that no pickler wrote.
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError),
        *(MemoryError, OverflowError, ImportError),
    ) as error:
        raise UserError(
            f"{path} is refused: {error}. It is damaged, or a pickle that would run code."
        ) from None
    try:
        return _normaliser(record, state_dim)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{path} holds no VecNormalize over Box states: {error!r}.") from None


def _normaliser(record: Any, state_dim: int) -> Normaliser:
    if type(record).__name__ != "VecNormalize":
        raise TypeError(f"a {type(record).__name__}")
    fields = record.state
    epsilon = _number(fields["epsilon"])
    normaliser = Normaliser.identity(state_dim)
    if fields["norm_obs"]:
        states = fields["obs_rms"].state
        clip = _number(fields["clip_obs"])
        normaliser = Normaliser(_array(states["mean"]), _array(states["var"]), clip, epsilon)
    if fields["norm_reward"]:
        variance = _number(fields["ret_rms"].state["var"])
        normaliser = replace(normaliser, reward_scale=float(np.sqrt(variance + epsilon)))
    return normaliser


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else float(_array(value))


def _array(record: Any) -> np.ndarray:
    """The float64 array or scalar that a record stands for, copied."""
    kind = type(record).__name__
    if kind == "_reconstruct":
        _, shape, dtype, is_fortran, content = record.state
    elif kind == "_frombuffer":
        content, dtype, shape, order = record.arguments
        is_fortran = order == "F"
    elif kind == "scalar":
        (dtype, content), shape, is_fortran = record.arguments, (), False
    else:
        raise TypeError(f"{kind} where numbers should be")
    if type(dtype).__name__ != "dtype" or dtype.arguments[0] != "f8" or dtype.state[1] != "<":
        raise TypeError("numbers that are not little-endian float64")
    order = "F" if is_fortran else "C"
    return np.frombuffer(content, "<f8").reshape(shape, order=order).copy()
