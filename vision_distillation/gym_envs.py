"""The tasks as environments of Gymnasium: `gym.make("vision_distillation/Pusher-v0")`.

`import vision_distillation` registers every task. Observations are the groups of
`Enviroment.observations`: `frame` uint8 (stack * channels, H, W), newest last, `proprio` float32
(P,) and `state` float32 (S,). Equal seeds and actions give the frames and rewards of `make_env`.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, TypedDict, Unpack

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from Common.errors import UserError
from Enviroment.custom import with_frames
from Enviroment.drawing.renderer import Quality
from Enviroment.episode_env import DictObs
from Enviroment.make import make_env
from Enviroment.observations import FRAME, newest_pictures
from Enviroment.simulation.making import make_simulation
from Enviroment.success import IS_SUCCESS
from Enviroment.task import Task
from Enviroment.tasks import get_task

_FIRST_SEEDS = 2**30  # of environments that are reset without a seed
_FPS = 30  # of environments without a known rate


class Frames(TypedDict, total=False):
    """Settings of the frames, as the flags of these names: see `Enviroment.custom.with_frames`."""

    camera: str  # such as "top,wrist" or "distance=2"
    rgb: bool
    depth: bool
    depth_range: str  # NEAR:FAR, in metres
    stack: int  # frames per observation
    frame_interval: int  # env steps between them
    frame_size: tuple[int, int]  # pixels, height and width


class VisionEnv(gym.Env[DictObs, Any]):
    """One environment of a task.

    `reset` without a seed begins the next episode of the last seed. The info of an episode's last
    step has `is_success`, if the environment reports success.

    Args:
        task: a name, or a task of your own.
        render_mode: "rgb_array": `render` returns the newest frame, (H, views * W, 3).
        quality: "fast" frames, or "reference" frames as Gymnasium renders them.
        blind: return zero frames and render nothing.
        frames: settings of `Frames`, by default those of the task.

    Raises:
        UserError: the task is unknown, or cannot have such frames.
        TypeError: there is no such setting.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": _FPS}

    def __init__(
        self,
        task: str | Task,
        *,
        render_mode: str | None = None,
        quality: Quality = "fast",
        blind: bool = False,
        **frames: Unpack[Frames],
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"`render_mode` {render_mode!r}: give None or rgb_array.")
        task = get_task(task) if isinstance(task, str) else task
        self.task = with_frames(task, **frames)
        self._envs = make_env(self.task, 1, 0, quality=quality, workers="serial", blind=blind)
        self.observation_space = self._envs.observation_space
        self.action_space = self._envs.action_space
        self.render_mode = render_mode
        self.metadata = {**type(self).metadata, "render_fps": _render_fps(self.task)}  # pyright: ignore[reportAttributeAccessIssue]
        self._has_seed = False
        self._begun: DictObs | None = None  # the first observation of an episode that has begun
        self._frame: np.ndarray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[DictObs, dict[str, Any]]:
        """Begin an episode: its observation and an empty info. `options` have no effect."""
        super().reset(seed=seed)
        first = _first_seed(seed, self._has_seed, self.np_random)
        if first is not None:
            self._envs.seed(first)
            self._has_seed, self._begun = True, None
        # At the end of an episode the environments have begun the next one already.
        obs = _only(self._envs.reset()) if self._begun is None else self._begun
        self._begun, self._frame = None, obs[FRAME]
        return obs, {}

    def step(self, action: Any) -> tuple[DictObs, float, bool, bool, dict[str, Any]]:
        """Step: the observation, the reward, terminated, truncated, and the info."""
        if self._frame is None:
            raise gym.error.ResetNeeded("Call reset before the first step.")
        if self._begun is not None:
            raise gym.error.ResetNeeded("The episode has ended: call reset.")
        next_obs, rewards, dones, infos = self._envs.step(np.asarray(action)[None])
        obs, (info,) = _only(next_obs), infos
        terminated, truncated = False, False
        if dones[0]:
            obs, self._begun = info["terminal_observation"], obs
            truncated = bool(info["TimeLimit.truncated"])
            terminated = not truncated
        self._frame = obs[FRAME]
        return obs, float(rewards[0]), terminated, truncated, _told(info)

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the newest frame in colour, uint8 (H, views * W, 3); None without render_mode."""
        if self.render_mode is None or self._frame is None:
            return None
        return newest_pictures(self._frame, self.task)

    def close(self) -> None:
        """Free the simulation and its OpenGL context. A second call does nothing."""
        self._envs.close()


class VisionVectorEnv(VectorEnv[DictObs, np.ndarray, np.ndarray]):
    """Many environments of a task, for `gym.make_vec`. They reset in the step that ends an episode.

    `infos["final_obs"]` has the last observation of each episode that has ended.
    Episode k of environment i has the seed `seed + k * num_envs + i`.

    Args:
        task, settings: those of `VisionEnv`, except for `render_mode`.
        num_envs: number of environments.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        task: str | Task,
        *,
        num_envs: int = 1,
        quality: Quality = "fast",
        blind: bool = False,
        **frames: Unpack[Frames],
    ) -> None:
        task = get_task(task) if isinstance(task, str) else task
        self.task = with_frames(task, **frames)
        self._envs = make_env(self.task, num_envs, 0, quality=quality, blind=blind)
        self.num_envs = num_envs
        self.single_observation_space = self._envs.observation_space
        self.single_action_space = self._envs.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._has_seed = False

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[DictObs, dict[str, Any]]:
        """Begin an episode in every environment. `options` have no effect."""
        if seed is not None and not isinstance(seed, int | np.integer):
            raise UserError(f"`seed` {seed!r}: give one seed, of environment 0.")
        super().reset(seed=seed)
        first = _first_seed(seed, self._has_seed, self.np_random)
        if first is not None:
            self._envs.seed(first)
            self._has_seed = True
        return self._envs.reset(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[DictObs, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all: observations, rewards, terminated, truncated (num_envs,), and infos."""
        obs, rewards, dones, told = self._envs.step(actions)
        truncated = np.array([info.get("TimeLimit.truncated", False) for info in told], bool)
        infos: dict[str, Any] = {}
        for index in np.flatnonzero(dones).tolist():
            final = {"final_obs": told[index]["terminal_observation"], **_told(told[index])}
            infos = self._add_info(infos, final, index)
        return obs, rewards, dones & ~truncated, truncated, infos

    def close_extras(self, **kwargs: Any) -> None:
        """Free the simulations."""
        self._envs.close()


def _first_seed(seed: int | None, has_seed: bool, rng: np.random.Generator) -> int | None:
    """Return the seed from which episodes are counted; None: as before."""
    return int(rng.integers(_FIRST_SEEDS)) if seed is None and not has_seed else seed


def _only(obs: DictObs) -> DictObs:
    """Return the observation of the only environment."""
    return {group: values[0] for group, values in obs.items()}


def _told(info: dict[str, Any]) -> dict[str, Any]:
    return {name: info[name] for name in (IS_SUCCESS, "diverged") if name in info}


def _render_fps(task: Task) -> float:
    if task.is_game:
        return _FPS
    with contextlib.closing(make_simulation(task)) as env:
        return (env.metadata or {}).get("render_fps", _FPS)
