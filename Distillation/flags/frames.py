"""Apply the flags of frames to a task: cameras, colour, depth, stacking, size and looks."""

from __future__ import annotations

import dataclasses

from Common.errors import UserError
from Distillation.flags.resolve import Flags
from Enviroment.custom import with_frames
from Enviroment.drawing.looks import LookRanges, parse_look_ranges
from Enviroment.task import Task


def framed(task: Task, flags: Flags) -> Task:
    """Return the task with the frames of the flags.

    Raises:
        UserError: the task has no such camera, or cannot have such frames.
    """
    s = flags.student
    task = with_frames(
        task,
        camera=s.camera,
        rgb=s.rgb,
        depth=s.depth,
        depth_range=s.depth_range,
        stack=s.stack,
        frame_interval=s.frame_interval,
        frame_size=flags.frame_size,
    )
    if s.randomise_looks and not s.blind:
        ranges = LookRanges() if s.look_ranges is None else parse_look_ranges(s.look_ranges)
        task = dataclasses.replace(task, looks=ranges)
    if s.camera_encoders == "separate" and len(task.cameras) < 2:
        raise UserError(
            "--camera_encoders separate needs several cameras. Give them by --camera, or leave "
            "it out."
        )
    return task
