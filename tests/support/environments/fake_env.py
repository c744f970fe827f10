"""A VecEnv whose returns are arithmetic on seeds, independent of `Enviroment.make`.

The episode of seed s lasts `3 + s % 4` steps. Each step rewards the first action, the last step
s % 100 besides, so that doing a every step returns `a * (3 + s % 4) + s % 100`. The state is
(s, step).
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from Enviroment.tasks import Camera, Distance, Task

TASK = Task(
    name="Fake",
    env_id="Fake-v0",
    camera=Camera(1.0, (0.0, 0.0, 0.0), 0.0, 0.0),
    proprio=((1, 2),),
    distance=Distance("step_distance", (1, 2), None, success_below=4.0),  # = the last step
)


def length_of(seed: int) -> int:
    return 3 + seed % 4


def return_of(seed: int, action: float) -> float:
    return action * length_of(seed) + seed % 100


class FakeVecEnv(VecEnv):
    def __init__(self, n_envs: int, grouped: bool):
        box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        space = spaces.Dict({"state": box}) if grouped else box
        super().__init__(n_envs, space, spaces.Box(-2.0, 4.0, (2,), np.float32))
        self.grouped = grouped
        self.finished: list[int] = []  # seeds

    def reset(self):
        self.first = self._seeds[0] or 0
        self.episode = np.arange(self.num_envs)  # k * n_envs + i
        self.steps = np.zeros(self.num_envs, int)
        return self._obs()

    def _state(self):
        return np.stack([self.first + self.episode, self.steps], 1).astype(np.float32)

    def _obs(self):
        return {"state": self._state()} if self.grouped else self._state()

    def step_async(self, actions: np.ndarray):
        self.actions = actions

    def step_wait(self):
        self.steps += 1
        rewards = self.actions[:, 0].astype(np.float32)
        dones = np.zeros(self.num_envs, bool)
        infos: list[dict] = [{} for _ in range(self.num_envs)]
        terminal = self._state()
        for i in range(self.num_envs):
            seed = int(self.first + self.episode[i])
            if self.steps[i] == length_of(seed):
                rewards[i] += seed % 100
                dones[i] = True
                last = terminal[i]
                infos[i]["terminal_observation"] = {"state": last} if self.grouped else last
                infos[i]["episode"] = {"r": 0.0, "l": 0, "t": 0.0}
                self.finished.append(seed)
                self.episode[i] += self.num_envs
                self.steps[i] = 0
        return self._obs(), rewards, dones, infos

    def close(self):
        pass

    def get_attr(self, attr_name, indices=None):
        return [None for _ in self._get_indices(indices)]

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError

    def env_method(self, method_name, *method_args, indices=None, **method_kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False for _ in self._get_indices(indices)]
