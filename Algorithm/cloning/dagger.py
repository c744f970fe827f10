"""DAgger: the student acts, the teacher labels the visited states, and all data is learned from.

Ross, Gordon and Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret
Online Learning", AISTATS 2011, algorithm 3.1. Round 0 is behavioural cloning.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from Algorithm.acting import Actor
from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.bc import check_enough
from Algorithm.cloning.config import CloningConfig, DaggerConfig, Decay, Phase
from Algorithm.cloning.dagger_round import Round
from Algorithm.cloning.learner_file import GENERATORS, TEACHER_IDENTITY, read_learner, settings_of
from Algorithm.cloning.loop import SupervisedLearner
from Algorithm.cloning.losses import cloning_losses, minimised
from Algorithm.cloning.replay import ReplayConfig
from Algorithm.cloning.samples.aggregate import Aggregate
from Algorithm.cloning.samples.data import CloningData, split_episodes
from Algorithm.env_state import capture_env, restore_env
from Algorithm.finite import check_teacher
from Algorithm.teacher_view import normaliser_of, teacher_in
from Common.device import upload
from Common.errors import UserError
from Common.runs.generators import restore_generators
from Enviroment import seeds
from Models.distributions import Distribution
from Models.sb3.policies import within_bounds
from Models.student.bundle import load_student
from Models.student.policy import StudentPolicy
from Models.teacher.policy import Teacher


class DAgger(SupervisedLearner):
    """Repeat rounds of: act, label by the teacher, aggregate, train on old and new data.

    Usage::

        model = DAgger(policy, make_env(task, 16, seed), teacher, dataset)
        model.learn()

    Each round begins new episodes, so env steps that are a multiple of the number of environments
    times the length of an episode waste none. A label is the teacher's distribution, and its mode
    the action, whichever policy acted.

    Training can be resumed between the steps of a round if the environments can be saved
    (`Enviroment.simulation.state`); otherwise, before and after the collection of a round.

    Logged once per round, in addition to the loop's metrics: dagger/round, dagger/beta,
    dagger/ep_return (of the acting mixture), and the student's loss, kl, action_accuracy and so on
    in the states it visited, before training on them.

    Args:
        policy: the student.
        env: the environments in which it acts; observations must include the teacher's groups.
        teacher: labels every visited state: a `Teacher`, or a live SB3 model, which is copied.
        dataset: round 0 clones it; None for no round 0.
        config: the settings of learning; its gradient steps are those of round 0.
        dagger: the settings of the rounds.
        replay: the settings of sampling; uniform by default.
        seed: seed of batches, of the acting policy and of held-out episodes.
        first_seed: seed of the episodes, as in `make_env`.
        cloned: the policy comes from a BC run on this dataset: no round 0.
        split_seed: seed of held-out episodes if different; that of a BC run, so that none of them
            was trained on.
        augmentation: augmentation of the observations in training batches; acting is without.

    Raises:
        UserError: teacher, student, dataset and environment do not match, or there are too few
            samples for a batch.
    """

    data: Aggregate

    def __init__(
        self,
        policy: StudentPolicy,
        env: VecEnv,
        teacher: Teacher | BaseAlgorithm,
        dataset: CloningData | None = None,
        config: CloningConfig | None = None,
        dagger: DaggerConfig | None = None,
        replay: ReplayConfig | None = None,
        *,
        seed: int = 0,
        first_seed: int = 0,
        cloned: bool = False,
        split_seed: int | None = None,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        config, dagger = config or CloningConfig(), dagger or DaggerConfig()
        split_seed = seed if split_seed is None else split_seed
        task = getattr(env, "task", None)
        teacher = teacher_in(teacher, env)
        family = teacher.description.family
        _check_env(env, teacher, dagger)
        if dataset is not None and dataset.family != family:
            raise UserError(f"The dataset's labels are {dataset.family}, the teacher's {family}.")
        training, held_out = None, None
        if dataset is not None:
            training, held_out = split_episodes(dataset, config.held_out, split_seed)
            check_enough(len(training), config)
        self._steps_a_round = dagger.env_steps // env.num_envs
        collected = self._steps_a_round * env.num_envs
        if dataset is None and collected < config.batch_size:
            raise UserError(
                f"Without a dataset, a round's {collected} env steps must fill a batch of "
                f"{config.batch_size}."
            )
        n_steps = dagger.rounds * self._steps_a_round
        sees_frames = policy.config.mode != "State"
        data = Aggregate(
            *(training, family, n_steps, env.num_envs, task if sees_frames else None),
            keeps_stacks=sees_frames and task is None,
        )
        capacity = len(data) + n_steps * env.num_envs
        replay = replay or ReplayConfig()
        super().__init__(policy, data, held_out, capacity, config, replay, seed, augmentation)
        self.env, self.teacher, self.dagger = env, teacher.to(policy.device), dagger
        self.dataset, self.seed = dataset, seed
        self.task, self.blind = task, getattr(env, "blind", False)
        self.first_seed, self.cloned, self.split_seed = first_seed, cloned, split_seed
        self.phases = self._plan(clones=dataset is not None and not cloned)
        self.round = 0  # the last round whose states are collected
        self._collecting: Round | None = None
        self._actor = Actor(policy, env.num_envs)
        self._next_seed = first_seed
        self._rng = np.random.default_rng([seed, 1])

    def learn(
        self, callback: BaseCallback | None = None, checkpoints: Path | str | None = None
    ) -> Self:
        """Run all remaining rounds, unless the callback ends the training.

        Args:
            checkpoints: as in `BehaviouralCloning.learn`. `best` is measured on the states of the
                dataset, not of the student; use an evaluation to find the best return.
        """
        self.checkpoints = None if checkpoints is None else Path(checkpoints)
        self._run(self.phases, callback)
        return self

    def get_env(self) -> VecEnv:
        """Return the environments in which the student acts."""
        return self.env

    def new_share(self) -> float | None:
        return self.dagger.new_share

    def _plan(self, clones: bool) -> list[Phase]:
        """Return round 0, which may be empty, and the other rounds."""
        phases = [Phase(0, self.config.gradient_steps if clones else 0)]
        for _ in range(self.dagger.rounds):
            first = phases[-1].stop
            phases.append(Phase(first, first + self.dagger.gradient_steps))
        return phases

    def decay(self, steps: int) -> Decay:
        """Return one decay over all rounds: a rate that rises again undoes what was learned."""
        config, dagger = self.config, self.dagger
        if self.phases[0].stop:
            return Decay(steps, config.learning_rate, config.final_learning_rate)
        # The optimizer is new, and its first steps would be too long.
        warmup = round(dagger.warmup * steps)
        return Decay(steps, dagger.learning_rate, config.final_learning_rate, warmup)

    # -- collecting --------------------------------------------------------------------------------

    def prepare(self, number: int, callback: BaseCallback) -> None:
        """Collect and label the states of a round, or the rest of them after an interruption."""
        if number <= self.round:
            return
        callback.on_rollout_start()  # an evaluation now is of the student before this round
        if self.stop_training:
            return
        beta = self.dagger.beta_in(number)
        collected = self._collect(beta)
        self.round = number
        self.replay.add(self._steps_a_round * self.env.num_envs, new=True)
        self.replay.anneal(self.gradient_steps / self.phases[-1].stop)
        figures = {**collected.figures(), "round": float(number), "beta": beta}
        for name, value in figures.items():
            self.logger.record(f"dagger/{name}", value)
        for name, count in self.counters.items():
            self.logger.record(f"time/{name}", count)
        self.logger.record("time/collection_seconds", collected.seconds)
        self.logger.dump(self.gradient_steps)

    def _collect(self, beta: float) -> Round:
        """Act and label to the end of a round, and return the round."""
        if self._collecting is None:
            self.env.seed(self._next_seed)
            self._collecting = Round.begin(self.env.reset(), self.env.num_envs)
        collecting, can_stop = self._collecting, self._environments() is not None
        self.policy.set_training_mode(False)
        while collecting.steps < self._steps_a_round:
            started = time.perf_counter()
            self._visit(collecting, beta)
            collecting.seconds += time.perf_counter() - started
            if can_stop and collecting.steps < self._steps_a_round:
                self._boundary()
        self._collecting = None
        begun = int(collecting.begun.max()) * self.env.num_envs
        self._next_seed = seeds.further(self._next_seed, begun)
        self.training_seconds += collecting.seconds
        return collecting

    def _visit(self, collecting: Round, beta: float) -> None:
        """Step every environment, and label and aggregate the states."""
        obs = collecting.obs
        student, labels = self._act_and_label(obs, collecting.starts)
        self.data.add(obs, collecting.starts, labels)
        next_obs, _, starts, infos = self.env.step(self._actions(student, labels, beta))
        collecting.count(self._figures(student, labels), next_obs, starts, infos)
        self.env_steps += self.env.num_envs

    @torch.no_grad()
    def _act_and_label(
        self, obs: dict[str, np.ndarray], starts: np.ndarray
    ) -> tuple[Distribution, Distribution]:
        tensors = upload(obs, self.device)
        labels = self.teacher.distribution(tensors)
        check_teacher(labels, self.env_steps)
        return self._actor.distribution(tensors, starts), labels

    def _actions(self, student: Distribution, teacher: Distribution, beta: float) -> np.ndarray:
        """Return the action of each environment, the teacher's with probability beta."""
        raw = student.mode() if self.dagger.deterministic else student.sample()
        teacher_acts = self._rng.random(self.env.num_envs) < beta
        actions = within_bounds(self.policy, student.to_env_action(raw))
        theirs = within_bounds(self.policy, teacher.to_env_action(teacher.mode()))
        actions[teacher_acts] = theirs[teacher_acts]
        return actions

    def _figures(self, student: Distribution, labels: Distribution) -> dict[str, Tensor]:
        losses = cloning_losses(student, labels)
        figures = {name.lower(): loss for name, loss in losses.items()}
        figures["loss"] = minimised(losses, student, labels, self.config)
        if self.accuracy.is_defined:
            figures["action_accuracy"] = self.accuracy.of_modes(student, labels)
        return figures

    # -- states and files --------------------------------------------------------------------------

    def made_with(self) -> dict[str, Any]:
        """Return the settings that must match (see `SupervisedLearner.made_with`)."""
        return {
            **super().made_with(),
            "dagger": asdict(self.dagger),
            "arguments": {
                "seed": self.seed,
                "first_seed": self.first_seed,
                "cloned": self.cloned,
                "split_seed": self.split_seed,
            },
            "dataset": None if self.dataset is None else self.dataset.identity(),
            "n_envs": self.env.num_envs,
            "teacher": self.teacher.description.sha256,
            TEACHER_IDENTITY: self.teacher.description.identity,
        }

    def capture(self) -> dict[str, Any]:
        """Return the complete state (see `SupervisedLearner.capture`) with all collected states."""
        has_begun = self.round > 0 or self._collecting is not None
        own = {
            "aggregate": self.data.capture(),
            "round": self.round,
            "collecting": None if self._collecting is None else vars(self._collecting),
            "environments": self._environments() if has_begun else None,
            "actor": self._actor.capture(),
            "next_seed": self._next_seed,
            "generator": self._rng.bit_generator.state,
        }
        return {**super().capture(), **own}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture` (see `SupervisedLearner.restore`).

        Raises:
            UserError: as there; or the state is of a version with other learning rates.
        """
        if "warmup" not in settings_of(state, type(self).__name__)["dagger"]:
            raise UserError(
                "The saved state is of an older version, whose learning rate began anew in every "
                "round: this one cannot continue it. Start over with `overwrite`, or continue with "
                "that version."
            )
        super().restore(state)
        self.data.restore(state["aggregate"])
        self.round, self._next_seed = state["round"], state["next_seed"]
        self._rng.bit_generator.state = state["generator"]
        self._actor.restore(state.get("actor", {}))  # missing in older states
        self._collecting = None if state["collecting"] is None else Round(**state["collecting"])
        if state["environments"] is not None:
            obs, has_begun = restore_env(self.env, state["environments"])
            if has_begun and self._collecting is not None:
                self._collecting.begin_again(obs)

    def _environments(self) -> dict[str, Any] | None:
        """Return the environments' state; None if they cannot be saved."""
        state = capture_env(self.env)
        return None if state["environments"] is None else state

    @classmethod
    def load(
        cls,
        folder: Path | str,
        env: VecEnv,
        teacher: Teacher,
        dataset: CloningData | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Load a training of `save` with its collected states; `learn` then continues exactly.

        Args:
            env: environments, as many as before.
            dataset: the dataset of the training.

        Raises:
            UserError: files are missing or damaged, or the dataset differs.
        """
        folder = Path(folder)
        state = read_learner(folder)
        made = settings_of(state, cls.__name__)
        model = cls(
            load_student(folder, device),
            env,
            teacher,
            dataset,
            CloningConfig(**made["config"]),
            DaggerConfig(**made["dagger"]),
            ReplayConfig(**made["replay"]),
            **made["arguments"],
            augmentation=AugmentationConfig(**made["augmentation"]),
        )
        model.restore(state)
        restore_generators(state[GENERATORS])
        return model


def _check_env(env: VecEnv, teacher: Teacher, dagger: DaggerConfig) -> None:
    space = env.observation_space
    shown = space.spaces if isinstance(space, spaces.Dict) else {}
    if normaliser_of(env) is not None:
        raise UserError(
            "DAgger's teacher needs raw observations, but a VecNormalize changes them. Give it "
            "norm_obs=False."
        )
    for group in teacher.observation_groups:
        if group not in shown:
            raise UserError(f"DAgger's teacher needs the observation group `{group}`.")
    task = getattr(env, "task", None)
    name = teacher.description.task if task is None else task.name
    teacher.check_fits(name, space, env.action_space)
    if dagger.env_steps < env.num_envs:
        raise UserError(
            f"A round of {dagger.env_steps} env steps is too short for {env.num_envs} environments."
        )
