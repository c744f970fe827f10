"""The rollout buffer: observations, actions and labels since the last update."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from Algorithm.on_policy.sequences import RolloutSequences
from Common.device import upload
from Enviroment.observations import FRAME, frame_channels
from Enviroment.tasks import Task
from Models.distributions import Distribution
from Models.networks.recurrent import Past

Obs = np.ndarray | dict[str, np.ndarray]
TensorObs = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Minibatch:
    """Samples of a rollout. The first dimension of every tensor is the batch."""

    obs: TensorObs
    raw_actions: Tensor
    old_log_prob: Tensor  # (B,)
    old_values: Tensor  # (B,)
    advantages: Tensor  # (B,)
    returns: Tensor  # (B,)
    teacher: Distribution | None
    teacher_values: Tensor | None = None  # (B,), if the teacher has a critic
    past: Past | None = None  # of a recurrent student, in whose order the samples are


class FrameHistory:
    """The frames of a rollout, each stored once; stacks of four would store each four times.

    Stacks are built on reading. `history` frames from before the rollout are carried over, and a
    stack never reaches back beyond the first frame of its episode, which fills it.
    """

    def __init__(self, n_steps: int, n_envs: int, task: Task, device: torch.device) -> None:
        self.history, self.n_envs, self.channels = task.history, n_envs, frame_channels(task)
        # Age of each frame of a stack in env steps, newest last.
        self._back = np.arange(task.history, -1, -task.frame_interval)
        self.frames = torch.zeros(
            (task.history + n_steps, n_envs, self.channels, *task.frame_size),
            dtype=torch.uint8,
            device=device,
        )
        self._age = np.zeros((n_steps, n_envs), np.int64)  # steps since the start of the episode
        self._last_age = np.full(n_envs, -1)
        self._n_steps = 0  # of this rollout so far, which may end early

    def start_rollout(self) -> None:
        """Carry over the frames that the first stacks of the next rollout need."""
        self.frames[: self.history] = self._newest().clone()
        self._n_steps = 0

    def _newest(self) -> Tensor:
        return self.frames[self._n_steps : self._n_steps + self.history]

    def capture(self) -> dict[str, Any]:
        """Return the frames and ages that the next rollout begins with."""
        return {"frames": self._newest(), "ages": self._last_age}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture` for the next rollout."""
        self.frames[: self.history] = state["frames"].to(self.frames.device)
        self._last_age, self._n_steps = state["ages"], 0

    def add(self, step: int, stacked: np.ndarray | Tensor, episode_starts: np.ndarray) -> None:
        """Add a step with stacks `(n_envs, stack * channels, H, W)`, newest last."""
        newest = torch.as_tensor(stacked)[:, -self.channels :]
        self.frames[self.history + step].copy_(newest)
        self._last_age = np.where(episode_starts, 0, self._last_age + 1)
        self._age[step] = self._last_age
        self._n_steps = step + 1

    def read(self, steps: np.ndarray, envs: np.ndarray) -> Tensor:
        """Return the stacks at these steps and environments, `(B, stack * channels, H, W)`."""
        return self.gather(upload(self.rows(steps, envs), self.frames.device))

    def rows(self, steps: np.ndarray, envs: np.ndarray) -> np.ndarray:
        """Return the rows of the frames of these stacks, `(B, stack)`, for `gather`."""
        back = np.minimum(self._back, self._age[steps, envs][:, None])  # (B, stack)
        return (self.history + steps[:, None] - back) * self.n_envs + envs[:, None]

    def gather(self, rows: Tensor) -> Tensor:
        """Return the stacks of the frames at `rows` `(B, stack)`, on the frames' device."""
        frames = self.frames.flatten(0, 1).index_select(0, rows.flatten())  # (B * stack, C, H, W)
        return frames.view(len(rows), -1, *frames.shape[2:])


@dataclass(frozen=True)
class _Samples:
    """A whole rollout on the device, `(n_envs * n_steps, ...)`, for minibatches."""

    obs: dict[str, Tensor]  # groups other than frames
    frame_rows: Tensor | None  # (n_envs * n_steps, stack), for `FrameHistory.gather`
    raw_actions: Tensor
    vectors: dict[str, Tensor]  # the fields of `Minibatch` that are `(B,)`


class StudentRolloutBuffer(RolloutBuffer):
    """SB3's rollout buffer with raw actions, distributions of teacher and student, single frames.

    Minibatches are drawn in the order of SB3's own buffer (environment-major, NumPy's generator),
    so that they are the same as in SB3's PPO.

    Args:
        task: defines the stacking of the group `frame`; None stores whole stacks.
        sequence_length: env steps per sequence of a recurrent student, whose minibatches are of
            whole sequences; None: samples.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        device: torch.device | str = "auto",
        gae_lambda: float = 1,
        gamma: float = 0.99,
        n_envs: int = 1,
        task: Task | None = None,
        sequence_length: int | None = None,
    ) -> None:
        self._is_dict = isinstance(observation_space, spaces.Dict)
        self._history: FrameHistory | None = None
        self._sequences: RolloutSequences | None = None
        super().__init__(
            buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs
        )
        has_frames = self._is_dict and FRAME in observation_space.spaces  # pyright: ignore[reportAttributeAccessIssue]
        if task is not None and has_frames:
            self._history = FrameHistory(buffer_size, n_envs, task, self.device)
        if sequence_length is not None:
            self._sequences = RolloutSequences(buffer_size, n_envs, sequence_length, self.device)

    def reset(self) -> None:
        """Clear the rollout, except the frames that the next one needs."""
        size = (self.buffer_size, self.n_envs)
        self.rewards = np.zeros(size, np.float32)
        self.returns = np.zeros(size, np.float32)
        self.advantages = np.zeros(size, np.float32)
        self.episode_starts = np.zeros(size, np.float32)
        self.values = np.zeros(size, np.float32)
        self._obs: dict[str, list[Tensor]] = {}
        self._teacher_obs: dict[str, list[Tensor]] = {}
        self._raw_actions: list[Tensor] = []
        self._student: list[Distribution] = []
        self._samples: _Samples | None = None  # made by the first call of `minibatches`
        self.teacher: Distribution | None = None
        self.teacher_values: Tensor | None = None
        self.generator_ready = False
        self.pos, self.full = 0, False
        if self._history is not None:
            self._history.start_rollout()
        if self._sequences is not None:
            self._sequences.clear()

    def capture(self) -> dict[str, Any]:
        """Return the state that the next rollout needs. Call it between rollouts."""
        history = self._history
        return {} if history is None else {"history": history.capture()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture`. The next rollout begins with `reset`."""
        if self._history is not None:
            self._history.restore(state["history"])

    def add_step(
        self,
        obs: Obs | TensorObs,
        raw_actions: Tensor,
        rewards: np.ndarray,
        episode_starts: np.ndarray,
        student: Distribution,
        values: Tensor | None = None,
        teacher_obs: Obs | TensorObs | None = None,
        hidden: Tensor | None = None,
    ) -> None:
        """Add one step of every environment.

        Args:
            obs: the student's observations; ideally the tensors that it acted on, which are on the
                device already.
            student: the student's distributions.
            values: `(n_envs,)`; None if `set_values` sets those of the whole rollout.
            teacher_obs: the teacher's observations; None: the student's.
            hidden: a recurrent student's hidden states before the step, `(n_envs, units)`.
        """
        if self._sequences is not None:
            assert hidden is not None
            self._sequences.add(self.pos, hidden)
        for group, array in _groups(obs).items():
            if group == FRAME and self._history is not None:
                self._history.add(self.pos, array, episode_starts)
            else:
                self._keep(self._obs, group, array)
        for group, array in ({} if teacher_obs is None else _groups(teacher_obs)).items():
            self._keep(self._teacher_obs, group, array)
        self._raw_actions.append(raw_actions)
        self._student.append(student)
        self.rewards[self.pos] = rewards
        self.episode_starts[self.pos] = episode_starts
        if values is not None:
            self.values[self.pos] = values.cpu().numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def _keep(
        self, groups: dict[str, list[Tensor]], group: str, values: np.ndarray | Tensor
    ) -> None:
        # A copy, because environments may reuse arrays that share memory with a CPU tensor.
        groups.setdefault(group, []).append(torch.as_tensor(values, device=self.device).clone())

    def compute_returns_and_advantage(self, last_values: Tensor, dones: np.ndarray) -> None:
        """Compute returns and advantages as SB3 does."""
        super().compute_returns_and_advantage(last_values, dones)
        self._samples = None

    def set_values(self, values: Tensor) -> None:
        """Set the critic's estimates `(n_envs * n_steps,)` for `flat_obs`."""
        self.values[:] = values.view(self.n_envs, self.buffer_size).T.cpu().numpy()

    def flat_obs(self) -> TensorObs:
        """Return the student's observations of the whole rollout, `(n_envs * n_steps, ...)`.

        Frames that are stored once are not included.
        """
        obs = {group: _env_major(steps) for group, steps in self._obs.items()}
        return obs if self._is_dict else obs[""]

    def flat_group(self, group: str | None) -> Tensor:
        """Return the teacher's observations of a group, `(n_envs * n_steps, ...)`.

        Args:
            group: name of the group; None if observations are not dictionaries.
        """
        kept = self._teacher_obs or self._obs
        if group == FRAME and self._history is not None and FRAME not in kept:
            envs, steps = np.divmod(np.arange(self.buffer_size * self.n_envs), self.buffer_size)
            return self._history.read(steps, envs)
        return _env_major(kept[group or ""])

    def flat_teacher_obs(self, groups: tuple[str, ...]) -> TensorObs:
        """Return the teacher's observations of the whole rollout, by group if it has groups."""
        if not self._is_dict:
            return self.flat_group(None)
        return {group: self.flat_group(group) for group in groups}

    def flat_student(self) -> Distribution:
        """Return the student's distributions of the rollout: `(n_envs * n_steps, ...)`."""
        params = [dist.params() for dist in self._student]
        return type(self._student[0])(
            **{name: _env_major([p[name] for p in params]) for name in params[0]}
        )

    def minibatches(self, batch_size: int | None) -> Iterator[Minibatch]:
        """Yield the rollout once in random order, in minibatches or, for None, as a whole.

        Those of a recurrent student consist of whole sequences, time-major (`Past`).

        A GPU is not synchronised between minibatches: it holds the whole rollout, and one random
        order is sent per epoch.

        Raises:
            RuntimeError: the rollout is not complete.
        """
        if not self.full:
            raise RuntimeError("Minibatches need a complete rollout.")
        if self._samples is None:
            self._samples = self._flat_samples()
        samples = self._samples
        for index, past in self._draw(batch_size or self.buffer_size * self.n_envs):
            yield Minibatch(
                obs=self._read_obs(samples, index),
                raw_actions=samples.raw_actions[index],
                teacher=None if self.teacher is None else self.teacher[index],
                teacher_values=None if self.teacher_values is None else self.teacher_values[index],
                past=past,
                **{name: vector[index] for name, vector in samples.vectors.items()},
            )

    def n_minibatches(self, batch_size: int | None) -> int:
        """Return the number of minibatches of samples that `minibatches` yields."""
        total = self.buffer_size * self.n_envs
        return math.ceil(total / (batch_size or total))

    def _draw(self, batch_size: int) -> Iterator[tuple[Tensor, Past | None]]:
        """Yield the samples of each minibatch, and their past if they are sequences."""
        cuts = self._sequences
        if cuts is None:
            total = self.buffer_size * self.n_envs
            order = upload(np.random.permutation(total), self.device)
            yield from ((index, None) for index in order.split(batch_size))
            return
        order = upload(np.random.permutation(cuts.n_sequences), self.device)
        for sequences in order.split(batch_size // cuts.length):
            yield cuts.samples(sequences), cuts.past(sequences)

    def _flat_samples(self) -> _Samples:
        raw_actions = _env_major(self._raw_actions)
        arrays = {
            "old_values": self.values,
            "advantages": self.advantages,
            "returns": self.returns,
        }
        flat = {name: upload(array.T.reshape(-1), self.device) for name, array in arrays.items()}
        if self._sequences is not None:
            self._sequences.complete(self.episode_starts)
        frame_rows = None
        if self._history is not None:
            envs, steps = np.divmod(np.arange(self.buffer_size * self.n_envs), self.buffer_size)
            frame_rows = upload(self._history.rows(steps, envs), self.device)
        return _Samples(
            obs={group: _env_major(steps) for group, steps in self._obs.items()},
            frame_rows=frame_rows,
            raw_actions=raw_actions,
            vectors={"old_log_prob": self.flat_student().log_prob(raw_actions), **flat},
        )

    def _read_obs(self, samples: _Samples, index: Tensor) -> TensorObs:
        read = {group: tensor[index] for group, tensor in samples.obs.items()}
        if self._history is not None:
            assert samples.frame_rows is not None
            read[FRAME] = self._history.gather(samples.frame_rows[index])
        return read if self._is_dict else read[""]


def _groups(obs: Obs | TensorObs) -> dict[str, np.ndarray] | dict[str, Tensor]:
    return obs if isinstance(obs, dict) else {"": obs}  # pyright: ignore[reportReturnType]


def _env_major(steps: list[Tensor]) -> Tensor:
    """Concatenate n_steps tensors `(n_envs, ...)` to `(n_envs * n_steps, ...)` in SB3's order."""
    return torch.stack(steps, dim=1).flatten(0, 1)
