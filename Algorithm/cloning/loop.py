"""The supervised loop: one optimizer step per batch of labelled states.

Behavioural cloning is this loop on a dataset; DAgger is the same loop on growing data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from Algorithm.augmentation import Augmenter
from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.config import CloningConfig, Decay, Phase
from Algorithm.cloning.learner_file import (
    GENERATORS,
    MADE_WITH,
    METHOD,
    check_made_alike,
    write_learner,
)
from Algorithm.cloning.losses import check_families
from Algorithm.cloning.replay import Draw, ReplayConfig
from Algorithm.cloning.samples.data import BatchReader, CloningBatch, Prefetcher, Samples
from Algorithm.cloning.step import CloningStep, Labelled
from Algorithm.cloning.streams import make_replay
from Algorithm.cloning.validation import validation_figures
from Algorithm.meter import Meter
from Common.device import upload
from Common.runs.generators import capture_generators
from Enviroment.custom import describe_task
from Enviroment.task import Task
from Models.agreement import ActionAccuracy
from Models.student.bundle import save_student
from Models.student.policy import StudentPolicy, load_trained_state, trained_state

LAST, BEST = "last", "best"


class SupervisedLearner:
    """Supervised training of a student. Subclasses define the phases.

    It supports SB3's callbacks and loggers. In a callback `num_timesteps` counts gradient steps;
    `on_rollout_start` is called before and `on_step` after each of them. In DAgger,
    `on_rollout_start` is called before the collection of a round too.

    Logged every `log_every` steps: train/loss (weighted, as minimised), train/nll, train/kl,
    train/mse, train/action_accuracy, train/log_std, train/grad_norm, train/learning_rate,
    replay/* (`PrioritisedReplay.statistics`), time/gradient_steps, time/env_steps,
    time/samples_per_second, time/data_share (share of a step spent waiting for its batch),
    time/training_seconds (without evaluation and validation) and time/seconds; and every
    `validate_every` steps val/loss and so on, on held-out episodes.

    Between gradient steps, after the callbacks' `on_rollout_start`, it calls `on_boundary`, which
    may store the state of `capture`, or raise to stop the training. A callback that sets
    `stop_training` in `on_rollout_start` ends training there.

    Args:
        policy: the student; trained on its current device.
        data: samples for training.
        held_out: samples for validation; may be empty.
        capacity: maximum size of `data`.
        config: the settings of learning.
        replay: the settings of sampling.
        seed: seed of the draws. The policy is initialised before.
        augmentation: augmentation of the observations in training batches only.

    Raises:
        UserError: loss, student, labels and augmentation do not match.
    """

    task: Task | None = None  # of the student, if it is known
    blind = False  # whether the student's frames are zero

    def __init__(
        self,
        policy: StudentPolicy,
        data: Samples,
        held_out: Samples | None,
        capacity: int,
        config: CloningConfig,
        replay: ReplayConfig,
        seed: int,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        check_families(data.family, policy.config.family, config.loss_type)
        self.policy, self.data, self.held_out, self.config = policy, data, held_out, config
        self.accuracy = ActionAccuracy(policy.action_space)
        self.augmenter = Augmenter(augmentation or AugmentationConfig(), policy)
        self.replay = make_replay(policy, data, capacity, config, replay, seed)
        if len(data):
            self.replay.add(len(data), new=False)
        trained = policy.trained_parameters()
        self.optimizer = torch.optim.AdamW(
            trained, config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._step = CloningStep(
            policy, self.optimizer, config, self.accuracy, prioritised=self.replay.prioritised
        )
        self.gradient_steps = 0
        self.env_steps = self._given = len(data) + (0 if held_out is None else len(held_out))
        self.best_loss = math.inf  # of validation
        self.training_seconds = 0.0
        self.seconds = 0.0  # with evaluation and validation, up to the latest boundary
        self.on_boundary: Callable[[], None] | None = None
        self.stop_training = False
        self.logger = Logger(None, [])
        self.checkpoints: Path | None = None
        self._pending: Draw | None = None  # drawn, but not trained on
        self._meter = Meter()

    # -- the interface of SB3's callbacks ---------------------------------------------------------

    @property
    def num_timesteps(self) -> int:
        """Number of gradient steps."""
        return self.gradient_steps

    @property
    def counters(self) -> dict[str, int]:
        """Numbers of env steps in the data and gradient steps."""
        return {"env_steps": self.env_steps, "gradient_steps": self.gradient_steps}

    @property
    def work_done(self) -> int:
        """Gradient steps plus collected env steps, which increases from boundary to boundary."""
        return self.gradient_steps + self.env_steps - self._given

    @property
    def device(self) -> torch.device:
        return self.policy.device

    def get_env(self) -> VecEnv | None:
        """Return None: there are no environments."""
        return None

    def set_logger(self, logger: Logger) -> None:
        """Set an SB3 logger."""
        self.logger = logger

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return the student's actions, with SB3's interface."""
        return self.policy.predict(observation, state, episode_start, deterministic)

    # -- the loop ---------------------------------------------------------------------------------

    def fit(self, phase: Phase, decay: Decay, callback: BaseCallback) -> bool:
        """Train to the end of a phase.

        Args:
            decay: the learning rate over all phases.

        Returns:
            False if the callback ended the training.

        Raises:
            UserError: a loss or gradient is not finite. The weights are those before that step.
        """
        reader = BatchReader(self.data, self.policy.config.groups, self.device)
        with Prefetcher(reader) as batches:
            if self.gradient_steps < phase.stop:
                self._pending = self._pending or self._draw(decay.steps)
                batches.start(self._pending.indices)
            while self._pending is not None:
                callback.on_rollout_start()
                self._boundary()
                if self.stop_training:
                    return False
                started = time.perf_counter()
                draw, batch = self._pending, batches.wait()
                waited = time.perf_counter() - started
                self._pending = None
                if self.gradient_steps + 1 < phase.stop:
                    self._pending = self._draw(decay.steps)
                    batches.start(self._pending.indices)
                self._gradient_step(batch, draw, decay.at(self.gradient_steps))
                self._meter.time(waited, time.perf_counter() - started)
                self.training_seconds += time.perf_counter() - started
                self._log_and_validate(at_end=self._pending is None)
                if not callback.on_step():
                    return False
        self._boundary()
        return True

    def decay(self, steps: int) -> Decay:
        """Return the learning rate over all `steps` gradient steps."""
        raise NotImplementedError

    def new_share(self) -> float | None:
        """Return the share of new samples in each batch; None: as sampled."""
        return None

    def _boundary(self) -> None:
        self.seconds = time.perf_counter() - self._started
        if self.on_boundary is not None:
            self.on_boundary()

    def _draw(self, last_step: int) -> Draw:
        if self.gradient_steps % self.replay.config.anneal_every == 0:
            self.replay.anneal(self.gradient_steps / last_step)
        return self.replay.draw(self.config.batch_size, self.new_share())

    def _gradient_step(self, batch: CloningBatch, draw: Draw, learning_rate: float) -> None:
        self.policy.set_training_mode(True)
        obs = self.augmenter(batch.obs)
        assert isinstance(obs, dict)  # like those of the batch
        weights = None if draw.weights is None else upload(draw.weights, self.device)
        labelled = Labelled(obs, batch.teacher, weights, draw.starts)
        figures = self._step(labelled, learning_rate, self.gradient_steps)
        self.gradient_steps += 1
        if self.replay.prioritised:
            self._step.settle()
            self.replay.update(draw.indices, self._step.errors.cpu().numpy())
        self._meter.add(figures)
        self._learning_rate = learning_rate

    # -- validation and logging -------------------------------------------------------------------

    def validate(self) -> dict[str, float]:
        """Return losses and accuracy on the held-out episodes; empty if there are none."""
        if not self.held_out:
            return {}
        return validation_figures(self.policy, self.held_out, self.config, self.accuracy)

    def _log_and_validate(self, at_end: bool) -> None:
        step, config = self.gradient_steps, self.config
        validates = at_end or step % config.validate_every == 0
        if not (validates or step % config.log_every == 0):
            return
        self._step.settle()
        record = self.logger.record
        for name, value in self._meter.means().items():
            record(f"train/{name}", value)
        record("train/learning_rate", self._learning_rate)
        for name, value in self.replay.statistics().items():
            record(f"replay/{name}", value)
        for name, count in self.counters.items():
            record(f"time/{name}", count)
        record("time/samples_per_second", self._meter.steps_per_second() * config.batch_size)
        record("time/data_share", self._meter.data_share())
        record("time/training_seconds", self.training_seconds)
        record("time/seconds", time.perf_counter() - self._started)
        self._meter = Meter()
        figures = self.validate() if validates else {}
        for name, value in figures.items():
            record(f"val/{name}", value)
        self.logger.dump(step)
        if validates:
            self._keep_students(figures.get("loss", math.inf))

    def _keep_students(self, validation_loss: float) -> None:
        is_best = validation_loss < self.best_loss
        self.best_loss = min(validation_loss, self.best_loss)
        if self.checkpoints is not None:
            self._save_student(self.checkpoints / LAST)
            if is_best:
                figures = {"validation_loss": validation_loss}
                self._save_student(self.checkpoints / BEST, figures)

    def _run(self, phases: list[Phase], callback: BaseCallback | None) -> None:
        """Run all remaining phases, between the callback's start and end."""
        callback = callback or CallbackList([])
        decay = self.decay(phases[-1].stop)
        self._started = time.perf_counter() - self.seconds
        callback.init_callback(self)  # pyright: ignore[reportArgumentType]
        callback.on_training_start({"total_timesteps": decay.steps, "self": self}, {})
        for number, phase in enumerate(phases):
            if self.gradient_steps >= phase.stop:
                continue
            self.prepare(number, callback)
            if self.stop_training or not self.fit(phase, decay, callback):
                break
        callback.on_training_end()
        self.seconds = time.perf_counter() - self._started

    def prepare(self, number: int, callback: BaseCallback) -> None:
        """Prepare a phase. Called before its gradient steps, also when it is resumed."""

    # -- states and files -------------------------------------------------------------------------

    def made_with(self) -> dict[str, Any]:
        """Return the settings that must match when a state is restored, as JSON."""
        return {
            METHOD: type(self).__name__,
            "student": self.policy.config.as_json(),
            "config": asdict(self.config),
            "replay": asdict(self.replay.config),
            "augmentation": asdict(self.augmenter.config),
        }

    def capture(self) -> dict[str, Any]:
        """Return the complete state, except the dataset and the global random generators.

        `Common.runs.generators` captures the generators; augmentation draws from torch's. Tensors
        and arrays are not copied: store them before the next step.

        Returns: a state that `Common.runs.packing.pack` accepts.

        Raises:
            UserError: a loss or gradient since the last logging point was not finite.
        """
        self._step.settle()
        return {
            MADE_WITH: self.made_with(),
            "policy": trained_state(self.policy),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.capture(),
            "memory": self._step.forward.capture(),
            # The prefetched batch: it is drawn already, and will be read again.
            "pending": None if self._pending is None else vars(self._pending),
            "meter": self._meter.capture(),
            "gradient_steps": self.gradient_steps,
            "env_steps": self.env_steps,
            "best_loss": self.best_loss,
            "training_seconds": self.training_seconds,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture` in a learner with the same settings, before `learn`.

        Raises:
            UserError: settings or dataset differ. The message lists the differences.
        """
        check_made_alike(state, self.made_with())
        load_trained_state(self.policy, state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.restore(state["replay"])
        self._step.forward.restore(state.get("memory", {}))  # missing in older states
        self._pending = None if state["pending"] is None else Draw(**state["pending"])
        self._meter.restore(state["meter"])
        self.gradient_steps, self.env_steps = state["gradient_steps"], state["env_steps"]
        self.best_loss, self.seconds = state["best_loss"], state["seconds"]
        self.training_seconds = state["training_seconds"]

    def save(self, folder: Path | str, notes: Mapping[str, Any] | None = None) -> None:
        """Write the student's bundle, and in `learner` the complete state of the training.

        Args:
            notes: plain JSON for the bundle, besides the task if it is known.

        Raises:
            UserError: the folder cannot be written. Older files are kept.
        """
        folder = Path(folder)
        self._save_student(folder, notes)
        write_learner(folder, {**self.capture(), GENERATORS: capture_generators()})

    def _save_student(self, folder: Path, notes: Mapping[str, Any] | None = None) -> None:
        known: dict[str, Any] = {}
        if self.task is not None:
            frames = self.policy.config.mode != "State"
            known = {**describe_task(self.task, frames=frames), "blind": self.blind}
        known |= {"gradient_steps": self.gradient_steps, "env_steps": self.env_steps}
        save_student(self.policy, folder, {**known, **(notes or {})})
