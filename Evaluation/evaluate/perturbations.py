"""Perturb observations, as faults between a camera and a policy would.

`PerturbedEnv` applies a perturbation to the observations of environments, for
`evaluate.run_episodes`. The state is unchanged, and with it rewards and distances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from Enviroment.observations import FRAME, PROPRIO, FrameStack, frame_channels
from Enviroment.task import Task

DictObs = dict[str, np.ndarray]
# Arguments: observations, and which of them start an episode, bool (n_envs,).
Perturbation = Callable[[DictObs, np.ndarray], DictObs]


# -- functions of arrays -------------------------------------------------------------------------


def scale_brightness(
    frames: np.ndarray, factor: float, channels: np.ndarray | None = None
) -> np.ndarray:
    """Multiply uint8 frames by `factor`, rounded and clipped to [0, 255].

    Args:
        channels: bool (channels,), those to change of frames `(..., channels, H, W)`; default: all,
            of any shape.
    """
    scaled = np.clip(np.rint(frames * np.float32(factor)), 0, 255).astype(np.uint8)
    return scaled if channels is None else np.where(channels[:, None, None], scaled, frames)


def shift_frames(frames: np.ndarray, down: int, right: int) -> np.ndarray:
    """Shift frames `(..., H, W)` by whole pixels, repeating the border."""
    h, w = frames.shape[-2:]
    rows = np.clip(np.arange(h) - down, 0, h - 1)
    columns = np.clip(np.arange(w) - right, 0, w - 1)
    return frames[..., rows[:, None], columns]


def swap_environments(group: np.ndarray) -> np.ndarray:
    """Give each environment the observation of the next one, and the last that of the first.

    Args:
        group: `(n_envs, ...)`.
    """
    return np.roll(group, -1, axis=0)


def add_noise(group: np.ndarray, std: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise N(0, std^2), with `std` `(P,)`, to a group `(n_envs, P)`."""
    return (group + rng.standard_normal(group.shape) * std).astype(group.dtype)


# -- perturbations -------------------------------------------------------------------------------


def unperturbed(obs: DictObs, starts: np.ndarray) -> DictObs:
    """Return the observations unchanged."""
    return obs


def on_group(group: str, change: Callable[[np.ndarray], np.ndarray]) -> Perturbation:
    """Return a perturbation that applies a function to one group of all observations."""
    return lambda obs, starts: {**obs, group: change(obs[group])}


class FrozenFrames:
    """Repeats the frames of an episode's first observation until it ends."""

    def __init__(self) -> None:
        self._first: np.ndarray | None = None

    def __call__(self, obs: DictObs, starts: np.ndarray) -> DictObs:
        frames = obs[FRAME]
        if self._first is None:
            self._first = frames
        else:
            # (n_envs,) -> (n_envs, 1, 1, 1)
            self._first = np.where(starts[:, None, None, None], frames, self._first)
        return {**obs, FRAME: self._first}


class DroppedFrames:
    """Drops a share of the frames and repeats the latest frame instead.

    An episode's first frame is never dropped. Frames are stacked as in the task.

    Args:
        share: share of dropped frames, 0 to 1.
        rng: generator that draws independently per step and environment.
    """

    def __init__(self, task: Task, share: float, rng: np.random.Generator) -> None:
        self._task, self._share, self._rng = task, share, rng
        self._stack: FrameStack | None = None
        self._latest = np.empty(0)

    def __call__(self, obs: DictObs, starts: np.ndarray) -> DictObs:
        newest = obs[FRAME][:, -frame_channels(self._task) :]  # (n_envs, channels, H, W)
        if self._stack is None:
            self._stack, self._latest = FrameStack(self._task, len(newest)), newest
        arrives = starts | (self._rng.random(len(newest)) >= self._share)  # (n_envs,)
        self._latest = np.where(arrives[:, None, None, None], newest, self._latest)
        self._stack.push(self._latest)
        for i in np.flatnonzero(starts):
            self._stack.restart(int(i), newest[i])
        return {**obs, FRAME: self._stack.stacks()}


def noisy_proprio(std: np.ndarray, rng: np.random.Generator) -> Perturbation:
    """Return a perturbation that adds independent sensor noise to proprioception at each step."""
    return on_group(PROPRIO, lambda group: add_noise(group, std, rng))


class PerturbedEnv(VecEnvWrapper):
    """Environments with perturbed observations.

    Args:
        venv: the environments. `close` does not close them, so that they can be reused.
        perturb: the perturbation, a new one per evaluation since it may have state.
    """

    def __init__(self, venv: VecEnv, perturb: Perturbation) -> None:
        super().__init__(venv)
        self._perturb = perturb

    def reset(self) -> Any:
        return self._perturb(self._grouped(self.venv.reset()), np.ones(self.num_envs, bool))

    def step_wait(self) -> VecEnvStepReturn:
        obs, rewards, dones, infos = self.venv.step_wait()
        return self._perturb(self._grouped(obs), dones), rewards, dones, infos

    def close(self) -> None:
        pass

    @staticmethod
    def _grouped(obs: Any) -> DictObs:
        assert isinstance(obs, dict)
        return obs
