"""A teacher as the collection of datasets sees it: states in, arrays of labels out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from Enviroment.dataset_format import ACTION, DISTRIBUTION, VALUE
from Models.device import torch_threads
from Models.teacher import Teacher


class TeacherLabeller:
    """Labels states with a teacher's action, the parameters of its distribution, and its value.

    It computes in one thread: with more of them a matrix product may be split, and rounded,
    otherwise, and a dataset must not depend on how many cores a machine has.

    Args:
        teacher: on the CPU, where all machines of a kind compute alike.
    """

    def __init__(self, teacher: Teacher) -> None:
        if teacher.device.type != "cpu":
            raise ValueError(f"Datasets are labelled on the CPU, not on {teacher.device}.")
        self._teacher = teacher

    @property
    def identity(self) -> Mapping[str, Any]:
        """Which weights; and what else decides the parameters of the distributions."""
        description = self._teacher.description
        corruption = {
            "corruption_sigma": description.corruption_sigma,
            "corruption_seed": description.corruption_seed,
        }
        return {
            "sha256": description.sha256,
            "family": description.family,
            "min_std": self._teacher.min_std,
            "action_std": description.action_std,
            "temperature": description.temperature,
            # Only where there is some: datasets of other teachers do not name it.
            **(corruption if description.corruption_sigma else {}),
        }

    def __call__(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """`(B, state_dim)` -> `action` (B, action_dim), `distribution.*`, `value` (B,); float32."""
        with torch_threads(1):
            batch = torch.from_numpy(states)
            parameters = self._teacher.distribution(batch).params()
            value = self._teacher.value(batch)
            labels = {ACTION: self._teacher.predict(states)[0]}
        labels |= {DISTRIBUTION + name: tensor.numpy() for name, tensor in parameters.items()}
        if value is not None:
            labels[VALUE] = value.numpy()
        return labels

    def check_fits(self, task: str, state_space: spaces.Space, action_space: spaces.Space) -> None:
        """As `Teacher.check_fits`."""
        self._teacher.check_fits(task, state_space, action_space)
