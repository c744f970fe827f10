"""Record complete episodes of vectorised environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from Algorithm.on_policy.rollout import Obs
from Common.device import upload
from Common.errors import UserError


@dataclass(frozen=True)
class Episodes:
    """Steps of complete episodes, one episode after another."""

    obs: Any  # a tensor (B, ...), or a dict of them
    raw_actions: Tensor  # (B, ...)
    rewards: Tensor  # float32 (B,)
    ends: Tensor  # bool (B,): the last step of each episode
    truncated: Tensor  # bool (B,): the last step of a truncated episode

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def count(self) -> int:
        """Number of episodes."""
        return int(self.ends.sum())


class EpisodeRecorder:
    """Records a fixed number of episodes per environment.

    The number is fixed per environment, because the first episodes to end in any environment would
    be biased to short ones. Further steps of an environment are left out.

    Args:
        n_envs: number of parallel environments.
        n_episodes: episodes per environment.
        max_steps: maximum env steps per episode; a longer one is an error.
    """

    def __init__(self, n_envs: int, n_episodes: int, max_steps: int) -> None:
        self._max_steps = max_steps
        self._left = np.full(n_envs, n_episodes)  # episodes
        self._lengths = np.zeros(n_envs, np.int64)  # env steps of the running episodes
        self._obs: list[Obs] = []
        self._steps: dict[str, list[np.ndarray]] = {
            name: [] for name in ("raw_actions", "rewards", "ends", "truncated", "playing")
        }

    @property
    def playing(self) -> np.ndarray:
        """Environments that are still recorded: bool `(n_envs,)`."""
        return self._left > 0

    @property
    def complete(self) -> bool:
        return not self.playing.any()

    def add(
        self,
        obs: Obs,
        raw_actions: Tensor,
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one step of all environments; `obs` are the observations before the actions.

        Raises:
            UserError: an episode does not end.
        """
        cut = [info.get("TimeLimit.truncated", False) for info in infos]
        step = {
            "raw_actions": raw_actions.cpu().numpy(),
            "rewards": rewards.astype(np.float32),
            "ends": dones,
            "truncated": dones & np.array(cut, bool),
            "playing": self.playing,
        }
        self._obs.append(_copy(obs))
        for name, values in step.items():
            self._steps[name].append(np.array(values))
        self._lengths += 1
        self._check_lengths()
        self._lengths[dones] = 0
        self._left[dones] -= 1

    def episodes(self, device: torch.device) -> Episodes:
        """Return the recorded episodes, environment by environment."""
        playing = np.stack(self._steps["playing"], axis=1)  # (n_envs, T)

        def flat(steps: list[np.ndarray]) -> np.ndarray:
            return np.stack(steps, axis=1)[playing]  # (n_envs, T, ...) -> (B, ...)

        first = self._obs[0]
        if isinstance(first, dict):
            obs: Obs = {key: flat([step[key] for step in self._obs]) for key in first}  # pyright: ignore[reportArgumentType, reportCallIssue]
        else:
            obs = flat(self._obs)  # pyright: ignore[reportArgumentType]
        tensors = {
            name: upload(flat(steps), device)
            for name, steps in self._steps.items()
            if name != "playing"
        }
        return Episodes(upload(obs, device), **tensors)  # pyright: ignore[reportArgumentType]

    def _check_lengths(self) -> None:
        endless = np.flatnonzero(self.playing & (self._lengths > self._max_steps))
        if len(endless):
            raise UserError(
                f"Environment {endless[0]}: an episode has not ended after {self._max_steps} env "
                "steps, but training needs complete episodes. Give the environment a time limit, "
                "or increase max_episode_steps."
            )


def _copy(obs: Obs) -> Obs:
    """Copy observations, because environments may reuse their arrays."""
    if isinstance(obs, dict):
        return {key: np.array(value) for key, value in obs.items()}  # pyright: ignore[reportReturnType]
    return np.array(obs)  # pyright: ignore[reportReturnType]
