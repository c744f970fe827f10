"""Register a task of robosuite, which has no ids of Gymnasium.

`--env_id benchmarks.environments.robosuite_lift:Lift-v0`. For other tasks, copy this file and
change the name of the task and of the robot.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import robosuite  # pyright: ignore[reportMissingImports]

HORIZON = 200  # env steps of an episode


class Lift(gym.Env):
    """A Panda arm lifts a cube. The state is that of the cube, then of the robot."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, render_mode: str | None = None, camera: str = "frontview") -> None:
        self.render_mode, self._camera = render_mode, camera
        self._task = robosuite.make(
            "Lift",
            robots="Panda",
            has_renderer=False,
            has_offscreen_renderer=render_mode is not None,
            use_camera_obs=False,
            hard_reset=False,  # which would compile the model at every reset
            reward_shaping=True,
            horizon=HORIZON,
            ignore_done=True,  # the time limit is Gymnasium's
        )
        self._hide_collision_shapes()
        low, high = self._task.action_spec
        self.action_space = gym.spaces.Box(low.astype(np.float32), high.astype(np.float32))
        parts = {name: part.shape for name, part in self._groups().items()}
        boxes = [(name, gym.spaces.Box(-np.inf, np.inf, shape)) for name, shape in parts.items()]
        self.observation_space = gym.spaces.Dict(boxes)

    @property
    def model(self) -> Any:
        """Return MuJoCo's own model. With it, cameras of the toolkit draw this environment."""
        return self._task.sim.model._model

    @property
    def data(self) -> Any:
        """Return MuJoCo's own data."""
        return self._task.sim.data._data

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self._task.rng = self._task.placement_initializer.rng = self.np_random
        self._task.reset()
        return self._groups(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        _, reward, _, _ = self._task.step(action)
        info = {"is_success": bool(self._task._check_success())}
        return self._groups(), float(reward), False, False, info

    def render(self) -> np.ndarray:
        # robosuite draws in the context that is current, which may be that of another environment.
        self._task.sim._render_context_offscreen.gl_ctx.make_current()
        picture = self._task.sim.render(width=256, height=256, camera_name=self._camera)
        return picture[::-1]  # MuJoCo's first row is the lowest

    def close(self) -> None:
        self._task.close()

    def _hide_collision_shapes(self) -> None:
        """Make the shapes of collisions transparent, which robosuite's own renderer leaves out."""
        self.model.geom_rgba[self.model.geom_group == 0, 3] = 0

    def _groups(self) -> dict[str, np.ndarray]:
        seen = self._task._get_observations(force_update=True)
        names = {"cube": "object-state", "robot": "robot0_proprio-state"}
        return {name: np.asarray(seen[key], np.float32) for name, key in names.items()}


if "Lift-v0" not in gym.registry:
    gym.register("Lift-v0", f"{__name__}:Lift", max_episode_steps=HORIZON)
