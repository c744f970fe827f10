"""Stable-Baselines3's `VecEnv` over parallel workers, with every episode's seed known."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from Common.errors import UserError
from Enviroment import seeds
from Enviroment.drawing.still_pictures import StillPictures
from Enviroment.episode_env import DictObs, EpisodeVecEnv, Transition
from Enviroment.observations import (
    FRAME,
    PROPRIO,
    STATE,
    FrameStack,
)
from Enviroment.simulation.part import describe_environment
from Enviroment.simulation.state import EnvState, check_same, load_array, load_number, pack, unpack
from Enviroment.simulation.workers import Workers
from Enviroment.task import Task

MAX_DIVERGENCES = 10  # of one environment, over its whole life
# That states saved by version 0.1 lack; what they would hold decides no episode.
_LATER_ARRAYS = ("episodes_begun", "shortened")


class SeededVecEnv(EpisodeVecEnv):
    """Simulations of Gymnasium's, stepped by workers. Each episode's seed is given to its reset.

    Gymnasium's own infos, the terms of the reward, are left out.

    Where a simulation diverges (see `divergence`), its episode ends with the step and the next
    one begins. To a learner it looks as if the environment had stood still and been cut off: the
    terminal observation is the last good one, the reward is the episode's mean so far, and
    `TimeLimit.truncated` asks for the value of that observation, so the target of the step is
    nearly what the critic holds already. `infos[i]["diverged"]` is true, and there is no
    `episode`, so that statistics, SB3's among them, leave it out. `divergences` counts.

    Args:
        task: what is simulated.
        workers: who steps it.
        space: of one environment's observation.
        action_space: of one environment.
        seed: s, of the first reset.
        stagger: cut the first episodes short, environment i after (i + 1) / n_envs of the time
            limit. Where episodes end by the time limit alone, environments would otherwise be at
            the same step of theirs forever, and a rollout see one part of an episode. There is no
            `episode` in the info of a first episode that had less than the time limit.
        max_divergences: of one environment; one more is a `UserError`.
    """

    def __init__(
        self,
        task: Task,
        workers: Workers,
        space: spaces.Space,
        action_space: spaces.Space,
        seed: int,
        stagger: bool = False,
        max_divergences: int = MAX_DIVERGENCES,
    ) -> None:
        self._workers = workers  # before `super().__init__`, which asks them for their render mode
        self._exchange = workers.exchange
        self._worker_of = [w for w, rows in enumerate(workers.parts) for _ in rows]
        self._stagger = stagger
        self._shortened = np.zeros(len(self._exchange.seeds), bool)  # their running episodes
        self._max_divergences = max_divergences
        super().__init__(task, space, action_space, self._exchange.seeds, seed)

    def step_async(self, actions: np.ndarray) -> None:
        actions = np.asarray(actions)
        if actions.shape != self._exchange.actions.shape:
            expected = self._exchange.actions.shape
            raise ValueError(f"Actions have shape {actions.shape}, expected {expected}.")
        if not np.isfinite(actions).all():  # MuJoCo would only warn, and restart the simulation
            bad = np.flatnonzero(~np.isfinite(actions).reshape(self.num_envs, -1).all(axis=1))
            raise ValueError(f"The actions of environments {bad.tolist()} are not finite.")
        self._exchange.actions[:] = actions
        self._workers.start("step")

    def step_wait(self) -> Transition:
        self._workers.wait()
        exchange = self._exchange
        diverged = np.flatnonzero(exchange.diverged).tolist()
        if diverged:
            self._count_divergences(diverged)
        self._take_step()
        transition = self._finish_step(exchange.rewards, exchange.terminated, exchange.truncated)
        *_, dones, infos = transition
        for index in diverged:
            infos[index]["diverged"] = True
        # Whoever averages returns is to see whole episodes alone.
        for index in {*diverged, *np.flatnonzero(dones & self._shortened).tolist()}:
            del infos[index]["episode"]
        self._shortened &= ~dones
        return transition

    def save_state(self) -> EnvState:
        """Everything that decides what comes next. Call it between steps.

        Any kind and number of workers can go on from it. It holds what the environments and their
        wrappers keep in Python too, also what `set_attr` or `env_method` changed. Frames are
        bit-identical where the same OpenGL draws them.

        Raises:
            NoStateError: these environments cannot be saved (see `take_snapshot`).
        """
        state = pack(self._ask_each(None, "snapshot"))
        state.arrays.update({name: array.copy() for name, array in self._saved_arrays().items()})
        state.values["made_with"] = self._made_with()
        state.values["seconds"] = time.time() - self._start_time
        return state

    def restore_state(self, state: EnvState) -> Any:
        """Go on from where `save_state` was called, in environments that were made alike.

        Returns:
            The observation that was shown last: what `reset` would have returned, or `step`.

        Raises:
            UserError: the state is of other environments, or damaged; lists what differs.
            NoStateError: these environments cannot be restored (see `restore_snapshot`). `reset`
                then begins the episodes that would have come next.
        """
        check_same(state, self._made_with())
        snapshots, seconds = unpack(state, self.num_envs), load_number(state, "seconds")
        for name, array in self._saved_arrays().items():
            if name in _LATER_ARRAYS and name not in state.arrays:
                array[:] = 0
            else:
                load_array(state, name, array)
        for index, snapshot in enumerate(snapshots):
            self._workers.ask(self._worker_of[index], "restore", index, snapshot)
        self._start_time = time.time() - seconds
        self._reset_seeds()
        return self._observation()

    def close(self) -> None:
        """Free the workers and their OpenGL contexts. Closing twice is harmless."""
        self._workers.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return self._ask_each(indices, "get", attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        self._ask_each(indices, "set", attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        return self._ask_each(indices, "invoke", method_name, method_args, method_kwargs)

    def _ask_each(self, indices: VecEnvIndices, method: str, *args: Any) -> list[Any]:
        return [
            self._workers.ask(self._worker_of[index], method, index, *args)
            for index in self._get_indices(indices)
        ]

    def _made_with(self) -> dict[str, Any]:
        """What must be the same where a state is restored. JSON."""
        made_with = {
            "environments": type(self).__name__,
            "n_envs": self.num_envs,
            "quality": self._exchange.layout.quality,
            "stagger": self._stagger,
            "task": dataclasses.asdict(self.task),
        }
        return json.loads(json.dumps(made_with))  # tuples become lists

    def _saved_arrays(self) -> dict[str, np.ndarray]:
        """The arrays, themselves, that a state holds besides the simulations."""
        return {
            "seeds": self._episode_seeds,
            "states": self._exchange.states,
            "returns": self._returns,
            "lengths": self._lengths,
            "divergences": self.divergences,
            "episodes_begun": self.episodes_begun,
            "shortened": self._shortened,
        }

    def _count_divergences(self, diverged: list[int]) -> None:
        """Give the lost steps a reward, and stop the run where there are too many.

        Raises:
            UserError: there are.
        """
        exchange = self._exchange
        exchange.diverged[:] = False
        self.divergences[diverged] += 1
        exchange.rewards[diverged] = self._returns[diverged] / np.maximum(
            self._lengths[diverged], 1
        )
        worst = max(diverged, key=lambda index: self.divergences[index])
        if self.divergences[worst] > self._max_divergences:
            raise UserError(
                f"{describe_environment(self.task, worst)}: its simulation has diverged "
                f"{self.divergences[worst]} times, the last time in step "
                f"{self._lengths[worst] + 1} of the episode with seed "
                f"{seeds.further(int(exchange.seeds[worst]), -self._total_rows)}. MuJoCo met "
                "positions, velocities or accelerations that are not finite or too large. Smaller "
                "actions or a shorter time step of the model may help; so may a larger "
                "max_divergences, where such episodes are few."
            )

    def _begin_all(self) -> None:
        self._workers.start("reset")
        self._workers.wait()
        self._shortened[:] = False
        for index in range(self.num_envs):
            self._begin_episode(index)
            if self._stagger:
                self._shorten_episode(index)

    def _shorten_episode(self, index: int) -> None:
        """Let only (index + 1) / n_envs of the time limit remain."""
        share = (self._first_row + index + 1) / self._total_rows
        self._shortened[index] = share < 1
        self._workers.ask(self._worker_of[index], "shorten_episode", index, share)

    def _take_step(self) -> None:
        """The workers have made a step everywhere."""

    def _begin_episode(self, index: int) -> None:
        """The worker has begun it already, in the step that ended the last one."""


class StateVecEnv(SeededVecEnv):
    """Observations are the simulator's state, float32 (n_envs, state_dim): alone, or where `space`
    is a dictionary as its only group.
    """

    def _observation(self) -> Any:
        return self._grouped(self._exchange.states.copy())

    def _terminal_observation(self, index: int) -> Any:
        return self._grouped(self._exchange.last_states[index].copy())

    def _grouped(self, states: np.ndarray) -> np.ndarray | DictObs:
        return {STATE: states} if isinstance(self.observation_space, spaces.Dict) else states


class FrameVecEnv(SeededVecEnv):
    """Observations are the groups `frame`, `proprio` and `state` (see `observations`), without
    `proprio` where the task has none.

    Args:
        blind: frames are zero, and nothing is drawn.
    """

    def __init__(
        self,
        task: Task,
        workers: Workers,
        space: spaces.Dict,
        action_space: spaces.Space,
        seed: int,
        stagger: bool = False,
        max_divergences: int = MAX_DIVERGENCES,
        blind: bool = False,
    ) -> None:
        self._frame_shape = space[FRAME].shape or ()
        self._proprio = task.proprio_indices
        super().__init__(task, workers, space, action_space, seed, stagger, max_divergences)
        self._stack = None if blind else FrameStack(task, self.num_envs)
        self._still = StillPictures(task)

    def _observation(self) -> DictObs:
        states = self._exchange.states.copy()
        if self._stack is None:
            frames = np.zeros((self.num_envs, *self._frame_shape), np.uint8)
        else:
            frames = self._stack.stacks()
        return self._groups(frames, states)

    def _terminal_observation(self, index: int) -> DictObs:
        state = self._exchange.last_states[index].copy()
        if self._stack is None:
            frame = np.zeros(self._frame_shape, np.uint8)
        else:
            frame = self._stack.stack(index)
        return self._groups(frame, state)

    def _groups(self, frames: np.ndarray, states: np.ndarray) -> DictObs:
        """All groups; `proprio` is none where the task has no proprioception."""
        joints = {PROPRIO: states[..., self._proprio]} if len(self._proprio) else {}
        return {FRAME: frames, **joints, STATE: states}

    def _take_step(self) -> None:
        if self._stack is not None:
            self._stack.push(self._exchange.frames)
            ended = self._exchange.terminated | self._exchange.truncated
            for index in np.flatnonzero(ended).tolist():
                self._stack.replace_newest(index, self._exchange.last_frames[index])

    def _begin_episode(self, index: int) -> None:
        if self._stack is not None:
            self._stack.restart(index, self._exchange.frames[index])
            self._still.begins(self._exchange.states[index], self._exchange.frames[index])

    def _saved_arrays(self) -> dict[str, np.ndarray]:
        arrays = super()._saved_arrays()
        if self._stack is not None:
            arrays |= {"frames": self._exchange.frames, "history": self._stack.aligned()}
        return arrays
