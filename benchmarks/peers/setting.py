"""What all peers share: task, teacher, environments, budget, clock and evaluation."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from benchmarks.time_to_skill.machine import describe_machine
from Enviroment import seeds
from Enviroment.make import make_env
from Enviroment.observations import FRAME, PROPRIO, STATE
from Enviroment.tasks import get_task
from Evaluation.evaluate.episodes import Obs, policy_act
from Evaluation.evaluate.figures import evaluate_student
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

TASK = get_task("Pusher")
ENV_STEPS = 34_560  # the budget of the main job
N_ENVS = 18
ROLLOUT = 128  # env steps per environment: the budget is 15 rollouts
EPISODES = 50  # of the evaluation, on unseen seeds
MIN_STD = 0.2  # floor of the teacher's standard deviations in PPD, as in the main job
SEEN = (FRAME, PROPRIO)  # observation groups of a student of pixels


@dataclass(frozen=True)
class Budget:
    """Arguments of every peer's script and of the comparison."""

    output: Path = Path("Results/Pusher/peers")  # folder of the rows, one JSON file each
    env_steps: int = ENV_STEPS
    episodes: int = EPISODES
    threads: int = 1  # of torch and of the environments
    dataset: Path = Path("Results/Pusher/Dataset/peers")  # of the teacher, for cloning


@dataclass(frozen=True)
class Arguments(Budget):
    """Arguments of a peer's script, which is one run."""

    run_index: int = 0


@dataclass(frozen=True)
class Row:
    """A line of the comparison. Figures are None where a peer cannot do it: `note` says why."""

    peer: str  # library and version
    method: str
    sees: str = "frames, joints"
    env_steps: int | None = None
    gradient_steps: int | None = None
    minutes: float | None = None  # wall clock of training, without evaluation
    cpu_minutes: float | None = None  # processor time of training: user and system, all threads
    figures: Mapping[str, float] | None = None  # of `evaluate_student`
    note: str = ""

    def write(self, folder: Path, name: str) -> None:
        """Write the row to `<name>.json` in a folder, with the machine that it was measured on."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.json"
        row = {**dataclasses.asdict(self), "machine": describe_machine(torch.get_num_threads())}
        path.write_text(json.dumps(row, indent=2) + "\n")
        print(f"{self.peer}, {self.method}: {self.note or self.figures}\nWritten to {path}")


class Clock:
    """Measures wall clock and processor time since it was made, without pauses.

    The processor time is what counts on a machine with other load.
    """

    def __init__(self) -> None:
        self._wall = self._cpu = 0.0
        self.resume()

    def resume(self) -> None:
        """Go on after a pause."""
        self._started = time.perf_counter(), time.process_time()

    def pause(self) -> tuple[float, float]:
        """Stop, and return the minutes of wall clock and of processor time so far."""
        wall, cpu = self._started
        self._wall += time.perf_counter() - wall
        self._cpu += time.process_time() - cpu
        return self._wall / 60, self._cpu / 60


class Groups(VecEnvWrapper):
    """The environments with some of their observation groups; `states` keeps the state.

    Args:
        names: the groups to keep. A single one is returned as an array, not as a dictionary.
    """

    def __init__(self, env: VecEnv, names: tuple[str, ...]) -> None:
        assert isinstance(env.observation_space, spaces.Dict)
        groups = {name: env.observation_space[name] for name in names}
        self._names = names
        self._is_single = len(names) == 1
        space = groups[names[0]] if self._is_single else spaces.Dict(groups)
        super().__init__(env, observation_space=space)
        self.states = np.zeros(0, np.float32)  # (n_envs, state_dim), of the latest observation

    def reset(self) -> Any:
        return self._kept(self._remembered(self.venv.reset()))

    def step_wait(self) -> Any:
        obs, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self._kept(info["terminal_observation"])
        return self._kept(self._remembered(obs)), rewards, dones, infos

    def _remembered(self, obs: Any) -> Any:
        self.states = obs[STATE]
        return obs

    def _kept(self, obs: Mapping[str, np.ndarray]) -> Any:
        return obs[self._names[0]] if self._is_single else {name: obs[name] for name in self._names}


def begin(description: str | None) -> Arguments:
    """Read the arguments of a script, and limit torch to their threads."""
    arguments = tyro.cli(Arguments, description=description)
    torch.set_num_threads(arguments.threads)
    return arguments


def teacher() -> Teacher:
    """Return the shipped teacher, which also taught this project's students."""
    return Teacher.load(default_teacher(TASK.name), min_std=MIN_STD)


def training_env(arguments: Arguments, names: tuple[str, ...]) -> Groups:
    """Return the training environments of the main job, with these observation groups."""
    seed = seeds.training(arguments.run_index).start
    inner = make_env(TASK, N_ENVS, seed, stagger=True, n_workers=arguments.threads)
    return Groups(inner, names)


def seed_of(arguments: Arguments) -> int:
    """Return the seed of networks and sampling."""
    return seeds.model(arguments.run_index)


def evaluate(policy: Any, names: tuple[str, ...], arguments: Arguments) -> dict[str, float]:
    """Play whole episodes on unseen seeds with the modes of a policy.

    Args:
        policy: an SB3 algorithm or policy.
        names: the groups that it observes.
    """
    act = policy_act(policy)
    env = make_env(TASK, 10, 0, n_workers=arguments.threads)
    try:
        return evaluate_student(
            lambda obs: act(_chosen(obs, names)),
            env,
            TASK,
            teacher().description.baselines,
            arguments.episodes,
        )
    finally:
        env.close()


def _chosen(obs: Obs, names: tuple[str, ...]) -> Obs:
    assert isinstance(obs, dict)
    return obs[names[0]] if len(names) == 1 else {name: obs[name] for name in names}


def versioned(package: str, title: str = "") -> str:
    """Return the name and version of an installed package, e.g. "imitation 1.0.1"."""
    return f"{title or package} {metadata.version(package)}"


class LiveTeacher(BasePolicy):
    """The teacher as an SB3 policy over a student's observations, for `imitation`'s DAgger.

    It reads the state from the environments, in whose latest observation it is asked to act.
    """

    def __init__(self, env: Groups, states: Callable[[], np.ndarray]) -> None:
        super().__init__(env.observation_space, env.action_space)
        self._teacher, self._states = teacher(), states

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        actions, _ = self._teacher.predict(self._states(), deterministic=deterministic)
        return torch.as_tensor(actions)
