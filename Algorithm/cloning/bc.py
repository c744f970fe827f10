"""Behavioural cloning: a student learns a teacher's actions from a dataset by regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from stable_baselines3.common.callbacks import BaseCallback

from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.config import CloningConfig, Decay, Phase
from Algorithm.cloning.learner_file import GENERATORS, read_learner, settings_of
from Algorithm.cloning.loop import SupervisedLearner
from Algorithm.cloning.replay import ReplayConfig
from Algorithm.cloning.samples.data import CloningData, split_episodes
from Common.errors import UserError
from Common.runs.generators import restore_generators
from Models.student.bundle import load_student
from Models.student.policy import StudentPolicy


class BehaviouralCloning(SupervisedLearner):
    """Minimise the mean NLL, KL or MSE to the teacher over a dataset.

    Usage::

        model = BehaviouralCloning(policy, dataset, CloningConfig(loss_type="KL"))
        model.learn()
        model.save(folder)

    The critic is not trained. PPD or SB3's PPO can continue to train the policy.

    Args:
        policy: the student, with the family of the dataset's distributions.
        dataset: labelled states (`CloningData`), such as a teacher dataset.
        config: the settings of learning.
        replay: the settings of sampling; uniform by default.
        seed: seed of the held-out episodes and of the batches.
        augmentation: augmentation of the observations in training batches; none by default.

    Raises:
        UserError: the dataset is smaller than a batch, or does not fit loss or student.
    """

    def __init__(
        self,
        policy: StudentPolicy,
        dataset: CloningData,
        config: CloningConfig | None = None,
        replay: ReplayConfig | None = None,
        seed: int = 0,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        config = config or CloningConfig()
        training, held_out = split_episodes(dataset, config.held_out, seed)
        check_enough(len(training), config)
        self.dataset, self.seed = dataset, seed
        self.task, self.blind = getattr(dataset, "task", None), getattr(dataset, "blind", False)
        super().__init__(
            policy,
            training,
            held_out,
            len(training),
            config,
            replay or ReplayConfig(),
            seed,
            augmentation,
        )

    def learn(
        self, callback: BaseCallback | None = None, checkpoints: Path | str | None = None
    ) -> Self:
        """Train until `config.gradient_steps`, or until the callback ends the training.

        Args:
            checkpoints: folder for the bundles `last` and `best`: the student of the latest
                validation, and that of the lowest validation loss.
        """
        self.checkpoints = None if checkpoints is None else Path(checkpoints)
        self._run([Phase(0, self.config.gradient_steps)], callback)
        return self

    def decay(self, steps: int) -> Decay:
        return Decay(steps, self.config.learning_rate, self.config.final_learning_rate)

    def made_with(self) -> dict[str, Any]:
        """Return the settings that must match (see `SupervisedLearner.made_with`)."""
        return {**super().made_with(), "seed": self.seed, "dataset": self.dataset.identity()}

    @classmethod
    def load(
        cls, folder: Path | str, dataset: CloningData, device: torch.device | str = "cpu"
    ) -> Self:
        """Load a training of `save`; `learn` then continues as if it had never stopped.

        Args:
            dataset: the dataset of the training.

        Raises:
            UserError: files are missing or damaged, or the dataset differs.
        """
        folder = Path(folder)
        state = read_learner(folder)
        made = settings_of(state, cls.__name__)
        model = cls(
            load_student(folder, device),
            dataset,
            CloningConfig(**made["config"]),
            ReplayConfig(**made["replay"]),
            made["seed"],
            AugmentationConfig(**made["augmentation"]),
        )
        model.restore(state)
        restore_generators(state[GENERATORS])
        return model


def check_enough(n_samples: int, config: CloningConfig) -> None:
    """Raise UserError for a dataset that is smaller than a batch.

    Raises:
        UserError: there are too few samples. The message has their number.
    """
    if n_samples < config.batch_size:
        raise UserError(
            f"The dataset has {n_samples} states for training, fewer than a batch of "
            f"{config.batch_size}. Collect a larger one, or lower `batch_size`."
        )
