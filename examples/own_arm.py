"""Distil an agent of a robot arm of your own into a student with cameras above and on the wrist."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from stable_baselines3 import PPO

from vision_distillation import distil


class Arm(MujocoEnv):
    """The hand has to reach the block. State: joints 0:2, the block 2:4, their speeds 4:8."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 20}

    def reset_model(self) -> np.ndarray:
        self.set_state(self.np_random.uniform(-0.3, 0.3, 4), np.zeros(4))
        return self.state_vector()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.do_simulation(action, self.frame_skip)
        away = (self.data.site("hand").xpos - self.data.body("block").xpos)[:2]
        return self.state_vector(), -float(np.linalg.norm(away)), False, False, {}


def main(agent_steps: int = 200_000, **settings: Any) -> None:
    """Train an agent on the state, and distil its file. A package of yours would register Arm."""
    model = __file__.replace(".py", ".xml")
    space = gym.spaces.Box(-np.inf, np.inf, (8,), np.float64)
    made = {"model_path": model, "frame_skip": 25, "observation_space": space}
    gym.register("Arm-v0", "own_arm:Arm", max_episode_steps=100, kwargs=made)
    PPO("MlpPolicy", "Arm-v0", device="cpu").learn(agent_steps).save("arm.zip")
    cameras = {"env_id": "Arm-v0", "camera": "top,wrist", "proprio": "0:2,4:6", "output": "my_arm"}
    print(distil(teacher="arm.zip", mode="ImpaalaSmall", **cameras, **settings).folder)


if __name__ == "__main__":
    main()
