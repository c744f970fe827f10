"""`--look PNG`: what a task's camera shows, and what its student gets of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np

from Enviroment.errors import UserError
from Enviroment.make import make_env
from Enviroment.observations import FRAME
from Enviroment.render import Renderer
from Enviroment.task import Task
from Evaluation.video import draw_inset

_HEIGHT = 480  # pixels
_STEPS = (0, 5, 15, 30)  # env steps, with random actions, after which a picture is taken


def write_preview(task: Task, path: Path) -> None:
    """Four pictures of one episode side by side, each with the student's own frame in a corner.

    Raises:
        UserError: the task has no camera, or the file cannot be written.
    """
    pictures = np.hstack(_pictures(task))  # (H, 4 * W, 3)
    if path.suffix.lower() != ".png" or not cv2.imwrite(str(path), pictures[..., ::-1]):
        raise UserError(f"--look {path} cannot be written. Name a .png file in a folder that is.")
    print(f"{path}: after {', '.join(map(str, _STEPS))} random steps; in the corner, the frames.")


def _pictures(task: Task) -> list[np.ndarray]:
    h, w = task.frame_size
    pictures = []
    with contextlib.closing(make_env(task, 1, seed=0, workers="serial")) as env:
        assert task.camera is not None  # `make_env` refuses tasks without
        model, data = (env.get_attr(name)[0] for name in ("model", "data"))
        size = (_HEIGHT, _HEIGHT * w // h)
        renderer = Renderer(model, task.camera, *size, "reference", grayscale=False)
        with contextlib.closing(renderer):
            frames = env.reset()[FRAME]  # (1, stack, h, w)
            env.action_space.seed(0)
            for step in range(_STEPS[-1] + 1):
                if step in _STEPS:
                    picture = renderer.render(data)
                    draw_inset(picture, np.repeat(frames[0, -1, ..., None], 3, axis=2))
                    pictures.append(picture)
                frames = env.step(env.action_space.sample()[None])[0][FRAME]
    return pictures
