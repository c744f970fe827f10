"""Environments that change what they look like, each in one way; `KINDS` lists the ways.

Gymnasium itself is the judge: `judged` is the `env.render()` of this moment, by a viewer that was
opened for it, because Gymnasium's own keeps the textures and meshes of its first picture.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer
from gymnasium.spaces import Box

from Enviroment.task import Camera, Task

CAMERA = Camera(distance=2.5, lookat=(0.0, 0.0, 0.0), azimuth=90, elevation=-50)
SIZE = (32, 32)
STEPS = 3  # of an episode
_TETRAHEDRON = "0 0 0 .4 0 0 0 .4 0 0 0 .4"
_PLAIN = '<material name="floor" rgba=".3 .4 .5 1" reflectance=".2"/>'
# OpenGL compiles a program for textures, in each context of a viewer: only where they matter.
_CHECKERED = """<texture name="floor" type="2d" builtin="checker" width="48" height="48"/>
  <material name="floor" texture="floor" texrepeat="3 3"/>"""
_XML = """<mujoco>
<visual><quality shadowsize="64" offsamples="0"/></visual>
<asset>
  {floor}
  <material name="puck" rgba=".5 .7 .2 1"/>
  <hfield name="hills" nrow="8" ncol="8" size=".4 .4 .3 .05"/>
  <mesh name="tetrahedron" vertex="{vertices}"/>
</asset>
<worldbody>
  <light name="lamp" pos="0 0 3" diffuse=".6 .6 .6"/>
  <geom name="floor" type="plane" size="1 1 .1" material="floor"/>
  <geom type="hfield" hfield="hills" pos="-.6 .5 0" rgba=".7 .6 .3 1"/>
  <geom type="mesh" mesh="tetrahedron" pos=".5 .3 .1" rgba=".8 .3 .3 1"/>
  <body pos="0 0 .15"><joint name="x" type="slide" axis="1 0 0" damping="1"/>
    <geom name="puck" type="box" size=".2 .2 .1" material="puck"/></body>
  <body pos="0 -.6 0"><site name="goal" pos="0 0 .1" size=".12" rgba="1 0 0 1"/></body>
  {more}
</worldbody>
<actuator><motor joint="x" ctrlrange="-1 1"/></actuator></mujoco>"""


def _colour(env: Picture) -> None:
    env.model.mat("puck").rgba[:3] = env.np_random.uniform(size=3)


def _size(env: Picture) -> None:
    env.model.geom("puck").size[:] = env.np_random.uniform(0.1, 0.4, size=3)


def _plane(env: Picture) -> None:
    env.model.geom("floor").size[:2] = env.np_random.uniform(0.5, 1.5, size=2)


def _light(env: Picture) -> None:
    env.model.light("lamp").diffuse[:] = env.np_random.uniform(size=3)
    env.model.light("lamp").pos[:2] = env.np_random.uniform(-2, 2, size=2)


def _headlight(env: Picture) -> None:
    env.model.vis.headlight.ambient[:] = env.np_random.uniform(size=3)


def _texture(env: Picture) -> None:
    env.model.tex("floor").data[:] = env.np_random.integers(
        256, size=env.model.tex("floor").data.shape
    )


def _hills(env: Picture) -> None:
    env.model.hfield_data[:] = env.np_random.uniform(size=env.model.hfield_data.shape)


def _mesh(env: Picture) -> None:
    env.model.mesh_vert[:] = env.first_vertices * env.np_random.uniform(0.5, 1.5, size=3)


def _rebuilt(env: Picture) -> None:
    """Another model: other shapes, as many of everything or not, and other names' numbers."""
    corner = env.np_random.uniform(0.2, 0.8, size=2)
    more = "".join(
        f'<geom type="sphere" size=".1" pos="{x:.3f} -.3 .3"/>'
        for x in env.np_random.uniform(-1, 1, size=env.np_random.integers(4))
    )
    env.build(f"0 0 0 {corner[0]:.3f} 0 0 0 {corner[1]:.3f} 0 0 0 .4", more)


def _nothing(env: Picture) -> None:
    """Only what moves, moves."""


KINDS: dict[str, Callable[[Picture], None]] = {
    "colour": _colour,
    "size": _size,
    "plane": _plane,
    "light": _light,
    "headlight": _headlight,
    "texture": _texture,
    "hills": _hills,
    "mesh": _mesh,
    "rebuilt": _rebuilt,
    "crowd": _nothing,  # of 1,200 geoms, where scenes used to have room for 1,000
    "transparent": _nothing,  # by a visual option
    "goal": _nothing,  # marked in the render callback, as gymnasium-robotics does
    "still": _nothing,  # the goal is in the state, and nothing shows it
}


class Picture(MujocoEnv):
    """A puck on a floor. `kind` changes at each reset, and with `midway` at every third step.

    The state is the puck's position and velocity, and the goal.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, kind: str, midway: bool = False, **kwargs: Any) -> None:
        self.kind, self.midway = kind, midway
        crowd = "".join(
            f'<geom type="box" size=".02 .02 .02" pos="{x:.2f} {y:.2f} .3" contype="0"/>'
            for x in np.linspace(-1, 1, 60)
            for y in np.linspace(-1, 1, 20)
        )
        self._more = crowd if kind == "crowd" else ""
        self.goal, self._steps = np.zeros(2), 0
        options = {mujoco.mjtVisFlag.mjVIS_TRANSPARENT: True} if kind == "transparent" else {}
        super().__init__(__file__, 5, Box(-np.inf, np.inf, (4,)), visual_options=options, **kwargs)

    def _initialize_simulation(self) -> tuple[Any, Any]:
        self.build(_TETRAHEDRON, self._more)
        self.first_vertices = self.model.mesh_vert.copy()
        return self.model, self.data

    def build(self, vertices: str, more: str) -> None:
        """Give it a new model and new data."""
        self.model = mujoco.MjModel.from_xml_string(self._xml(vertices, more))
        self.data = mujoco.MjData(self.model)

    def _xml(self, vertices: str, more: str) -> str:
        floor = _CHECKERED if self.kind == "texture" else _PLAIN
        return _XML.format(vertices=vertices, more=more, floor=floor)

    def reset_model(self) -> np.ndarray:
        KINDS[self.kind](self)
        self.goal, self._steps = self.np_random.uniform(-0.5, 0.5, size=2), 0
        self.set_state(self.init_qpos, self.init_qvel)
        return self._state()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.do_simulation(action, self.frame_skip)
        self._steps += 1
        if self.midway and self._steps % 3 == 0:
            KINDS[self.kind](self)
            mujoco.mj_forward(self.model, self.data)  # a new model's data has no places yet
        return self._state(), float(self.data.qpos[0]), False, False, {}

    def render(self) -> Any:
        self._render_callback()
        return super().render()

    def _render_callback(self) -> None:
        """As that of gymnasium-robotics' Fetch: the site is moved from where it now is."""
        if self.kind == "goal":
            offset = (self.data.site_xpos - self.model.site_pos)[0].copy()
            self.model.site_pos[0] = np.array([*self.goal, 0.2]) - offset
            mujoco.mj_forward(self.model, self.data)

    def _state(self) -> np.ndarray:
        return np.r_[self.data.qpos, self.data.qvel, self.goal]


class Bare(gym.Env):
    """A `model` and `data` alone: no metadata, no `render`, no `mj_forward` at reset."""

    observation_space = Box(-np.inf, np.inf, (2,))
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self) -> None:
        text = _XML.format(vertices=_TETRAHEDRON, more="", floor=_PLAIN)
        self.model = mujoco.MjModel.from_xml_string(text)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        return self._state(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 5)
        return self._state(), 0.0, False, False, {}

    def _state(self) -> np.ndarray:
        return np.r_[self.data.qpos, self.data.qvel]


def judged(env: gym.Env) -> np.ndarray:
    """What Gymnasium's `env.render()` shows of this moment through `CAMERA`: uint8 (H, W, 3)."""
    inner: Any = env.unwrapped
    before = inner.render_mode, inner.mujoco_renderer
    view = {"type": 0, "lookat": np.array(CAMERA.lookat), "distance": CAMERA.distance}
    view |= {"azimuth": CAMERA.azimuth, "elevation": CAMERA.elevation}
    inner.model.vis.global_.offheight, inner.model.vis.global_.offwidth = SIZE
    fresh = MujocoRenderer(
        *(inner.model, inner.data, view, SIZE[1], SIZE[0], 10_000),
        visual_options=before[1]._vopt,
    )
    inner.render_mode, inner.mujoco_renderer = "rgb_array", fresh
    picture = np.array(inner.render())
    fresh.close()
    inner.render_mode, inner.mujoco_renderer = before
    return picture


def picture_task(kind: str, midway: bool = False, **changes: Any) -> Task:
    """A task of that kind, registered with Gymnasium as `Picture-KIND-v0`."""
    name = f"Picture-{kind}{'-midway' if midway else ''}"
    values: dict[str, Any] = {"kind": kind, "midway": midway}
    _register(f"{name}-v0", Picture, values)
    return Task(name, f"{name}-v0", CAMERA, ((0, 2),), None, SIZE, custom=True, **changes)


def bare_task() -> Task:
    """The task of `Bare`."""
    _register("Picture-bare-v0", Bare, {})
    return Task("Picture-bare", "Picture-bare-v0", CAMERA, ((0, 2),), None, SIZE, custom=True)


def _register(env_id: str, make: Any, values: dict[str, Any]) -> None:
    gym.registry.pop(env_id, None)
    gym.register(env_id, entry_point=make, max_episode_steps=STEPS, kwargs=values)
