"""Draw a preview of a task's frames (`--look PNG`), with `env.render()` as the judge."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from Common.errors import UserError
from Enviroment.drawing.env_render import fitted, rendered
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Renderer
from Enviroment.drawing.still_pictures import EPISODES
from Enviroment.make import make_env
from Enviroment.observations import FRAME, newest_pictures
from Enviroment.simulation.making import make_environment
from Enviroment.task import Task
from Evaluation.look.show import describe_grid, looks_grid
from Evaluation.video import draw_inset

_HEIGHT = 480  # pixels of the lower row's images
_VISIBLE = 0.05  # gray levels: less is printed as 0.0
_STEPS = (0, 5, 15, 30)  # env steps with random actions before each image


def write_preview(task: Task, path: Path, *, blind: bool = False) -> None:
    """Write four moments of an episode side by side, and print how frames and `env.render()` agree.

    The lower rows show the source of the frames, with the student's frame, of all cameras, in a
    corner: the view of each camera, `env.render()` or the observation. The upper row shows
    `env.render()`, if it is available and not the source itself. With random looks, the first
    frames of episodes with them are below.

    Args:
        blind: zero the student's frames.

    Raises:
        UserError: the task has no frames, or the file cannot be written.
    """
    wrong = f"--look {path} cannot be written. Name a .png file in an existing folder."
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise UserError(wrong)
    looks = task if task.looks is not None and not blind else None
    task = task.plain
    with contextlib.closing(make_env(task, 1, seed=0, workers="serial", blind=blind)) as env:
        env.action_space.seed(0)
        actions = np.stack([env.action_space.sample() for _ in range(_STEPS[-1])])
        # First, because Gymnasium assumes that its OpenGL context is the only one of the thread.
        pictures = _rendered(task, actions, env.get_attr("metadata")[0])
        if task.cameras:
            below, frames = _seen(task, env, actions)
        else:
            frames = _frames(task, env, actions)
            shown = frames if task.frames == "observation" or pictures is None else pictures
            below = [_scaled(picture) for picture in shown]
        for _ in range(EPISODES - 1):
            env.reset()  # warns if no pixel shows what resets change
    for picture, frame in zip(below, frames, strict=True):
        draw_inset(picture[:_HEIGHT], frame)
    rows, parts = [np.hstack(below)], _name_of_source(task)
    if pictures is not None and task.frames != "env":
        rows = [_as_wide_as(rows[0], np.hstack(pictures)), rows[0]]
        parts = f"above env.render(), below {parts}"
    if looks is not None:
        rows.append(_as_wide_as(rows[0], looks_grid(looks)))
    if not cv2.imwrite(str(path), np.vstack(rows)[..., ::-1]):
        raise UserError(wrong)
    moments = ", ".join(map(str, _STEPS))
    print(f"{path}: after {moments} random steps, {parts}; in its corner, the student's frames.")
    if looks is not None:
        print(f"At the bottom of {describe_grid(looks, path)}")
    if pictures is not None and task.frames == "env" and not blind:
        _print_judgement(task, pictures, frames)


def _name_of_source(task: Task) -> str:
    names = {"camera": "the camera's view", "env": "env.render()", "observation": "the observation"}
    return names[task.frames]


def _print_judgement(task: Task, pictures: list[np.ndarray], frames: list[np.ndarray]) -> None:
    """Print how far the student's frames are from a second environment's resized pictures."""
    gray = task.grayscale
    wanted = [_in_colour(fitted(picture, task.frame_size, gray)) for picture in pictures]
    difference = np.abs(np.stack(wanted).astype(int) - np.stack(frames)).mean()
    print(
        f"The frames differ from those of a second environment with the same seed and actions by "
        f"{difference:.1f} of 255 on average"
        + (", so its pictures or episodes are not reproducible." if difference >= _VISIBLE else ".")
    )


def _rendered(
    task: Task, actions: np.ndarray, metadata: dict[str, Any] | None
) -> list[np.ndarray] | None:
    """Return pictures of `env.render()`, each (H, W, 3); print why if None."""
    if "rgb_array" not in ((metadata or {}).get("render_modes") or ()) and task.frames != "env":
        reason = 'its metadata["render_modes"] lists no "rgb_array".'
        print(f"{task.source} shows no env.render(): {reason}", file=sys.stderr)
        return None
    try:
        with contextlib.closing(make_environment(task, renders=True)) as env:
            env.reset(seed=0)
            pictures, seed = [rendered(env)], 0
            for step, action in enumerate(actions, start=1):
                *_, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    seed += 1
                    env.reset(seed=seed)
                if step in _STEPS:
                    pictures.append(rendered(env))
            return pictures
    except Exception as error:  # user code may raise anything
        reason = str(error).strip() or type(error).__name__
        print(f"{task.source} shows no env.render(): {reason}", file=sys.stderr)
        return None


def _frames(task: Task, env: Any, actions: np.ndarray) -> list[np.ndarray]:
    """Return the student's newest frames at the moments, each (h, w, 3)."""
    frames = [newest_pictures(env.reset()[FRAME][0], task)]
    for step, action in enumerate(actions, start=1):
        seen = env.step(action[None])[0][FRAME]
        if step in _STEPS:
            frames.append(newest_pictures(seen[0], task))
    return frames


def _in_colour(picture: np.ndarray) -> np.ndarray:
    """Return a picture (H, W), (H, W, 1) or (H, W, 3) as (H, W, 3)."""
    picture = picture.reshape(*picture.shape[:2], -1)
    return np.repeat(picture, 3 // picture.shape[2], axis=2)


def _seen(task: Task, env: Any, actions: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the images of all cameras, one below the other, and the newest frames.

    Images are (cameras * H, W, 3), frames (h, views * w, 3).
    """
    h, w = task.frame_size
    size = (_HEIGHT, _HEIGHT * w // h)
    drawn = np.zeros((3 * len(task.cameras), *size), np.uint8)
    pictures, frames = [], []
    with contextlib.closing(Renderer(task.camera, *size, "reference", grayscale=False)) as renderer:
        seen = env.reset()[FRAME]  # (1, stack * channels, h, w)
        view = EnvView(env.get_attr("unwrapped")[0], renderer)
        for step in range(_STEPS[-1] + 1):
            if step in _STEPS:
                view.expect_changes()
                view.render_into(drawn)
                # (cameras * 3, H, W) -> (cameras, H, W, 3) -> (cameras * H, W, 3)
                shown = drawn.reshape(-1, 3, *size).transpose(0, 2, 3, 1)
                pictures.append(np.concatenate(shown))
                frames.append(newest_pictures(seen[0], task))
            if step < len(actions):
                seen = env.step(actions[step][None])[0][FRAME]
    return pictures, frames


def _scaled(picture: np.ndarray, height: int = _HEIGHT) -> np.ndarray:
    """Return a new picture (H, W, 3) of this height with the same aspect ratio."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    smaller = height < picture.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    return np.array(cv2.resize(picture, (width, height), interpolation=method))


def _as_wide_as(row: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return `other`, a row of images (H, W, 3), resized to the width of `row`."""
    height = max(1, round(other.shape[0] * row.shape[1] / other.shape[1]))
    return cv2.resize(other, (row.shape[1], height), interpolation=cv2.INTER_AREA)
