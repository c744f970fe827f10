"""Contents of the checkpoints of a teacher's training, stored by `CheckpointStore`.

checkpoints/step_000000400000/    the two newest, to resume from: agent and replay buffer
checkpoints/best/step_.../        the best teacher so far, as in its bundle
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from Algorithm.policy_gradient.loop import PolicyGradient
from Common.errors import UserError
from Common.files.typed_json import typed
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.files import CONFIG_FILE
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack, unpack
from Models.teacher.description import TeacherDescription
from Models.teacher.policy import Teacher

_AGENT, _REPLAY, _PROGRESS, _TEACHER = "agent", "replay", "progress", "teacher"  # parts
_EPISODE_ARRAYS = ("ep_start", "ep_length")  # of HER
_REPLAY_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass(frozen=True)
class Progress:
    """Progress of a run at a checkpoint."""

    steps: int  # env steps
    updates: int  # as counted by SB3: epochs of PPO, gradient steps of the others
    episodes: int  # maximum number of episodes started per environment
    evaluation: dict[str, float]  # metrics of the last evaluation
    record: dict[str, Any] | None = None  # `RunTracker.position`; None without a record
    finished_episodes: int = 0  # in all environments
    training_seconds: float = 0.0  # without evaluations and checkpoints

    def __post_init__(self) -> None:
        counts = (self.steps, self.updates, self.episodes, self.finished_episodes)
        if min(counts) < 0:
            raise ValueError(f"Steps, updates and episodes cannot be negative: {counts}.")


@dataclass(frozen=True)
class Best:
    """The teacher of the best evaluation so far."""

    steps: int  # env steps
    mean_return: float  # over the validation episodes
    description: TeacherDescription  # without command, versions and baselines
    tensors: dict[str, Tensor]


def save_checkpoint(folder: Path, agent: BaseAlgorithm, progress: Progress) -> Path:
    """Write a checkpoint atomically, and remove the oldest ones.

    Args:
        folder: the run's `checkpoints`.

    Returns: the checkpoint's folder.

    Raises:
        UserError: it cannot be written. Older checkpoints are kept.
    """
    parts = {_AGENT: pack(_capture(agent))}
    if isinstance(agent, OffPolicyAlgorithm):
        parts[_REPLAY] = pack(_capture_replay(agent))
    tensors = {name: tensors for name, (tensors, _) in parts.items()}
    values = {name: values for name, (_, values) in parts.items()}
    values[_PROGRESS] = asdict(progress)
    return CheckpointStore(folder).save(progress.steps, tensors, values)


def find_newest(folder: Path) -> tuple[Checkpoint, Progress] | None:
    """Return the newest undamaged checkpoint; None if there are no checkpoints.

    Raises:
        UserError: there are checkpoints, but all are damaged or of an older format.
    """
    if any(folder.glob("step_*/model.zip")):
        raise UserError(
            f"The checkpoints in {folder} are of an older format: the version that wrote them, "
            f"named in {CONFIG_FILE}, can resume them. Here, start over with `overwrite`."
        )
    found = CheckpointStore(folder).to_resume()
    if found is None:
        return None
    with found.fitting():
        return found, typed(Progress, found.values[_PROGRESS], _PROGRESS)


def restore(checkpoint: Checkpoint, agent: BaseAlgorithm, progress: Progress) -> None:
    """Restore a checkpoint into a new agent with the same settings.

    Raises:
        UserError: the checkpoint does not fit the agent.
    """
    with checkpoint.fitting():
        state = checkpoint.unpacked(_AGENT)
        agent.set_parameters(state["parameters"], exact_match=True, device=agent.device)
        for name, tensor in state["variables"].items():
            getattr(agent, name).data.copy_(tensor)
        for name, statistics in _statistics(agent):
            vars(statistics).update(state["normaliser"][name])
        restore_generators(state["generators"], _own_generators(agent))
        if isinstance(agent, OffPolicyAlgorithm):
            _restore_replay(agent, checkpoint.unpacked(_REPLAY))
    agent.num_timesteps = progress.steps
    agent._n_updates = progress.updates
    agent._episode_num = progress.finished_episodes  # SB3's SAC logs its own count
    if isinstance(agent, PolicyGradient):
        agent.gradient_steps = progress.updates


def save_best(folder: Path, task: str, agent: BaseAlgorithm, mean_return: float) -> None:
    """Save the current agent as the best teacher, replacing the previous one.

    Raises:
        UserError: it cannot be written. The previous one is kept.
    """
    teacher = Teacher.from_sb3(agent, task=task)
    description = asdict(teacher.description)
    values = {"steps": agent.num_timesteps, "return": mean_return, "description": description}
    _best_store(folder).replace({_TEACHER: teacher.state_dict()}, {_TEACHER: pack(values)[1]})


def find_best(folder: Path) -> Best | None:
    """Return the best teacher so far; None if there is none or it is damaged (with a warning).

    Raises:
        UserError: it was written by another version.
    """
    found = _best_store(folder).newest()
    if found is None:
        return None
    with found.fitting():
        values = unpack({}, found.values[_TEACHER])
        description = TeacherDescription.from_json(values["description"], found.path)
        steps, mean_return = int(values["steps"]), float(values["return"])
        return Best(steps, mean_return, description, found.tensors(_TEACHER))


def _best_store(folder: Path) -> CheckpointStore:
    return CheckpointStore(folder / "best", keep=1)


# -- state of an agent -------------------------------------------------------------------------


def _capture(agent: BaseAlgorithm) -> dict[str, Any]:
    _, variables = agent._get_torch_save_params()  # such as SAC's entropy coefficient
    return {
        "parameters": agent.get_parameters(),
        "variables": {name: getattr(agent, name) for name in variables},
        "normaliser": {name: vars(statistics) for name, statistics in _statistics(agent)},
        "generators": capture_generators(_own_generators(agent)),
    }


def _statistics(agent: BaseAlgorithm) -> Iterator[tuple[str, RunningMeanStd]]:
    normaliser = agent.get_vec_normalize_env()
    assert isinstance(normaliser, VecNormalize)
    yield "returns", normaliser.ret_rms
    if normaliser.norm_obs:
        by_name = normaliser.obs_rms
        for name, statistics in (by_name if isinstance(by_name, dict) else {"": by_name}).items():
            yield f"states {name}".strip(), statistics


def _own_generators(agent: BaseAlgorithm) -> dict[str, np.random.Generator]:
    """Return SB3's generators beside the global ones: that of SAC's first actions."""
    return {"actions": agent.action_space.np_random}


def _capture_replay(agent: OffPolicyAlgorithm) -> dict[str, Any]:
    """Return views of the filled rows, `(steps, num_envs, ...)`, without copies."""
    buffer = agent.replay_buffer
    assert buffer is not None
    rows = {name: array[: buffer.size()] for name, array in _arrays(buffer).items()}
    return {**rows, "pos": buffer.pos, "full": buffer.full}


def _arrays(buffer: ReplayBuffer) -> dict[str, np.ndarray]:
    """Return the arrays of a replay buffer, `(steps, num_envs, ...)`, by name and group."""
    names = _REPLAY_ARRAYS
    if isinstance(buffer, HerReplayBuffer):
        names += _EPISODE_ARRAYS
    arrays = {}
    for name in names:
        value = getattr(buffer, name)
        groups = value if isinstance(value, dict) else {"": value}
        arrays |= {f"{name} {group}".strip(): array for group, array in groups.items()}
    return arrays


def _restore_replay(agent: OffPolicyAlgorithm, state: dict[str, Any]) -> None:
    buffer = agent.replay_buffer
    assert buffer is not None
    for name, array in _arrays(buffer).items():
        array[: len(state[name])] = state[name]
    buffer.pos, buffer.full = state["pos"], state["full"]
    if isinstance(buffer, HerReplayBuffer):
        # The environments begin new episodes: HER cannot replay those in progress.
        buffer._current_ep_start[:] = buffer.pos
