"""Checkpoints of a teacher's training: folders that one rename publishes, read without unpickling.

checkpoints/step_000000400000/   to go on from: the two newest are kept
checkpoints/best_000000300000/   the best evaluation so far, without replay buffer: one is kept

model.zip                SB3's own; only its tensors are ever read here
normaliser.npz           VecNormalize's statistics
generators.safetensors   states of the random generators: tensors ...
generators.json          ... and the rest of them, as `Common.runs.packing` has it
replay.npz               SAC's replay buffer
state.json               counters, and size and SHA-256 of each file above
"""

from __future__ import annotations

import json
import math
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import safetensors.torch
from safetensors import SafetensorError
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecNormalize

from Algorithm.policy_gradient.loop import PolicyGradient
from Common.errors import UserError
from Common.files.bounded_read import file_sha256, read_json
from Common.files.durable import discard, partial_path, publishing, remove
from Common.files.locks import check_in_place
from Common.files.typed_json import typed
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack, unpack
from Models.sb3.zip_file import Normaliser

FORMAT = 2
KEEP_NEWEST = 2
_FILES = frozenset(
    {"model.zip", "normaliser.npz", "generators.safetensors", "generators.json", "replay.npz"}
)
_MAX_JSON = 2**24  # bytes
# What zipfile and NumPy raise on bytes that `np.savez` has not written.
_NO_ARRAYS = (
    *(OSError, ValueError, EOFError, LookupError, TypeError, SyntaxError, MemoryError),
    *(OverflowError, RuntimeError, NotImplementedError, zipfile.BadZipFile),
)
_REPLAY_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass(frozen=True)
class Progress:
    """How far a run is at a checkpoint."""

    steps: int  # env steps
    updates: int  # as SB3 counts them: PPO epochs, gradient steps of the others
    episodes: int  # started in the environment that started most
    best_return: float | None  # mean validation return of the best checkpoint
    evaluation: dict[str, float]  # the last evaluation
    record: dict[str, Any] | None = None  # `RunTracker.position`; None: nothing is recorded
    finished_episodes: int = 0  # in all environments
    training_seconds: float = 0.0  # without evaluations and checkpoints

    def __post_init__(self) -> None:
        counts = (self.steps, self.updates, self.episodes, self.finished_episodes)
        if min(counts) < 0:
            raise ValueError(f"steps, updates and episodes cannot be {counts}")


def save_checkpoint(
    folder: Path, name: str, agent: BaseAlgorithm, progress: Progress, *, resumable: bool
) -> Path:
    """Writes `folder/name`, complete or not at all.

    Args:
        folder: the run's `checkpoints`.
        name: `step_<steps>` or `best_<steps>`.
        resumable: with the replay buffer, which is hundreds of megabytes.

    Returns: the checkpoint's folder.
    """
    check_in_place(folder)
    final = folder / name
    try:
        if final.exists():  # left by a run that was resumed from an older checkpoint
            discard(final)
        with publishing(final) as unfinished:
            _write(unfinished, agent, progress, resumable)
    except OSError as error:
        raise UserError(
            f"Checkpoint {final} cannot be written: {error.strerror or error}. The older ones are "
            "whole: mend what is wrong, and go on from them by --resume."
        ) from error
    return final


def _write(folder: Path, agent: BaseAlgorithm, progress: Progress, resumable: bool) -> None:
    agent.save(folder / "model.zip")
    arrays = {"normaliser": _normaliser_arrays(_normaliser_of(agent))}
    if resumable and isinstance(agent, SAC):
        assert agent.replay_buffer is not None
        arrays["replay"] = _replay_arrays(agent.replay_buffer)
    for name, group in arrays.items():
        np.savez(folder / f"{name}.npz", allow_pickle=False, **group)
    tensors, rest = pack(capture_generators(_own_generators(agent)))
    safetensors.torch.save_file(tensors, folder / "generators.safetensors")
    (folder / "generators.json").write_text(json.dumps(rest, allow_nan=False))
    files = {path.name: _fingerprint(path) for path in sorted(folder.iterdir())}
    state = {"format": FORMAT, "progress": asdict(progress), "files": files}
    (folder / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False))


def prune(folder: Path) -> None:
    """Removes all but the newest `step_*` and the best `best_*`, and what kills have left."""
    for unfinished in folder.glob(partial_path(folder / "*_*").name):
        remove(unfinished)
    for old in _named(folder, "step_")[:-KEEP_NEWEST]:
        discard(old)
    best = find_best(folder)
    for other in _named(folder, "best_"):
        if best is not None and other != best[0]:
            discard(other)


def find_newest(folder: Path) -> tuple[Path, Progress] | None:
    """The newest undamaged checkpoint to go on from; None: there is none at all yet.

    Raises:
        UserError: there are some, and none can be used.
    """
    found = next(_undamaged(folder, "step_"), None)
    if found is None and _named(folder, "step_"):
        raise UserError(
            f"No checkpoint in {folder} can be used. Restore one from a copy, or begin anew by "
            "--overwrite."
        )
    return found


def find_best(folder: Path) -> tuple[Path, Progress] | None:
    """The undamaged checkpoint with the highest validation return."""
    candidates = _undamaged(folder, "best_")
    return max(candidates, key=_best_return, default=None)


def _best_return(found: tuple[Path, Progress]) -> float:
    best = found[1].best_return
    return -math.inf if best is None else best


def restore(path: Path, agent: BaseAlgorithm, progress: Progress) -> None:
    """Puts a verified checkpoint into a fresh agent made from the same settings.

    Raises:
        UserError: a file holds what no checkpoint does, such as code.
    """
    try:
        # load_data=False leaves the pickled part of the zip unread; tensors come by weights_only.
        _, parameters, variables = load_from_zip_file(
            path / "model.zip", load_data=False, device=agent.device
        )
    except (UnpicklingError, RuntimeError, ValueError, LookupError, EOFError) as error:
        # Without torch's words, which advise to execute what is in the file.
        raise UserError(f"{path / 'model.zip'} is refused: it holds more than tensors.") from error
    agent.set_parameters(parameters, exact_match=True, device=agent.device)
    if isinstance(agent, SAC):
        if agent.log_ent_coef is not None:
            assert variables is not None
            agent.log_ent_coef.data.copy_(variables["log_ent_coef"].data)
        if (path / "replay.npz").exists():
            assert agent.replay_buffer is not None
            _fill_replay(agent.replay_buffer, _arrays(path / "replay.npz"))
    _fill_normaliser(_normaliser_of(agent), _arrays(path / "normaliser.npz"))
    restore_generators(_generator_states(path), _own_generators(agent))
    agent.num_timesteps = progress.steps
    agent._n_updates = progress.updates
    if isinstance(agent, PolicyGradient):
        agent.gradient_steps = progress.updates
        agent._episode_num = progress.finished_episodes


def stored_normaliser(path: Path, norm_reward: bool) -> Normaliser:
    """The statistics in a checkpoint, for the teacher made of it."""
    arrays = _arrays(path / "normaliser.npz")
    epsilon = float(arrays["epsilon"])
    scale = float(np.sqrt(arrays["return_var"] + epsilon)) if norm_reward else 1.0
    clip = float(arrays["clip"])
    return Normaliser(
        arrays["mean"], arrays["var"], clip if clip < math.inf else None, epsilon, scale
    )


def _undamaged(folder: Path, prefix: str) -> Iterator[tuple[Path, Progress]]:
    """Newest first. A damaged one is named on stderr and passed over."""
    for path in reversed(_named(folder, prefix)):
        try:
            yield path, _verify(path)
        except UserError as error:
            print(f"{error} It is passed over.", file=sys.stderr)


def _named(folder: Path, prefix: str) -> list[Path]:
    """Oldest first: the names hold the step count with leading zeros."""
    return sorted(path for path in folder.glob(f"{prefix}*") if path.is_dir())


def _verify(path: Path) -> Progress:
    try:
        state = read_json(path / "state.json", _MAX_JSON)
        if state["format"] != FORMAT:
            raise UserError(
                f"Checkpoint {path} has format {state['format']!r:.20}, and this version reads "
                f"{FORMAT}: the version that wrote it is in config.json."
            )
        files = {file.name for file in path.iterdir()} - {"state.json"}
        if files != state["files"].keys():
            raise UserError(f"Checkpoint {path} is damaged: state.json lists other files.")
        for name, fingerprint in state["files"].items():
            if name not in _FILES or (path / name).is_symlink():
                raise UserError(f"Checkpoint {path} is damaged: {name!r:.80} is none of its files.")
            if _fingerprint(path / name) != fingerprint:
                raise UserError(f"Checkpoint {path} is damaged: {name} has changed.")
        return typed(Progress, state["progress"], "progress")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"Checkpoint {path} is damaged: {error}.") from error


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive that `np.savez` wrote, which packs nothing.

    Raises:
        UserError: it is another file; packed, a few bytes could unpack to any size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its members are packed")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except _NO_ARRAYS as error:
        raise UserError(f"{path} is refused: {error!s:.200}.") from error


def _normaliser_of(agent: BaseAlgorithm) -> VecNormalize:
    normaliser = agent.get_vec_normalize_env()
    assert normaliser is not None
    return normaliser


def _normaliser_arrays(normaliser: VecNormalize) -> dict[str, np.ndarray]:
    states, returns = _state_statistics(normaliser), normaliser.ret_rms
    return {
        "mean": states.mean,
        "var": states.var,
        "count": np.array(states.count),
        "return_mean": np.asarray(returns.mean),
        "return_var": np.asarray(returns.var),
        "return_count": np.array(returns.count),
        "clip": np.array(normaliser.clip_obs),
        "epsilon": np.array(normaliser.epsilon),
    }


def _state_statistics(normaliser: VecNormalize) -> RunningMeanStd:
    """What is not normalised has none: of states the identity's stand for them, of frames none."""
    if normaliser.norm_obs:
        states = normaliser.obs_rms
    else:
        states = RunningMeanStd(epsilon=0.0, shape=normaliser.observation_space.shape or (0,))
    assert isinstance(states, RunningMeanStd)
    return states


def _fill_normaliser(normaliser: VecNormalize, arrays: dict[str, np.ndarray]) -> None:
    states, returns = _state_statistics(normaliser), normaliser.ret_rms
    states.mean, states.var = arrays["mean"], arrays["var"]
    states.count = float(arrays["count"])
    returns.mean, returns.var = arrays["return_mean"], arrays["return_var"]
    returns.count = float(arrays["return_count"])


def _replay_arrays(buffer: ReplayBuffer) -> dict[str, np.ndarray]:
    """Only the rows that are filled: (steps, num_envs, ...)."""
    rows = {name: getattr(buffer, name)[: buffer.size()] for name in _REPLAY_ARRAYS}
    return {**rows, "pos": np.array(buffer.pos), "full": np.array(buffer.full)}


def _fill_replay(buffer: ReplayBuffer, arrays: dict[str, np.ndarray]) -> None:
    for name in _REPLAY_ARRAYS:
        getattr(buffer, name)[: len(arrays[name])] = arrays[name]
    buffer.pos, buffer.full = int(arrays["pos"]), bool(arrays["full"])


def _own_generators(agent: BaseAlgorithm) -> dict[str, np.random.Generator]:
    """What SB3 draws from beside the global ones: SAC's first actions."""
    return {"actions": agent.action_space.np_random}


def _generator_states(path: Path) -> Any:
    try:
        tensors = safetensors.torch.load_file(path / "generators.safetensors")
        rest = read_json(path / "generators.json", _MAX_JSON)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"The generators in {path} are refused: {error}.") from error
    return unpack(tensors, rest)
