"""The supervised loop: batches drawn from labelled states, one optimizer step each.

Behavioural cloning is this loop over a dataset; DAgger is the same loop over data that grows.
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
from torch import Tensor

from Algorithm.augmentation import AugmentationConfig, Augmenter
from Algorithm.cloning.config import CloningConfig, Phase
from Algorithm.cloning.data import BatchReader, CloningBatch, Prefetcher, Samples
from Algorithm.cloning.learner_file import (
    GENERATORS,
    MADE_WITH,
    METHOD,
    check_made_alike,
    write_learner,
)
from Algorithm.cloning.losses import check_families, cloning_losses, priority_loss
from Algorithm.cloning.replay import Draw, PrioritisedReplay, ReplayConfig
from Algorithm.finite import StepGuard
from Algorithm.meter import Meter, to_numbers
from Common.device import upload
from Common.runs.generators import capture_generators
from Models.agreement import ActionAccuracy
from Models.distributions import DiagGaussian, Distribution
from Models.student.bundle import save_student
from Models.student.policy import StudentPolicy

LAST, BEST = "last", "best"


class SupervisedLearner:
    """A student, its data and its optimizer; subclasses say in which phases it learns.

    It takes SB3's callbacks and loggers. In a callback `num_timesteps` counts gradient steps,
    `on_rollout_start` comes before and `on_step` after each of them; in DAgger the former comes
    before the collection of a round, too.

    Logged, every `log_every` steps: train/loss (weighted, as minimised), train/nll, train/kl,
    train/mse, train/action_accuracy, train/log_std, train/grad_norm, train/learning_rate,
    replay/* (`PrioritisedReplay.statistics`), time/gradient_steps, time/env_steps,
    time/samples_per_second, time/data_share (of a step, spent waiting for its batch),
    time/training_seconds (without evaluation and validation) and time/seconds; and every
    `validate_every` steps val/loss and so on, on held-out episodes.

    Its state is whole between gradient steps. There it calls `on_boundary`, after the callbacks'
    `on_rollout_start`; it may store what `capture` gives, or raise to stop the training.

    Args:
        policy: the student; it is trained where it is.
        data: to be trained on.
        held_out: for validation; may be empty.
        capacity: samples that `data` may grow to.
        config: how to learn.
        replay: which samples to prefer.
        seed: of the draws. The policy has been initialised before.
        augmentation: of the observations in training batches, and nowhere else.

    Raises:
        UserError: loss, student, labels and augmentation do not fit each other.
    """

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
        self.replay = PrioritisedReplay(capacity, replay, seed)
        if len(data):
            self.replay.add(len(data), new=False)
        self.optimizer = torch.optim.AdamW(
            policy.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.gradient_steps = 0
        self.env_steps = self._given = len(data) + (0 if held_out is None else len(held_out))
        self.best_loss = math.inf  # of validation
        self.training_seconds = 0.0
        self.seconds = 0.0  # with evaluation and validation, up to the latest boundary
        self.on_boundary: Callable[[], None] | None = None
        self.logger = Logger(None, [])
        self.checkpoints: Path | None = None
        self._pending: Draw | None = None  # decided on, but not trained on
        self._meter = Meter()
        advice = "A smaller learning rate may help; so may a look at the dataset's values."
        self._guard = StepGuard(advice)

    # -- what SB3's callbacks ask of a model ------------------------------------------------------

    @property
    def num_timesteps(self) -> int:
        """Gradient steps."""
        return self.gradient_steps

    @property
    def counters(self) -> dict[str, int]:
        """What the student has learned from, or is about to."""
        return {"env_steps": self.env_steps, "gradient_steps": self.gradient_steps}

    @property
    def work_done(self) -> int:
        """Gradient steps and collected env steps: rises from boundary to boundary."""
        return self.gradient_steps + self.env_steps - self._given

    @property
    def device(self) -> torch.device:
        return self.policy.device

    def get_env(self) -> VecEnv | None:
        """None: nothing is simulated."""
        return None

    def set_logger(self, logger: Logger) -> None:
        """Log to an SB3 logger from now on."""
        self.logger = logger

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """The student's actions; SB3's interface."""
        return self.policy.predict(observation, state, episode_start, deterministic)

    # -- the loop ---------------------------------------------------------------------------------

    def fit(self, phase: Phase, last_step: int, callback: BaseCallback) -> bool:
        """Gradient steps up to the end of a phase.

        Args:
            last_step: gradient steps of all phases, for the replay's annealing.

        Returns:
            False if the callback ended the training.

        Raises:
            UserError: a loss or a gradient is not finite; the weights are those of the step before.
        """
        reader = BatchReader(self.data, self.policy.config.groups, self.device)
        with Prefetcher(reader) as batches:
            if self.gradient_steps < phase.stop:
                self._pending = self._pending or self._draw(last_step)
                batches.start(self._pending.indices)
            while self._pending is not None:
                callback.on_rollout_start()
                self._boundary()
                started = time.perf_counter()
                draw, batch = self._pending, batches.wait()
                waited = time.perf_counter() - started
                self._pending = None
                if self.gradient_steps + 1 < phase.stop:
                    self._pending = self._draw(last_step)
                    batches.start(self._pending.indices)
                self._gradient_step(batch, draw, phase.learning_rate_at(self.gradient_steps))
                self._meter.time(waited, time.perf_counter() - started)
                self.training_seconds += time.perf_counter() - started
                self._log_and_validate(at_end=self._pending is None)
                if not callback.on_step():
                    return False
        self._boundary()
        return True

    def new_share(self) -> float | None:
        """Share of each batch that the replay's new samples take; None: no matter."""
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
        assert isinstance(obs, dict)  # as the batch's are
        student = self.policy.distribution(obs)
        losses = cloning_losses(student, batch.teacher)
        per_sample = losses[self.config.loss_type]
        if draw.weights is not None:
            per_sample = per_sample * upload(draw.weights, self.device)
        loss = per_sample.mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.max_grad_norm)
        self._guard.check(self.optimizer, loss, norm, self.gradient_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.gradient_steps += 1
        if self.replay.prioritised:
            self._guard.settle()
            errors = priority_loss(self.config.loss_type, student, batch.teacher)
            self.replay.update(draw.indices, errors.cpu().numpy())
        self._meter.add(
            {"loss": loss, "grad_norm": norm, **self._means(losses, student, batch.teacher)}
        )
        self._learning_rate = learning_rate

    # -- validation and logging -------------------------------------------------------------------

    def validate(self) -> dict[str, float]:
        """Losses and accuracy on the held-out episodes; nothing if there are none."""
        if not self.held_out:
            return {}
        n = min(len(self.held_out), self.config.validation_samples)
        indices = np.linspace(0, len(self.held_out) - 1, n).astype(np.int64)
        reader = BatchReader(self.held_out, self.policy.config.groups, self.device)
        self.policy.set_training_mode(False)
        sums: dict[str, Tensor] = {}
        with torch.no_grad():
            for start in range(0, n, self.config.batch_size):
                part = indices[start : start + self.config.batch_size]
                batch = reader(part)
                student = self.policy.distribution(batch.obs)
                losses = cloning_losses(student, batch.teacher)
                figures = self._means(losses, student, batch.teacher)
                figures["loss"] = losses[self.config.loss_type].mean()
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0.0) + value.double() * (len(part) / n)
        return to_numbers(sums)

    def _means(
        self, losses: Mapping[str, Tensor], student: Distribution, teacher: Distribution
    ) -> dict[str, Tensor]:
        """What is logged of a batch, as scalars that stay on the device."""
        with torch.no_grad():
            figures = {name.lower(): loss.mean() for name, loss in losses.items()}
            if self.accuracy.is_defined:
                figures["action_accuracy"] = self.accuracy.of_modes(student, teacher).mean()
            if isinstance(student, DiagGaussian):
                figures["log_std"] = student.log_std.mean()
        return figures

    def _log_and_validate(self, at_end: bool) -> None:
        step, config = self.gradient_steps, self.config
        validates = at_end or step % config.validate_every == 0
        if not (validates or step % config.log_every == 0):
            return
        self._guard.settle()
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
        """All phases that are not done yet, between the callback's start and end."""
        callback = callback or CallbackList([])
        last_step = phases[-1].stop
        self._started = time.perf_counter() - self.seconds
        callback.init_callback(self)  # pyright: ignore[reportArgumentType]
        callback.on_training_start({"total_timesteps": last_step, "self": self}, {})
        for number, phase in enumerate(phases):
            if self.gradient_steps >= phase.stop:
                continue
            self.prepare(number, callback)
            if not self.fit(phase, last_step, callback):
                break
        callback.on_training_end()
        self.seconds = time.perf_counter() - self._started

    def prepare(self, number: int, callback: BaseCallback) -> None:
        """Called before the gradient steps of each phase, also of one that is resumed."""

    # -- states and files -------------------------------------------------------------------------

    def made_with(self) -> dict[str, Any]:
        """What must be the same where a state is restored, as JSON."""
        return {
            METHOD: type(self).__name__,
            "student": self.policy.config.as_json(),
            "config": asdict(self.config),
            "replay": asdict(self.replay.config),
            "augmentation": asdict(self.augmenter.config),
        }

    def capture(self) -> dict[str, Any]:
        """All that decides what comes next, but the dataset and Python's, NumPy's and torch's own
        generators (`Common.runs.generators`: augmentation draws from torch's).

        Tensors and arrays are the learner's own, not copies: store them before its next step.

        Returns: what `Common.runs.packing.pack` takes.

        Raises:
            UserError: a step since the last logging point would have spoiled the weights.
        """
        self._guard.settle()
        return {
            MADE_WITH: self.made_with(),
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.capture(),
            # What the reader has in its hands. It is drawn already, and read anew.
            "pending": None if self._pending is None else vars(self._pending),
            "meter": self._meter.capture(),
            "gradient_steps": self.gradient_steps,
            "env_steps": self.env_steps,
            "best_loss": self.best_loss,
            "training_seconds": self.training_seconds,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `capture` gave, in a learner that was made alike; `learn` follows.

        Raises:
            UserError: it was made otherwise, or over another dataset; lists what differs.
        """
        check_made_alike(state, self.made_with())
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.restore(state["replay"])
        self._pending = None if state["pending"] is None else Draw(**state["pending"])
        self._meter.restore(state["meter"])
        self.gradient_steps, self.env_steps = state["gradient_steps"], state["env_steps"]
        self.best_loss, self.seconds = state["best_loss"], state["seconds"]
        self.training_seconds = state["training_seconds"]

    def save(self, folder: Path | str, notes: Mapping[str, Any] | None = None) -> None:
        """Writes the student's bundle, and in `learner` all that is needed to go on exactly.

        Args:
            notes: plain JSON for the bundle.

        Raises:
            UserError: the folder cannot be written; what was there before stays.
        """
        folder = Path(folder)
        self._save_student(folder, notes)
        write_learner(folder, {**self.capture(), GENERATORS: capture_generators()})

    def _save_student(self, folder: Path, notes: Mapping[str, Any] | None = None) -> None:
        counters = {"gradient_steps": self.gradient_steps, "env_steps": self.env_steps}
        save_student(self.policy, folder, {**counters, **(notes or {})})
