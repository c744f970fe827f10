"""robosuite's task as an environment of Gymnasium, with a stand-in for robosuite itself."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from stable_baselines3 import PPO

from benchmarks.environments.lift_agent import imitate, script
from Enviroment.custom import custom_task, with_frames
from Enviroment.make import make_env
from Enviroment.simulation.workers import WorkerKind
from Enviroment.task import FRAME

_MODEL = """
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
  <worldbody>
    <camera name="above" pos="0 0 2"/>
    <geom name="shape" group="0" type="box" size="5 5 .2" rgba="0 1 0 1"/>
    <body><joint type="slide"/><geom group="1" type="box" size="5 5 .1" rgba="1 0 0 1"/></body>
  </worldbody>
</mujoco>"""
_SIZE = 256


class _Drawing:
    """Draws in the OpenGL context that is current, as robosuite does."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.gl_ctx = mujoco.GLContext(_SIZE, _SIZE)
        self.gl_ctx.make_current()
        self.scene = mujoco.MjvScene(model, 10)
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)


class _Task:
    """What the environment uses of a task of robosuite."""

    action_spec = (-np.ones(7), np.ones(7))

    def __init__(self, *_: Any, has_offscreen_renderer: bool, **__: Any) -> None:
        model = mujoco.MjModel.from_xml_string(_MODEL)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        self.placement_initializer = SimpleNamespace(rng=None)
        self.sim = SimpleNamespace(
            model=SimpleNamespace(_model=model), data=SimpleNamespace(_data=data), render=self._draw
        )
        self.sim._render_context_offscreen = _Drawing(model) if has_offscreen_renderer else None

    def _draw(self, width: int, height: int, camera_name: str) -> np.ndarray:
        del camera_name
        model, data = self.sim.model._model, self.sim.data._data
        drawing = self.sim._render_context_offscreen
        option, rect = mujoco.MjvOption(), mujoco.MjrRect(0, 0, width, height)
        camera = mujoco.MjvCamera()
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        every = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, option, None, camera, every, drawing.scene)
        mujoco.mjr_render(rect, drawing.scene, drawing.context)
        picture = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, rect, drawing.context)
        return picture

    def reset(self) -> None:
        mujoco.mj_resetData(self.sim.model._model, self.sim.data._data)
        mujoco.mj_forward(self.sim.model._model, self.sim.data._data)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, dict]:
        mujoco.mj_step(self.sim.model._model, self.sim.data._data)
        return None, float(action.sum()), False, {}

    def _check_success(self) -> bool:
        return False

    def _get_observations(self, force_update: bool) -> dict[str, np.ndarray]:
        del force_update
        return {"object-state": np.zeros(10), "robot0_proprio-state": np.zeros(50)}

    def close(self) -> None:
        if self.sim._render_context_offscreen is not None:
            self.sim._render_context_offscreen.gl_ctx.free()  # no context is current then


@pytest.fixture
def env_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "benchmarks.environments.robosuite_lift"
    package = ModuleType("robosuite")
    package.make = _Task
    monkeypatch.setitem(sys.modules, "robosuite", package)
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module(name)
    yield f"{name}:Lift-v0"
    del gym.registry["Lift-v0"]
    sys.modules.pop(name, None)


def test_an_environment_draws_after_another_of_the_process_was_closed(env_id: str) -> None:
    first, second = (gym.make(env_id, render_mode="rgb_array") for _ in range(2))
    for env in (first, second):
        env.reset(seed=0)
        assert _centre(env.render()) == [255, 0, 0]
    second.close()
    assert _centre(first.render()) == [255, 0, 0]


def _centre(picture: Any) -> list[int]:
    return picture[_SIZE // 2, _SIZE // 2].tolist()


def test_the_toolkits_cameras_draw_it_without_the_shapes_of_collisions(env_id: str) -> None:
    task = custom_task(env_id, camera="above", proprio="robot")
    task = with_frames(task, rgb=True, stack=1, frame_size=(32, 32))
    with contextlib.closing(make_env(task, 1, seed=0, workers="serial")) as env:
        seen = env.reset()
    assert isinstance(seen, dict)
    assert seen[FRAME][0, :, 16, 16].tolist() == [255, 0, 0]


def test_the_script_reaches_then_grasps_then_lifts() -> None:
    robot = np.zeros(50)
    robot[46:48] = 0.04, -0.04  # open
    aside = script(np.array([0.1, -0.1, 0.0]), robot)
    assert aside[0] == 1
    assert aside[1] == -1
    assert aside[2] > 0  # first above the cube
    assert aside[6] == -1
    below = script(np.array([0.0, 0.0, -0.1]), robot)
    assert below[2] == -1
    assert below[6] == -1
    grasped = script(np.zeros(3), robot)
    assert grasped[2] == 0
    assert grasped[6] == 1
    robot[46:48] = 0.02, -0.02  # closed around the cube
    lifted = script(np.zeros(3), robot)
    assert lifted[2] == 1
    assert lifted[6] == 1
    assert not lifted[3:6].any()


def test_an_agent_imitates_actions_of_states_of_unlike_scales(env_id: str) -> None:
    random = np.random.default_rng(0)
    states = random.standard_normal((400, 60)).astype(np.float32)
    states[:, 0] = 1 + 0.01 * states[:, 0]  # in metres, as a distance
    states[:, 59] *= 100
    actions = np.zeros((400, 7), np.float32)
    actions[:, 0] = np.sign(states[:, 0] - 1)
    agent = PPO("MultiInputPolicy", gym.make(env_id), n_steps=8, batch_size=8, device="cpu")
    imitate(agent, states, actions)
    got, _ = agent.predict({"cube": states[:, :10], "robot": states[:, 10:]}, deterministic=True)
    assert np.mean(np.sign(got[:, 0]) == actions[:, 0]) > 0.95
    assert np.abs(got[:, 1:]).max() < 0.5


@pytest.mark.parametrize("workers", ["serial", "thread"])
def test_its_own_pictures_are_frames(env_id: str, workers: WorkerKind) -> None:
    task = custom_task(env_id, frames="env")
    task = with_frames(task, rgb=True, stack=1, frame_size=(32, 32))
    with contextlib.closing(make_env(task, 3, seed=0, workers=workers, n_workers=2)) as env:
        seen = env.reset()
    assert isinstance(seen, dict)
    assert seen[FRAME][:, :, 16, 16].tolist() == 3 * [[255, 0, 0]]
