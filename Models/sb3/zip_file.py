"""Read teachers from SB3's own files without running code from them.

An SB3 zip holds tensors (`policy.pth`) and a JSON object (`data`) whose values are either plain or
pickles in base64. `Models.sb3.torch_file` reads the tensors; of `data`, only plain values are read.
A VecNormalize file is one pickle: see `Models.sb3.vecnormalize`.
"""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from Common.errors import UserError
from Common.files.bounded_read import parse_json, read_bounded
from Models.networks.impala_extractor import ImpalaExtractor
from Models.sb3.adapters import POLICY_KINDS, Agent
from Models.sb3.agent import adapt, identity_dim
from Models.sb3.live import live_agent, own_extractor
from Models.sb3.softening import Softening
from Models.sb3.spaces import UnreadableSpaceError, read_space
from Models.sb3.torch_file import RefusedTensorsError, read_tensors
from Models.sb3.trust import NO_TRUST, NeedsTrustError, Trust
from Models.sb3.vecnormalize import Normaliser, read_vecnormalize

_MAX_BYTES = 512 * 2**20  # of a file, or of an unpacked member of a zip
_PICKLE = b"\x80"  # the first byte of pickles since protocol 2
_MAX_DATA = 32 * 2**20  # of the settings, which hold pickles of a few arrays at most
_POLICY_MODULES = frozenset(
    {f"stable_baselines3.{name}.policies" for name in ("common", "sac", "td3", "dqn")}
    | {f"sb3_contrib.{name}.policies" for name in ("tqc", "crossq", "qrdqn", "ars")}
)
_EXTRACTORS = frozenset(
    f"<class 'stable_baselines3.common.torch_layers.{name}'>"
    for name in ("FlattenExtractor", "NatureCNN", "CombinedExtractor")
) | {str(ImpalaExtractor)}
_CLASSES: dict[str, type[BaseAlgorithm]] = {
    cls.__name__.lower(): cls
    for cls in (PPO, A2C, TRPO, SAC, TQC, CrossQ, TD3, DDPG, DQN, QRDQN, ARS)
}
# Pickled entries of `data` that define the agent's computation.
_NEEDED = ("policy_class", "policy_kwargs", "observation_space", "action_space")
_PLAIN_POLICY_ARGUMENTS = frozenset(
    # These affect training or initialisation only, follow from the weights, or are read as text.
    {"optimizer_class", "optimizer_kwargs", "log_std_init", "ortho_init", "n_critics"}
    | {"net_arch", "activation_fn", "share_features_extractor", "normalize_images"}
    | {"features_extractor_class", "features_extractor_kwargs", "n_quantiles"}
    | {"batch_norm", "batch_norm_eps", "batch_norm_momentum", "renorm_warmup_steps"}
    # Arguments of gSDE and of ARS.
    | {"use_sde", "full_std", "use_expln", "clip_mean", "squash_output", "with_bias"}
    # Arguments of early versions; sde_net_arch is None if the tensors have no layers of it.
    | {"device", "sde_net_arch"}
)


def saved_agent(path: Path) -> Path:
    """Return the file of an agent: `model.save("agent")` of SB3 writes agent.zip."""
    named = path.with_name(f"{path.name}.zip") if path.name and not path.suffix else path
    return path if path.exists() or not named.exists() else named


def read_sb3_zip(
    path: Path,
    vecnormalize: Path | Normaliser | None,
    *,
    trust: Trust = NO_TRUST,
    softening: Softening | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a teacher's tensors, and the fields of its description that define its computation.

    These are all fields except task, command, versions, baselines and hash.

    Args:
        path: zip saved by PPO, A2C, TRPO, SAC, TQC, CrossQ, TD3, DDPG, DQN, QRDQN or ARS, with
            SB3's own policies: MLP, CNN or dictionaries.
        vecnormalize: file of `VecNormalize.save`, or its statistics; None if the agent was trained
            on raw observations.
        trust: files that may be unpickled if they cannot be read otherwise.
        softening: how to turn a deterministic agent into a distribution.

    Raises:
        NeedsTrustError: only unpickling could read a part of it. The message names the part.
        UserError: the file is missing, damaged, or holds an agent of another kind.
    """
    content = _read_file(path)
    data, state = _read_members(path, content)
    algo = _algo(path, data, state)
    try:
        agent = _agent(path, algo, data, state)
    except NeedsTrustError:
        if not trust.covers(content):
            raise
        agent = _trusted_agent(path, algo, content, data)
    statistics = vecnormalize
    if not isinstance(statistics, Normaliser):
        state_dim = identity_dim(agent)
        statistics = (
            Normaliser.identity(state_dim)
            if statistics is None
            else read_vecnormalize(statistics, state_dim, trust)
        )
    return adapt(agent, statistics, softening or Softening())


# -- the zip ---------------------------------------------------------------------------------


def _read_file(path: Path) -> bytes:
    try:
        return read_bounded(path, _MAX_BYTES)
    except FileNotFoundError:
        raise UserError(f"There is no SB3 agent at {path}.") from None
    except OSError as error:
        raise UserError(f"{path} is not a zip of SB3: {error.strerror}.") from error


def _read_members(path: Path, content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the JSON object of `data`, and the policy's state dict."""
    if content.startswith(_PICKLE):
        raise UserError(
            f"{path} is a pickle, such as of `VecNormalize.save`, not a zip of SB3. Give the zip "
            "of the agent, and the file of `VecNormalize.save` as `vecnormalize`."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ValueError("two members share a name")
            data = parse_json(_read_member(archive, "data", _MAX_DATA))
            policy = _read_member(archive, "policy.pth", _MAX_BYTES)
    except (
        *(zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, zlib.error),
        *(RuntimeError, NotImplementedError),  # encrypted, or an unknown compression
    ) as error:
        raise UserError(f"{path} is not a zip of SB3: {error}.") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} is not a zip of SB3: its data is a {type(data).__name__}.")
    try:
        return data, read_tensors(policy)
    except RefusedTensorsError as error:
        raise UserError(
            f"{path}: policy.pth is refused: {error}. Only tensors are read from it, and nothing "
            "in it is run."
        ) from error


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} unpacks to more than {limit >> 20} MiB")
    return archive.read(name)


# -- its plain values --------------------------------------------------------------------------


def _algo(path: Path, data: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Return the algorithm by settings that only its class has, special cases first."""
    marks = {"clip_range": "ppo", "cg_max_steps": "trpo", "gae_lambda": "a2c"}
    marks |= {"top_quantiles_to_drop_per_net": "tqc", "target_policy_noise": "td3"}
    marks |= {"target_entropy": "sac", "exploration_fraction": "dqn", "n_delta": "ars"}
    marks |= {"normalize_returns": "reinforce", "max_episode_steps": "actorcritic"}
    algo = next((algo for mark, algo in marks.items() if mark in data), None)
    if algo is None:
        raise UserError(
            f"{path} holds no agent of {', '.join(_CLASSES)}, which have adapters "
            f"(weights: {', '.join(sorted(state)[:4])}, ...)."
        )
    if algo == "td3" and "critic.qf1.0.weight" not in state:
        return "ddpg"
    if algo == "sac" and "policy_delay" in data:
        return "crossq"
    if algo == "dqn" and any(name.startswith("quantile_net.") for name in state):
        return "qrdqn"
    return algo


def _agent(path: Path, algo: str, data: Mapping[str, Any], state: Mapping[str, Tensor]) -> Agent:
    _check_policy_class(path, data)
    arguments = _policy_arguments(path, data)
    try:
        return Agent(
            source=str(path),
            algo=algo,
            policy=POLICY_KINDS.get(algo, algo),
            state=state,
            activation=_activation(path, arguments),
            observation_space=_space(path, data, "observation_space"),
            action_space=_space(path, data, "action_space"),
            gamma=float(data.get("gamma", 1.0) if algo == "ars" else data["gamma"]),
            normalize_images=bool(arguments.get("normalize_images", True)),
            batch_norm_eps=float(arguments.get("batch_norm_eps", 0.001)),
            dropped_quantiles=int(data.get("top_quantiles_to_drop_per_net", 0)),
            squash_output=_squashes(algo, arguments, state),
            use_expln=bool(arguments.get("use_expln", False)),
            clip_mean=float(arguments.get("clip_mean", 2.0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a zip of SB3: {error!r}.") from error


def _check_policy_class(path: Path, data: Mapping[str, Any]) -> None:
    policy_class = data.get("policy_class")
    module = policy_class.get("__module__") if isinstance(policy_class, dict) else None
    if isinstance(module, str) and module in _POLICY_MODULES:
        return
    if str(module).startswith(("stable_baselines3.", "sb3_contrib.")):
        raise UserError(f"{path}: there is no adapter for the policies of {module}.")
    raise NeedsTrustError(
        path, f"its policy class, of {module}, is not SB3's; only unpickling could restore it"
    )


def _policy_arguments(path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    arguments = data.get("policy_kwargs") or {}
    if not isinstance(arguments, dict):
        raise UserError(f"{path} is not a zip of SB3: its policy_kwargs are {arguments!r}.")
    extractor = arguments.get("features_extractor_class")
    if extractor is not None and extractor not in _EXTRACTORS:
        raise UserError(_own_extractor(path, str(extractor)))
    unknown = sorted(
        name
        for name in arguments
        if name not in _PLAIN_POLICY_ARGUMENTS and not name.startswith(":")
    )
    if unknown:
        raise NeedsTrustError(
            path,
            f"its policy was made with {', '.join(unknown)}, which are pickled only, and nothing "
            "is unpickled",
        )
    return arguments


def _own_extractor(path: Path, extractor: str) -> str:
    return (
        f"{path}: its features_extractor_class {extractor} is not SB3's, and a bundle holds no "
        "code. Make a teacher from its live model in Python: Teacher.from_sb3(model)."
    )


def _squashes(algo: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> bool:
    """Return whether actions are squashed: by default in SB3-Contrib's ARS, except linear ones."""
    if "squash_output" in arguments or algo != "ars":
        return bool(arguments.get("squash_output", False))
    layers = {name.rpartition(".")[0] for name in state if name.startswith("action_net")}
    return len(layers) > 1 or "net_arch" in arguments


def _activation(path: Path, arguments: Mapping[str, Any]) -> str | None:
    """Return the name of the activation; None for SB3's default."""
    if "activation_fn" not in arguments:
        return None
    text = str(arguments["activation_fn"])
    match = re.fullmatch(r"<class 'torch\.nn\.modules\.\w+\.(\w+)'>", text)
    if match is None:
        raise UserError(f"{path}: activation {text} is not one of torch's.")
    return match[1]


def _space(path: Path, data: Mapping[str, Any], name: str) -> spaces.Space:
    try:
        return read_space(data.get(name))
    except UnreadableSpaceError as error:
        raise NeedsTrustError(path, f"its {name} is {error}") from error


def _trusted_agent(path: Path, algo: str, content: bytes, data: Mapping[str, Any]) -> Agent:
    """Load the agent with SB3 itself, which runs code from the file that the user trusts.

    Unpickle only what has no plain text. The rest (schedules, buffers and callbacks) does not
    affect the agent's computation, and often needs modules that no longer exist.
    """
    replaced: dict[str, Any] = {
        name: None
        for name, value in data.items()
        if isinstance(value, dict) and ":serialized:" in value and name not in _NEEDED
    }
    replaced |= {"learning_rate": 0.0, "lr_schedule": _zero, "clip_range": _zero}
    replaced |= {"exploration_schedule": _zero, "delta_std_schedule": _zero}
    replaced |= {"buffer_size": 1, "train_freq": 1, "n_envs": 1, "tensorboard_log": None}
    for name in ("observation_space", "action_space"):
        with contextlib.suppress(UnreadableSpaceError):
            replaced[name] = read_space(data.get(name))
    replaced = {name: value for name, value in replaced.items() if name in data}
    try:
        model = _CLASSES[algo].load(io.BytesIO(content), device="cpu", custom_objects=replaced)
    except Exception as error:  # the file's own code may raise anything
        raise UserError(f"{path} is trusted, but SB3 cannot load it: {error!r}.") from error
    extractor = own_extractor(model.policy)
    if extractor is not None:
        raise UserError(_own_extractor(path, str(extractor)))
    return live_agent(model)


def _zero(_: float) -> float:
    return 0.0
