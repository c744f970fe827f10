"""Teachers that act in a user's own task."""

from __future__ import annotations

import dataclasses
import sys

import torch

from Enviroment.task import Task
from Models.teacher.description import ObservationGroup
from Models.teacher.policy import Teacher


def adopt(teacher: Teacher, task: Task) -> Teacher:
    """The teacher as one of `task`, where that is a user's own: any whose spaces fit can be.

    What was measured of it in another task means nothing there, and is left out. Tasks of the
    registry have teachers of their own: `check_fits` refuses others.
    """
    if not task.custom:
        return teacher
    teacher = of_one_state(teacher)
    d = teacher.description
    if d.task in ("", task.name):
        return teacher
    print(f"This teacher was trained on {d.task}; here it acts in {task.name}.", file=sys.stderr)
    d = dataclasses.replace(d, task=task.name, baselines={})
    tensors = teacher.state_dict()
    return Teacher(d, tensors, teacher.min_std, teacher.extractors).to(teacher.device)


def of_one_state(teacher: Teacher) -> Teacher:
    """The same teacher, of one vector instead of a dictionary of vectors.

    The vector holds the groups in the teacher's order, which is that of its environment's space:
    `Enviroment.simulation.make_simulation` makes such a state. Any other teacher stays as it is.
    """
    d = teacher.description
    groups = d.groups
    if not groups[0].name or d.features_extractor or not all(map(_is_plain, groups)):
        return teacher
    if len({group.normalised for group in groups}) > 1:
        return teacher  # one clip would hold for all
    tensors = teacher.state_dict()
    if not groups[0].normalised:
        zeros = torch.zeros(d.state_dim, dtype=torch.float64, device=teacher.device)
        tensors["state_normaliser.mean"] = zeros
        tensors["state_normaliser.var"] = torch.ones_like(zeros)
        d = dataclasses.replace(d, normaliser_clip=None, normaliser_epsilon=0.0)
    d = dataclasses.replace(d, observation=())  # as of any plain vector
    return Teacher(d, tensors, teacher.min_std).to(teacher.device)


def _is_plain(group: ObservationGroup) -> bool:
    is_vector = len(group.shape) == 1 and group.stack == 1 and not group.choices
    return is_vector and not group.is_image and not group.cnn_features
