"""An arm with cameras of its own: `top`, fixed in the world, and `wrist`, moving with its hand."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer
from gymnasium.spaces import Box

from Enviroment.cameras import ModelCamera
from Enviroment.task import Task

SIZE = (32, 48)  # pixels
STEPS = 6  # of an episode
STATE, ACTIONS = 6, 2
_XML = """<mujoco>
<visual><map znear="0.01" zfar="20"/><quality shadowsize="64" offsamples="0"/></visual>
<statistic extent="1" center="0 0 0.3"/>
<worldbody>
  <light pos="0 0 3" diffuse=".7 .7 .7"/>
  <camera name="top" pos="0 0 2" xyaxes="1 0 0 0 1 0"/>
  <camera name="side" pos="0 -1.5 0.5" xyaxes="1 0 0 0 0.3 1" fovy="60"/>
  <camera pos="1 1 1"/>
  <geom type="plane" size="2 2 .1" rgba=".3 .4 .5 1"/>
  <body name="upper" pos="0 0 .3"><joint name="a" axis="0 0 1" range="-90 90" damping=".5"/>
    <geom type="capsule" fromto="0 0 0 .3 0 0" size=".04" rgba=".8 .4 .2 1"/>
    <body name="hand" pos=".3 0 0"><joint name="b" axis="0 0 1" range="-90 90" damping=".5"/>
      <geom type="box" pos=".1 0 0" size=".1 .03 .03" rgba=".2 .8 .3 1"/>
      <camera name="wrist" pos="-.1 0 .2" xyaxes="0 -1 0 .5 0 1"/>
    </body></body>
  <body name="block" pos=".5 .2 .05"><geom type="box" size=".05 .05 .05" rgba=".9 .1 .1 1"/></body>
</worldbody>
<actuator><motor joint="a" ctrlrange="-1 1"/><motor joint="b" ctrlrange="-1 1"/></actuator>
</mujoco>"""


def arm_model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(_XML)


class Arm(MujocoEnv):
    """The state is the joints' angles and velocities, and where the block stands."""

    metadata: ClassVar = {"render_modes": ["rgb_array", "depth_array"]}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(__file__, 10, Box(-np.inf, np.inf, (STATE,)), **kwargs)

    def _initialize_simulation(self) -> tuple[Any, Any]:
        model = arm_model()
        return model, mujoco.MjData(model)

    def reset_model(self) -> np.ndarray:
        self.model.body("block").pos[:2] = self.np_random.uniform((0.4, 0.1), (0.6, 0.3))
        self.set_state(self.np_random.uniform(-0.5, 0.5, size=2), self.init_qvel)
        return self._state()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.do_simulation(action, self.frame_skip)
        return self._state(), float(self.data.qpos[0]), False, False, {}

    def _state(self) -> np.ndarray:
        return np.r_[self.data.qpos, self.data.qvel, self.model.body("block").pos[:2]]


def gymnasium_view(env: gym.Env, camera: str, mode: str) -> np.ndarray:
    """What Gymnasium's own renderer shows through a camera of the model."""
    inner: Any = env.unwrapped
    height, width = SIZE
    inner.model.vis.global_.offheight, inner.model.vis.global_.offwidth = SIZE
    renderer = MujocoRenderer(
        inner.model, inner.data, width=width, height=height, camera_name=camera
    )
    picture = np.array(renderer.render(mode))
    renderer.close()
    return picture


def arm_task(*cameras: str, **changes: Any) -> Task:
    """The task of `Arm` with these cameras of its model."""
    gym.registry.pop("Arm-v0", None)
    gym.register("Arm-v0", entry_point=Arm, max_episode_steps=STEPS)
    chosen = tuple(ModelCamera(name) for name in cameras)
    camera = chosen[0] if len(chosen) == 1 else chosen or None
    return Task("Arm", "Arm-v0", camera, ((0, 4),), None, SIZE, custom=True, **changes)
