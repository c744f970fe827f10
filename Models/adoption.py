"""Teachers that act in a user's own task."""

from __future__ import annotations

import dataclasses
import sys

from Enviroment.task import Task
from Models.teacher import Teacher


def adopt(teacher: Teacher, task: Task) -> Teacher:
    """The teacher as one of `task`, where that is a user's own: any whose spaces fit can be.

    What was measured of it in another task means nothing there, and is left out. Tasks of the
    registry have teachers of their own: `check_fits` refuses others.
    """
    d = teacher.description
    if not task.custom or d.task in ("", task.name):
        return teacher
    print(f"This teacher was trained on {d.task}; here it acts in {task.name}.", file=sys.stderr)
    d = dataclasses.replace(d, task=task.name, baselines={})
    tensors = teacher.state_dict()
    return Teacher(d, tensors, teacher.min_std, teacher.extractors).to(teacher.device)
