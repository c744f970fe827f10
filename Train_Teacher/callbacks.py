"""Evaluate on validation seeds and write checkpoints during training."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from Common.commands.signals import StopSignals
from Common.runs.tracking import RunTracker
from Enviroment import seeds
from Enviroment.episode_env import EpisodeVecEnv
from Enviroment.tasks import Task
from Evaluation.evaluate.callbacks import evaluation_line
from Evaluation.evaluate.episodes import Act, run_episodes
from Evaluation.evaluate.progress_bar import EvaluationTimes, ProgressBar, print_beside_bar
from Train_Teacher.checkpoint import Progress, find_best, save_best, save_checkpoint


class EvaluateAndCheckpoint(BaseCallback):
    """Evaluate the agent, log `eval/*` metrics and write a checkpoint every `every` env steps.

    The callback acts between a gradient step and the next rollout, where the agent's state is
    complete: no rollout is in progress, and weights and normaliser are those of the next rollout.
    If a signal has requested a stop, it ends the training there, after a checkpoint.

    In addition to the agent's metrics, it logs `time/env_steps`, `time/gradient_steps`,
    `time/episodes` (finished episodes) and `time/training_seconds` (without evaluations and
    checkpoints). Each evaluation is printed in one line.

    Args:
        env: evaluation environments, not normalised.
        folder: folder of the checkpoints.
        every: interval in env steps.
        episodes: number of validation episodes; their seeds are the same in each evaluation.
        start: counters of the checkpoint to resume from.
        tracker: logger of the agent.
        signals: held during training.
    """

    def __init__(
        self,
        task: Task,
        env: VecEnv,
        folder: Path,
        every: int,
        episodes: int,
        start: Progress,
        tracker: RunTracker,
        signals: StopSignals,
    ) -> None:
        super().__init__()
        self.times = EvaluationTimes(every)
        self._tracker, self._signals = tracker, signals
        self._task, self._env, self._folder = task, env, folder
        self._every, self._episodes = every, episodes
        best = find_best(folder)
        self._best = None if best is None else best.mean_return
        self._evaluation = start.evaluation
        self._first_episode = start.episodes
        self._finished = start.finished_episodes
        self._seconds = start.training_seconds
        self._resumed_at = 0.0  # clock time when training last continued
        self._saved_at = start.steps if start.evaluation else None

    def _on_training_start(self) -> None:
        self._resumed_at = time.perf_counter()

    def _on_step(self) -> bool:
        self._finished += int(self.locals["dones"].sum())
        self._log_counters()  # here, because SAC logs between two steps of a rollout
        return True

    def _on_rollout_end(self) -> None:
        self._log_counters()
        self.logger.record("time/episodes", self._finished)
        self.logger.record("time/training_seconds", self._training_seconds())

    def _on_rollout_start(self) -> None:
        self._seconds = self._training_seconds()
        self._evaluate_or_stop()
        self._resumed_at = time.perf_counter()

    def _evaluate_or_stop(self) -> None:
        due = self._saved_at is None or (
            self.num_timesteps // self._every > self._saved_at // self._every
        )
        if due:
            self._evaluate_and_save()
        elif self._signals.requested is not None and self._saved_at != self.num_timesteps:
            if self.logger.name_to_value:  # metrics of the last update
                self.logger.dump(self.num_timesteps)
            self._save()
        self._signals.stop_if_requested()

    def _on_training_end(self) -> None:
        self._seconds = self._training_seconds()
        if self._saved_at != self.num_timesteps:
            self._evaluate_and_save()

    def _training_seconds(self) -> float:
        return self._seconds + time.perf_counter() - self._resumed_at

    def _log_counters(self) -> None:
        self.logger.record("time/env_steps", self.num_timesteps)
        self.logger.record("time/gradient_steps", gradient_steps(self.model))

    def _evaluate_and_save(self) -> None:
        started = time.perf_counter()
        stats = run_episodes(
            normalised_act(self.model, deterministic=self._task.judged_by_mode),
            self._env,
            self._task,
            seeds.VALIDATION.start,
            self._episodes,
        )
        self._evaluation = stats.summary("eval/")
        for key, value in self._evaluation.items():
            self.logger.record(key, value)
        self._log_counters()
        self.logger.dump(self.num_timesteps)

        mean_return = float(stats.returns.mean())
        is_best = self._best is None or mean_return > self._best
        if is_best:
            # Before the checkpoint, because a resumed run does not repeat this evaluation.
            save_best(self._folder, self._task.name, self.model, mean_return)
            self._best = mean_return
        line = evaluation_line(self.num_timesteps, self._evaluation, "eval/", is_best=is_best)
        print_beside_bar(line)
        self._save()
        self.times.add(time.perf_counter() - started)

    def _training_episodes(self) -> np.ndarray:
        """Return the episodes that each environment has begun in this process, `(n_envs,)`."""
        env = self.training_env.unwrapped
        assert isinstance(env, EpisodeVecEnv)  # `make_teacher_env` creates no other
        return env.episodes_begun

    def _save(self) -> None:
        progress = Progress(
            steps=self.num_timesteps,
            updates=self.model._n_updates,
            episodes=self._first_episode + int(self._training_episodes().max()),
            evaluation=self._evaluation,
            record=self._tracker.position(),
            finished_episodes=self._finished,
            training_seconds=self._seconds,
        )
        save_checkpoint(self._folder, self.model, progress)
        self._saved_at = self.num_timesteps


class TeacherProgressBar(ProgressBar):
    """Progress bar with SB3's names of the training return and of PPO's KL."""

    _SHOWN = (
        *(("return", "rollout/ep_rew_mean"), ("return", "rollout/ep_return")),
        ("KL", "train/approx_kl"),
    )


def gradient_steps(agent: BaseAlgorithm) -> int:
    """Return the gradient steps of an agent so far. SB3 counts PPO's epochs instead."""
    if isinstance(agent, PPO):
        samples = agent.n_steps * agent.n_envs
        return agent._n_updates * math.ceil(samples / agent.batch_size)
    return agent._n_updates


def normalised_act(agent: BaseAlgorithm, deterministic: bool = True) -> Act:
    """Return a function from raw states to the agent's actions, with its current normaliser."""
    normaliser = agent.get_vec_normalize_env()
    assert isinstance(normaliser, VecNormalize)
    return lambda obs: agent.predict(normaliser.normalize_obs(obs), deterministic=deterministic)[0]
