"""An environment that fails in the way its action asks for. Import it by its module-prefixed id."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import sys
import threading
from dataclasses import replace

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from Enviroment.tasks import TASKS, Task

GO_ON, RAISE, BLOCK, EXIT, KILL, STOP = range(6)

FAULTY = Task(
    "Faulty", f"{__name__}:TestFaulty-v0", TASKS["Pusher"].camera, proprio=((0, 1),), distance=None
)
STILLBORN = replace(FAULTY, name="Stillborn", env_id=f"{__name__}:TestStillborn-v0")

# Where the workers are threads, a test ends a blocked one with this.
released = threading.Event()


class FaultyEnv(gym.Env):
    """Its only action says what happens."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.action_space = spaces.Box(0, STOP, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        what = int(action[0])
        if what == RAISE:
            raise ZeroDivisionError("on purpose")
        if what == BLOCK:
            released.wait()
        if what == EXIT:
            sys.exit(7)
        if what == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        return np.zeros(1), 0.0, False, False, {}

    def get_unpicklable(self):
        return lambda: None


gym.register("TestFaulty-v0", lambda **_: FaultyEnv(), max_episode_steps=100)


def _stillborn(**_):
    """Ends every worker process that makes one."""
    if mp.parent_process() is not None:
        os._exit(3)
    return FaultyEnv()


gym.register("TestStillborn-v0", _stillborn, max_episode_steps=100)
