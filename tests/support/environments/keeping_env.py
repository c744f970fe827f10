"""A MuJoCo environment that keeps all kinds of things in Python, in itself and in a wrapper."""

from __future__ import annotations

import enum
import functools
import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces

XML = """<mujoco><worldbody><body name="puck"><joint type="slide" axis="1 0 0" damping="1"/>
<geom size=".1"/></body></worldbody><actuator><motor joint="" ctrlrange="-1 1"/></actuator></mujoco>
""".replace("<joint type", '<joint name="x" type').replace('joint=""', 'joint="x"')


class Phase(enum.Enum):
    REACH = 1
    PUSH = 2


@dataclass
class LowPass:
    """A helper with a state of its own."""

    value: float = 0.0
    history: list[float] = field(default_factory=list)

    def add(self, value: float) -> float:
        self.value = 0.9 * self.value + 0.1 * value
        self.history.append(self.value)
        return self.value


@dataclass(frozen=True)
class Goal:
    x: float


START = Goal(0.0)  # which all environments share


class Slotted:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


def summing() -> Callable[[float], float]:
    total = 0.0

    def add(value: float) -> float:
        nonlocal total
        total += value
        return total

    return add


class Keeping(gym.Env):
    """Each reward depends on all that is kept."""

    def __init__(self) -> None:
        self.model: Any = mujoco.MjModel.from_xml_string(XML)  # pyright: ignore[reportAttributeAccessIssue]
        self.data: Any = mujoco.MjData(self.model)  # pyright: ignore[reportAttributeAccessIssue]
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.position = self.data.qpos  # a view, which must stay one
        self.episodes = 0  # which no reset sets back
        self.log = {"rewards": [0.0]}
        self.rewards = self.log["rewards"]  # the same list

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)  # pyright: ignore[reportAttributeAccessIssue]
        self.model.body_mass[1] = 0.4 * self.np_random.uniform(1, 2)
        self.model.opt.gravity[0] = 0.0
        self.episodes += 1
        self.queue = deque([0.0] * 3, maxlen=3)
        self.filter, self.slotted, self.goal = LowPass(), Slotted(), START
        self.phase, self.act = Phase.REACH, self.reach
        self.table = np.zeros((2, 3))
        self.row = self.table[1, ::2]  # a view, too
        self.nested: Any = {"a": [(1, {2.0})], 3: {"b": np.float32(1)}, (0, 1): None}
        self.counts, self.many = Counter[str](), defaultdict[str, list[float]](list)
        self.order = OrderedDict(a=1.0, b=2.0)
        self.last, self.best = None, -np.inf
        self.own, self.python = np.random.default_rng(3), random.Random(4)
        self.legacy = np.random.RandomState(5)
        self.total = summing()
        self.twice = functools.partial(self.filter.add, 2.0)
        self.normal = self.own.normal
        return self._obs(), {}

    def _obs(self) -> np.ndarray:
        return np.r_[self.data.qpos, self.data.qvel]

    def reach(self) -> float:
        if len(self.filter.history) > 4:
            self.phase, self.act, self.goal = Phase.PUSH, self.push, Goal(0.3)
        return 0.1

    def push(self) -> float:
        return self.goal.x + self.phase.value

    def step(self, action: np.ndarray) -> Any:
        self.queue.append(float(action[0]))
        self.data.ctrl[:] = self.queue[0]
        self.model.opt.gravity[0] += 0.01
        self.model.body_mass[1] *= 1.01
        mujoco.mj_step(self.model, self.data, 5)  # pyright: ignore[reportAttributeAccessIssue]
        x = float(self.position[0])
        moved = 0.0 if self.last is None else x - self.last[0]
        self.last, self.best = np.array([x, moved]), max(self.best, x)
        self.row += x
        self.slotted.count += 1
        self.nested["a"][0][1].add(x)
        self.nested[3]["b"] += np.float32(x)
        self.counts["steps"] += 2
        self.many["x"].append(x)
        self.order.move_to_end("a")
        drawn = self.own.random() + self.python.random() + self.legacy.rand() + self.normal()
        kept = (self.filter.add(x), self.twice(), self.total(x), self.slotted.count, self.best)
        kept += (self.table.sum(), max(self.nested["a"][0][1]), float(self.nested[3]["b"]))
        kept += (self.counts["steps"], sum(self.many["x"]), float(next(iter(self.order)) == "a"))
        reward = moved + drawn + self.episodes + self.act() + sum(kept) + self.log["rewards"][-1]
        self.rewards.append(float(np.sin(reward)))
        return self._obs(), float(reward), False, False, {}


class Late(gym.Wrapper):
    """Gives each reward two steps later."""

    def reset(self, **kwargs: Any) -> Any:
        self.waiting = [0.0, 0.0]
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        obs, reward, *rest = self.env.step(action)
        self.waiting.append(float(reward))
        return obs, self.waiting.pop(0), *rest


class Painting(Keeping):
    """Holds what cannot be stored: a slice, or one of Python's generators."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        self.when = slice(0, 1)
        self.targets = None
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> Any:
        if action[0] > 0.9:
            self.when = slice(self.slotted.count, 2)
        if action[0] < -0.9:
            self.targets = (x for x in range(9))
        return super().step(action)


gym.register("TestKeeping-v0", lambda **_: Keeping(), max_episode_steps=30)
gym.register("TestPainting-v0", lambda **_: Painting(), max_episode_steps=30)
gym.register("TestLate-v0", lambda **_: Late(Keeping()), max_episode_steps=30)
