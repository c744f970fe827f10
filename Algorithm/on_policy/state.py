"""SB3's on-policy algorithm with a complete, restorable training state."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Self

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from Algorithm.acting import Actor
from Algorithm.env_state import capture_env, restore_env
from Algorithm.on_policy.rollout import StudentRolloutBuffer
from Common.errors import UserError
from Models.student.policy import load_trained_state, trained_state

_COUNTERS = (
    *("num_timesteps", "gradient_steps", "_n_updates", "_iteration"),
    "_current_progress_remaining",
)


class ResumableOnPolicy(OnPolicyAlgorithm):
    """Captures and restores the state of `OnPolicyStudent`, except random generators.

    `on_boundary` is called when `capture` may be called: before the first step of every rollout,
    after the callbacks' `on_rollout_start`.
    """

    on_boundary: Callable[[], None] | None = None
    stop_training = False  # set by a callback at a boundary, to end training there
    gradient_steps: int
    rollout_buffer: StudentRolloutBuffer
    _actor: Actor
    _iteration = 0  # rollouts of this `learn`
    _resumed: dict[str, Any] | None = None  # restored by `learn` after its own set-up

    @property
    def counters(self) -> dict[str, int]:
        """Numbers of env steps and gradient steps so far."""
        return {"env_steps": self.num_timesteps, "gradient_steps": self.gradient_steps}

    @property
    def work_done(self) -> int:
        """Env steps, by which checkpoints are numbered."""
        return self.num_timesteps

    @classmethod
    def load(
        cls,
        path: str | Path | BufferedIOBase,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Load a model from the zip file that `save` wrote. For the arguments see SB3.

        Raises:
            UserError: the path is a folder, such as a run's or a bundle.
        """
        if isinstance(path, str | Path) and Path(path).is_dir():
            raise UserError(
                f"{path} is a folder, but `{cls.__name__}.load` reads the zip file of `save`. The "
                "student of a run or a bundle acts by `Student.load(FOLDER)` of "
                "vision_distillation, and `distil(..., init_from=FOLDER)` trains it further."
            )
        return super().load(
            path, env, device, custom_objects, print_system_info, force_reset, **kwargs
        )

    def _excluded_save_params(self) -> list[str]:
        rebuilt = ["teacher", "_actor", "_critic_parameters", "_augmenter", "_guard", "_accuracy"]
        rebuilt += ["_graph", "on_boundary", "stop_training"]
        return [*super()._excluded_save_params(), *rebuilt]

    def capture(self) -> dict[str, Any]:
        """Return the complete state of the training, except random generators.

        Call it at `on_boundary` or after `learn`. Tensors and arrays are not copied: store them
        before training continues.

        Returns: a state that `Common.runs.packing.pack` accepts.
        """
        assert self.env is not None and self._last_episode_starts is not None
        return {
            "policy": trained_state(self.policy),
            "optimizer": self.policy.optimizer.state_dict(),
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "elapsed": time.time_ns() - int(self.start_time),
            "episodes": list(self.ep_info_buffer or ()),
            "successes": [float(success) for success in self.ep_success_buffer or ()],
            "rollout_buffer": self.rollout_buffer.capture(),
            "logged": _capture_logged(self.logger),
            "episode_starts": self._last_episode_starts,
            "actor": self._actor.capture(),
            "env": capture_env(self.env),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture` in a model with the same settings.

        Then call `learn` with the total steps of the whole training to continue. Environments that
        could not be saved are reset: seed them with the first seed of the training before this
        call, because `restore_env` counts episodes from there; seed other environments yourself.

        Raises:
            UserError: the state is of other environments.
            KeyError, RuntimeError, ValueError: the state is of another policy or version.
        """
        assert self.env is not None
        load_trained_state(self.policy, state["policy"])
        self.policy.optimizer.load_state_dict(state["optimizer"])
        for name in _COUNTERS:
            setattr(self, name, state["counters"][name])
        self.ep_info_buffer = deque(state["episodes"], maxlen=self._stats_window_size)
        self.ep_success_buffer = deque(state["successes"], maxlen=self._stats_window_size)
        self.rollout_buffer.restore(state["rollout_buffer"])
        # Version 0.1 did not count episodes; each has at least one step.
        at_most = self.num_timesteps // self.n_envs + 1
        obs, has_begun = restore_env(self.env, {"episodes_begun": at_most, **state["env"]})
        self._last_obs = obs  # pyright: ignore[reportAttributeAccessIssue]
        self._last_episode_starts = state["episode_starts"] | has_begun
        self._actor.restore(state.get("actor", {}))  # older states are not of recurrent students
        self._resumed = {name: state[name] for name in ("elapsed", "logged")}

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """As SB3, but never below 0: the last rollout may end beyond the budget.

        A schedule such as `lambda remaining: 1e-3 * remaining` would be below 0 there, and the last
        update would increase the loss.
        """
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._current_progress_remaining = max(self._current_progress_remaining, 0.0)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        resumed, self._resumed = self._resumed, None
        if resumed is None:
            self._iteration = 0
            return super()._setup_learn(
                total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
            )
        # SB3 adds the steps so far to the total, and keeps environments and episodes.
        left = total_timesteps - self.num_timesteps
        set_up = super()._setup_learn(left, callback, False, tb_log_name, progress_bar)
        self.start_time -= resumed["elapsed"]
        _restore_logged(self.logger, resumed["logged"])
        return set_up


def _capture_logged(logger: Logger) -> dict[str, Any]:
    """Return the recorded values that are not dumped yet."""
    values: dict[str, Any] = dict(logger.name_to_value)
    return {
        # As plain numbers, which give the same line in the log as those of NumPy and torch.
        "values": {key: v.item() if hasattr(v, "item") else v for key, v in values.items()},
        "counts": dict(logger.name_to_count),
        "excluded": dict(logger.name_to_excluded),
    }


def _restore_logged(logger: Logger, state: dict[str, Any]) -> None:
    for target, name in (
        (logger.name_to_value, "values"),
        (logger.name_to_count, "counts"),
        (logger.name_to_excluded, "excluded"),
    ):
        target.clear()
        target.update(state[name])
