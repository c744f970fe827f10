"""The worlds of a task as a `VecEnv`, whose observations stay on the device."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices
from torch import Tensor

from Common.device import upload
from Common.errors import UserError
from Enviroment.episode_env import EpisodeVecEnv, Transition
from Enviroment.observations import FRAME, PROPRIO, STATE, observation_space, state_space
from Enviroment.simulation.part import describe_environment
from Enviroment.simulation.state import EnvState, check_same, load_array, load_number
from Enviroment.task import Task
from Enviroment.vector import MAX_DIVERGENCES
from Enviroment.worlds.beginnings import Beginnings
from Enviroment.worlds.model import WorldModel
from Enviroment.worlds.rules import rules_of
from Enviroment.worlds.simulation import Simulation
from Enviroment.worlds.stack import DeviceFrameStack

_LARGEST = 1e10  # of positions and velocities, as MuJoCo's own mjMAXVAL


class WorldsVecEnv(EpisodeVecEnv):
    """Worlds of mujoco-warp, with the episodes, seeds and infos of `SeededVecEnv`.

    Observations, also those in `terminal_observation`, are dictionaries of torch tensors on the
    device. Rewards and ends are a few numbers per world, which one transfer per step brings to the
    processor as NumPy arrays.

    Args:
        task: the task.
        shared: its model.
        n_envs: number of worlds.
        seed: s, seed of the first reset.
        device: where everything is computed.
        sees: whether observations have frames; else the state alone.
        blind: return zero frames, and draw nothing.
        stagger, max_divergences: see `SeededVecEnv`.

    Raises:
        UserError: mujoco-warp is not installed, or the device has too little memory.
    """

    gives_tensors = True

    def __init__(
        self,
        task: Task,
        shared: WorldModel,
        n_envs: int,
        seed: int,
        device: torch.device,
        *,
        sees: bool = True,
        blind: bool = False,
        stagger: bool = False,
        max_divergences: int = MAX_DIVERGENCES,
    ) -> None:
        draws = sees and not blind
        self._rules, self._limit, self.device = rules_of(task), shared.time_limit, device
        self._simulation = Simulation(
            shared, n_envs, device, task.frame_size if draws else None, rgb=not task.grayscale
        )
        self._beginnings = Beginnings(task, shared, n_envs, device, draws=draws)
        self._stack = DeviceFrameStack(task, n_envs, device) if draws else None
        space = observation_space(task, shared.state_dim)
        if not sees:
            space = spaces.Dict({STATE: state_space(shared.state_dim)})
        self._sees = sees
        self._proprio = torch.as_tensor(task.proprio_indices, device=device)
        self._states = torch.zeros(n_envs, shared.state_dim, device=device)
        self._actions = torch.zeros(n_envs, *(shared.action_space.shape or ()), device=device)
        self._stagger, self._max_divergences = stagger, max_divergences
        self._elapsed = np.zeros(n_envs, np.int64)  # env steps, as the time limit counts them
        self._shortened = np.zeros(n_envs, bool)  # of the running episodes
        self._begun: dict[int, int] = {}  # seeds of episodes that begin now, by world
        self._ended: dict[int, int] = {}  # rows of `_terminal`, by world
        self._terminal: dict[str, Tensor] = {}
        super().__init__(task, space, shared.action_space, np.zeros(n_envs, np.int64), seed)

    def step(self, actions: np.ndarray | Tensor) -> Transition:
        """Step all worlds, as `EpisodeVecEnv.step`."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: np.ndarray | Tensor) -> None:
        if tuple(actions.shape) != tuple(self._actions.shape):
            raise ValueError(
                f"Actions have shape {tuple(actions.shape)}, expected {tuple(self._actions.shape)}."
            )
        self._actions = (
            actions.to(self.device, torch.float32)
            if isinstance(actions, Tensor)
            else upload(np.asarray(actions, np.float32), self.device)
        )

    def step_wait(self) -> Transition:
        simulation, rules, previous = self._simulation, self._rules, self._states
        before = simulation.moment.qpos.clone()
        simulation.step(self._actions)
        self._states = rules.state(simulation.moment)
        rewards, terminated, diverged = self._outcome(before)
        if self._stack is not None:
            self._stack.push(simulation.draw())
        self._elapsed += 1
        if diverged.any():
            self._drop(diverged, previous, rewards)
        terminated &= ~diverged
        truncated = (self._elapsed >= self._limit) | diverged
        self._keep_terminal(np.flatnonzero(terminated | truncated))
        transition = self._finish_step(rewards, terminated, truncated)
        *_, dones, infos = transition
        for world in np.flatnonzero(diverged).tolist():
            infos[world]["diverged"] = True
        # Averages of returns must contain complete episodes only.
        for world in np.flatnonzero(diverged | (dones & self._shortened)).tolist():
            del infos[world]["episode"]
        self._shortened &= ~dones
        self._beginnings.make_ahead(self._episode_seeds)
        return transition

    def _outcome(self, before: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rewards, ends by the task's rules, and divergences of a step, each (n_envs,)."""
        moment, rules = self._simulation.moment, self._rules
        coordinates = torch.cat([moment.qpos, moment.qvel], 1)
        sound = (coordinates.abs() < _LARGEST).all(1)  # False for what is not finite
        none = torch.zeros_like(sound)
        parts = [
            rules.reward(moment, self._actions, before),
            none if rules.terminated is None else rules.terminated(moment),
            ~sound,
            ~self._actions.isfinite().all(1),
        ]
        # One transfer, which is also where the processor waits for the step.
        outcome = torch.stack([part.double() for part in parts]).cpu().numpy()
        rewards, terminated, diverged, bad = outcome
        if bad.any():
            worlds = np.flatnonzero(bad).tolist()
            raise ValueError(f"The actions of environments {worlds} are not finite.")
        return rewards, terminated.astype(bool), diverged.astype(bool)

    def _drop(self, diverged: np.ndarray, previous: Tensor, rewards: np.ndarray) -> None:
        """Let diverged worlds look as if they had stood still (see `SeededVecEnv`)."""
        worlds = np.flatnonzero(diverged)
        self.divergences[worlds] += 1
        rewards[worlds] = self._returns[worlds] / np.maximum(self._lengths[worlds], 1)
        index = torch.as_tensor(worlds, device=self.device)
        self._states[index] = previous[index]
        if self._stack is not None:
            self._stack.repeat_last(index)
        worst = int(worlds[self.divergences[worlds].argmax()])
        if self.divergences[worst] > self._max_divergences:
            raise UserError(
                f"{describe_environment(self.task, worst)}: the simulation has diverged "
                f"{self.divergences[worst]} times, the last time in step {self._lengths[worst] + 1}"
                f" of the episode with seed {self.running_seed(worst)}: positions or velocities "
                "are not finite or too large. Smaller actions may help, or a larger "
                "max_divergences."
            )

    # -- episodes ---------------------------------------------------------------------------------

    def _begin_all(self) -> None:
        for world in range(self.num_envs):
            self._begin_episode(world)
        self._shortened[:] = False
        if self._stagger:
            shares = (self._first_row + np.arange(self.num_envs) + 1) / self._total_rows
            lengths = np.maximum(1, [round(share * self._limit) for share in shares])
            self._elapsed[:] = self._limit - lengths
            self._shortened[:] = shares < 1

    def _begin_episode(self, index: int) -> None:
        # Worlds begin together, when all that begin in this step are known.
        self._begun[index] = int(self._episode_seeds[index])
        self._elapsed[index] = 0

    def _begin_worlds(self) -> None:
        """Write the first states of the episodes that begin."""
        if not self._begun:
            return
        worlds = list(self._begun)
        first = self._beginnings.take(worlds, list(self._begun.values()))
        self._begun = {}
        index = torch.as_tensor(worlds, device=self.device)
        self._simulation.write(index, first.states)
        self._states[index] = self._rules.state(self._simulation.moment)[index]
        if self._stack is not None and first.frames is not None:
            self._stack.restart(index, first.frames)

    # -- observations -----------------------------------------------------------------------------

    def _keep_terminal(self, worlds: np.ndarray) -> None:
        """Keep the last observations of the episodes of some worlds, (k,)."""
        self._ended = {world: row for row, world in enumerate(worlds.tolist())}
        if len(worlds):
            self._terminal = self._groups(torch.as_tensor(worlds, device=self.device))

    def _terminal_observation(self, index: int) -> Any:
        row = self._ended[index]
        return {name: values[row] for name, values in self._terminal.items()}

    def _observation(self) -> Any:
        self._begin_worlds()
        return self._groups(None)

    def _groups(self, worlds: Tensor | None) -> dict[str, Tensor]:
        """Return the groups of some worlds (k,), or of all, as new tensors."""
        states = self._states.clone() if worlds is None else self._states[worlds]
        if not self._sees:
            return {STATE: states}
        if self._stack is None:
            shape = self.observation_space[FRAME].shape  # pyright: ignore[reportIndexIssue]
            frames = torch.zeros(len(states), *shape, dtype=torch.uint8, device=self.device)
        else:
            frames = self._stack.stacks(worlds)
        groups = {FRAME: frames, STATE: states}
        if len(self._proprio):
            groups[PROPRIO] = states[:, self._proprio]
        return groups

    # -- saving -----------------------------------------------------------------------------------

    def save_state(self) -> EnvState:
        """Return the complete state of all worlds. Call it between steps."""
        arrays = {name: array.copy() for name, array in self._counters().items()}
        tensors = {f"world_{name}": array for name, array in self._simulation.arrays.items()}
        tensors["states"] = self._states
        if self._stack is not None:
            tensors["history"] = self._stack.aligned()
        arrays |= {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}
        seconds = time.time() - self._start_time
        return EnvState(arrays, {"made_with": self._made_with(), "seconds": seconds})

    def restore_state(self, state: EnvState) -> Any:
        """Restore a state of `save_state`; return the observation that a policy acts on next.

        Raises:
            UserError: the state is of other environments, or damaged.
        """
        check_same(state, self._made_with())
        seconds = load_number(state, "seconds")
        for name, array in self._counters().items():
            load_array(state, name, array)
        for name, tensor in self._simulation.arrays.items():
            tensor.copy_(self._loaded(state, f"world_{name}", tensor))
        self._states = self._loaded(state, "states", self._states)
        if self._stack is not None:
            self._stack.restore(self._loaded(state, "history", self._stack.aligned()))
        self._start_time = time.time() - seconds
        self._reset_seeds()
        self._begun = {}
        return self._observation()

    def _loaded(self, state: EnvState, name: str, like: Tensor) -> Tensor:
        array = np.empty(like.shape, like.cpu().numpy().dtype)
        load_array(state, name, array)
        return upload(array, self.device)

    def _counters(self) -> dict[str, np.ndarray]:
        """Return the arrays of episodes, without copies."""
        return {
            "seeds": self._episode_seeds,
            "returns": self._returns,
            "lengths": self._lengths,
            "elapsed": self._elapsed,
            "divergences": self.divergences,
            "episodes_begun": self.episodes_begun,
            "shortened": self._shortened,
        }

    def _made_with(self) -> dict[str, Any]:
        """Return the settings that must match when a state is restored, as JSON."""
        made_with = {
            "environments": "worlds of mujoco-warp",
            "n_envs": self.num_envs,
            "sees": self._sees,
            "draws": self._stack is not None,
            "stagger": self._stagger,
            "task": self.task.as_json(),
        }
        return json.loads(json.dumps(made_with))  # tuples become lists

    # -- the rest of SB3's interface --------------------------------------------------------------

    def close(self) -> None:
        """Close the environment that draws initial states."""
        self._beginnings.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return None for `render_mode`, which SB3 queries; worlds have no other attributes."""
        if attr_name == "render_mode":
            return [None for _ in self._get_indices(indices)]
        raise AttributeError(f"Worlds of mujoco-warp have no attribute {attr_name!r}.")

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"Worlds of mujoco-warp have no attribute {attr_name!r} to set.")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        raise AttributeError(f"Worlds of mujoco-warp have no method {method_name!r}.")


class NumpyWorlds(WorldsVecEnv):
    """The same worlds with observations as NumPy arrays, for algorithms that expect those."""

    gives_tensors = False

    def _groups(self, worlds: Tensor | None) -> Any:
        return {name: values.cpu().numpy() for name, values in super()._groups(worlds).items()}
