"""Stable-Baselines3's `VecEnv` over parallel workers, with a known seed per episode."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from Common.errors import UserError
from Enviroment.drawing.still_pictures import StillPictures
from Enviroment.episode_env import DictObs, EpisodeVecEnv, Transition
from Enviroment.observations import (
    FRAME,
    PROPRIO,
    STATE,
    FrameStack,
)
from Enviroment.simulation.part import UNKNOWN, describe_environment
from Enviroment.simulation.state import EnvState, check_same, load_array, load_number, pack, unpack
from Enviroment.simulation.workers import Workers
from Enviroment.success import IS_SUCCESS
from Enviroment.task import Task

MAX_DIVERGENCES = 10  # per environment, over its lifetime
# Missing in states of version 0.1; they influence no episode.
_LATER_ARRAYS = ("episodes_begun", "shortened")


class SeededVecEnv(EpisodeVecEnv):
    """Gymnasium simulations, stepped by workers. Each reset receives its episode's seed.

    Gymnasium's own infos, the terms of the reward, are left out, except for success.

    If a simulation diverges (see `divergence`), its episode ends with that step and the next one
    begins. To a learner it looks as if the environment had stood still and been truncated: the
    terminal observation is the last valid one, the reward is the mean of the episode so far, and
    `TimeLimit.truncated` bootstraps from the value of that observation, so the target of the step
    is close to the critic's current value. `infos[i]["diverged"]` is true, and `episode` is
    missing, so that statistics, including SB3's, leave the episode out. `divergences` counts it.

    Args:
        task: the simulated task.
        workers: the workers that step it.
        space: observation space of one environment.
        action_space: action space of one environment.
        seed: s, seed of the first reset.
        stagger: truncate the first episodes, environment i after (i + 1) / n_envs of the time
            limit. If only the time limit ends episodes, all environments would otherwise always be
            at the same step, and a rollout would see one part of an episode. Shortened first
            episodes have no `episode` in their info.
        max_divergences: allowed divergences per environment; one more is a `UserError`.
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
        self._workers = workers  # before `super().__init__`, which queries their render mode
        self._exchange = workers.exchange
        self._worker_of = [w for w, rows in enumerate(workers.parts) for _ in rows]
        self._stagger = stagger
        self._shortened = np.zeros(len(self._exchange.seeds), bool)  # of the running episodes
        self._max_divergences = max_divergences
        super().__init__(task, space, action_space, self._exchange.seeds, seed)

    def step_async(self, actions: np.ndarray) -> None:
        actions = np.asarray(actions)
        if actions.shape != self._exchange.actions.shape:
            expected = self._exchange.actions.shape
            raise ValueError(f"Actions have shape {actions.shape}, expected {expected}.")
        if not np.isfinite(actions).all():  # MuJoCo would only warn and reset the simulation
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
        self._check_lengths()
        transition = self._finish_step(exchange.rewards, exchange.terminated, exchange.truncated)
        *_, dones, infos = transition
        for index in diverged:
            infos[index]["diverged"] = True
        # Averages of returns and successes must contain complete episodes only.
        for index in {*diverged, *np.flatnonzero(dones & self._shortened).tolist()}:
            del infos[index]["episode"]
            infos[index].pop(IS_SUCCESS, None)
        self._shortened &= ~dones
        return transition

    def save_state(self) -> EnvState:
        """Return the complete state of all environments. Call it between steps.

        Any kind and number of workers can continue from it. It includes Python attributes of the
        environments and their wrappers, and changes by `set_attr` or `env_method`. Frames are
        bit-identical if the same OpenGL renders them.

        Raises:
            NoStateError: these environments cannot be saved (see `take_snapshot`).
        """
        state = pack(self._ask_each(None, "snapshot"))
        state.arrays.update({name: array.copy() for name, array in self._saved_arrays().items()})
        state.values["made_with"] = self._made_with()
        state.values["seconds"] = time.time() - self._start_time
        return state

    def restore_state(self, state: EnvState) -> Any:
        """Restore a state of `save_state` in environments with the same settings.

        Returns:
            The last observation before `save_state`, as returned by `reset` or `step`.

        Raises:
            UserError: the state is of other environments, or damaged. The message lists the
                differences.
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
        """Free the workers and their OpenGL contexts. A second call does nothing."""
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
        """Return the settings that must match when a state is restored, as JSON."""
        made_with = {
            "environments": type(self).__name__,
            "n_envs": self.num_envs,
            "quality": self._exchange.layout.quality,
            "stagger": self._stagger,
            "task": self.task.as_json(),
        }
        return json.loads(json.dumps(made_with))  # tuples become lists

    def _saved_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of a state besides the simulations, without copies."""
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
        """Set the rewards of diverged steps, and count them.

        Raises:
            UserError: an environment has diverged more often than allowed.
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
                f"{describe_environment(self.task, worst)}: the simulation has diverged "
                f"{self.divergences[worst]} times, the last time in step "
                f"{self._lengths[worst] + 1} of the episode with seed "
                f"{self.running_seed(worst)}: its observation holds NaN or infinity, or MuJoCo "
                "found positions, velocities or accelerations that are not finite or too large. In "
                "MuJoCo, smaller actions or a shorter time step of the model may help. If such "
                "episodes are rare, give `make_env` a larger max_divergences."
            )

    def _check_lengths(self) -> None:
        """Raise UserError for an episode that neither a time limit nor the environment ends."""
        most, index = self._exchange.layout.max_steps, int(self._lengths.argmax())
        if most is not None and self._lengths[index] >= most:
            raise UserError(
                f"{describe_environment(self.task, index)} did not end an episode within {most:,} "
                "env steps. Give `max_episode_steps`."
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
        """Shorten the running episode to (index + 1) / n_envs of the time limit."""
        share = (self._first_row + index + 1) / self._total_rows
        limited = self._workers.ask(self._worker_of[index], "shorten_episode", index, share)
        self._shortened[index] = limited and share < 1

    def _take_step(self) -> None:
        """Handle a step of all workers."""

    def _success(self, index: int) -> bool | None:
        success = int(self._exchange.successes[index])
        return None if success == UNKNOWN else bool(success)

    def _begin_episode(self, index: int) -> None:
        """Do nothing: the worker has begun the episode in the step that ended the last one."""


class StateVecEnv(SeededVecEnv):
    """Environments whose observation is the simulator's state, float32 (n_envs, state_dim).

    If `space` is a dictionary, the state is its only group.
    """

    def _observation(self) -> Any:
        return self._grouped(self._exchange.states.copy())

    def _terminal_observation(self, index: int) -> Any:
        return self._grouped(self._exchange.last_states[index].copy())

    def _grouped(self, states: np.ndarray) -> np.ndarray | DictObs:
        return {STATE: states} if isinstance(self.observation_space, spaces.Dict) else states


class FrameVecEnv(SeededVecEnv):
    """Environments with the groups `frame`, `proprio` and `state` (see `observations`).

    `proprio` is missing if the task has no proprioception, `state` if it has no state.

    Args:
        blind: return zero frames, and render nothing.
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
        self.blind = blind
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
        """Return all groups that the task has."""
        groups = {FRAME: frames}
        if len(self._proprio):
            groups[PROPRIO] = states[..., self._proprio]
        if self.task.has_state:
            groups[STATE] = states
        return groups

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
