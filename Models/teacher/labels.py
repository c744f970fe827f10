"""Label the observations of a dataset with a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from Common.device import torch_threads
from Enviroment.dataset.format import ACTION, DISTRIBUTION, IDENTITY, VALUE
from Models.families import GAUSSIAN
from Models.teacher.policy import Teacher


def margin_of(teacher: Teacher) -> float | None:
    """Return the `mean_margin` of the labels; None if they are not Gaussian."""
    return teacher.mean_margin if teacher.description.family == GAUSSIAN else None


class TeacherLabeller:
    """Labels observations with a teacher's action, the parameters of its distribution, and value.

    It computes in one thread: the number of threads changes how a matrix product is split and
    rounded, and a dataset must not depend on the number of cores.

    Args:
        teacher: a teacher on the CPU, where machines of the same kind give equal results.
    """

    def __init__(self, teacher: Teacher) -> None:
        if teacher.device.type != "cpu":
            raise ValueError(f"Datasets are labelled on the CPU, not on {teacher.device}.")
        self._teacher = teacher

    @property
    def identity(self) -> Mapping[str, Any]:
        """Identity of the teacher, and all settings that decide its labels."""
        description, margin = self._teacher.description, margin_of(self._teacher)
        corruption = {
            "corruption_sigma": description.corruption_sigma,
            "corruption_seed": description.corruption_seed,
        }
        return {
            "sha256": description.sha256,
            IDENTITY: description.identity,
            "family": description.family,
            "min_std": self._teacher.min_std,
            "action_std": description.action_std,
            "temperature": description.temperature,
            # Only if they apply: older datasets, and those of other teachers, lack these keys.
            **({} if margin is None else {"mean_margin": margin}),
            **(corruption if description.corruption_sigma else {}),
        }

    @property
    def groups(self) -> tuple[str, ...]:
        """Observation groups of the teacher."""
        return self._teacher.observation_groups

    def __call__(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Label groups `(B, ...)`.

        Returns: `action` (B, action_dim) or, if discrete, int64 (B,); `distribution.*` and `value`
            (B,), float32.
        """
        with torch_threads(1):
            batch = {group: torch.from_numpy(array) for group, array in observations.items()}
            distribution = self._teacher.distribution(batch)
            value = self._teacher.value(batch)
            labels = {ACTION: self._teacher.actions(distribution)}
        params = distribution.params()
        labels |= {DISTRIBUTION + name: tensor.numpy() for name, tensor in params.items()}
        if value is not None:
            labels[VALUE] = value.numpy()
        return labels

    def check_fits(
        self, task: str, observation_space: spaces.Space, action_space: spaces.Space
    ) -> None:
        """Raise UserError for another task or other spaces (see `Teacher.check_fits`)."""
        self._teacher.check_fits(task, observation_space, action_space)
