"""Use teachers in a user's own task."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from Enviroment.custom import rules_of
from Enviroment.simulation.making import make_environment
from Enviroment.state_layout import StateGroup, state_groups
from Enviroment.task import Task
from Models.teacher.description import ObservationGroup, TeacherDescription
from Models.teacher.flat_state import state_parts
from Models.teacher.policy import Teacher


def adopt(teacher: Teacher, task: Task) -> Teacher:
    """Return the teacher as one of `task` if that is a user's own task.

    Any teacher with matching spaces is allowed. Its baselines in another task, or in the same one
    with other arguments, wrappers or time limit, are left out. Tasks of the registry have their own
    teachers: `check_fits` rejects others.
    """
    if not task.custom:
        return teacher
    if task.has_state:
        teacher = of_flat_state(teacher, task)
    d, rules = teacher.description, rules_of(task)
    if d.task in ("", task.name) and (d.rules == rules or not d.baselines):
        return teacher
    there, here = _named(d.task or task.name, d.rules), _named(task.name, rules)
    unused = " Its stored returns are not used." if d.baselines else ""
    print(f"This teacher was trained on {there}; here it acts in {here}.{unused}", file=sys.stderr)
    d = dataclasses.replace(
        d, task=task.name, rules=rules, baselines={}, successes={}, imitability=None
    )
    return teacher.described_as(d)


def _named(task: str, rules: Mapping[str, Any]) -> str:
    return f"{task} with {json.dumps(rules)}" if rules else task


def of_flat_state(teacher: Teacher, task: Task) -> Teacher:
    """Return the same teacher for the flattened state of its task's environment.

    A teacher of one vector with statistics is returned unchanged. The groups of a dictionary are
    read by name, as in SB3: the environment may have them in another order than the one of the
    teacher's training.

    Raises:
        UserError: the environment cannot be made, or lacks a group of the teacher.
    """
    d = teacher.description
    if d.state_parts or d.features_extractor or (len(d.groups) == 1 and _is_vector(d.groups[0])):
        return teacher
    with contextlib.closing(make_environment(task)) as env:
        layout = state_groups(env.observation_space)
    if _is_one_vector(d, layout):
        return _of_one_vector(teacher)
    parts = state_parts(d.groups, layout)
    d = dataclasses.replace(d, state_parts=parts, flat_dim=layout[-1].end)
    return teacher.described_as(d)


def _is_one_vector(d: TeacherDescription, layout: Sequence[StateGroup]) -> bool:
    """Return whether the groups one after another are the flattened state, normalised alike."""
    theirs = [(group.name, group.space.shape) for group in layout]
    if [(group.name, group.shape) for group in d.groups] != theirs:
        return False
    # One clip would apply to all groups.
    return all(map(_is_plain, d.groups)) and len({group.normalised for group in d.groups}) == 1


def _of_one_vector(teacher: Teacher) -> Teacher:
    """Return the same teacher for one vector instead of a dictionary of vectors."""
    d = teacher.description
    groups = d.groups
    tensors = teacher.state_dict()
    if not groups[0].normalised:
        zeros = torch.zeros(d.state_dim, dtype=torch.float64, device=teacher.device)
        tensors["state_normaliser.mean"] = zeros
        tensors["state_normaliser.var"] = torch.ones_like(zeros)
        d = dataclasses.replace(d, normaliser_clip=None, normaliser_epsilon=0.0)
    d = dataclasses.replace(d, observation=())  # a plain vector
    return teacher.described_as(d, tensors)


def _is_vector(group: ObservationGroup) -> bool:
    # Without statistics it is binary (MultiBinary): students read the statistics of vectors only.
    return not group.name and group.normalised and _is_plain(group)


def _is_plain(group: ObservationGroup) -> bool:
    is_vector = len(group.shape) == 1 and group.stack == 1 and not group.choices
    return is_vector and not group.is_image and not group.cnn_features
