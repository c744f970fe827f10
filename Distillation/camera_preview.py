"""Draw a preview of a task's camera (`--look PNG`): rendered images and the student's frames."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np

from Common.errors import UserError
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Renderer
from Enviroment.drawing.still_pictures import EPISODES
from Enviroment.make import make_env
from Enviroment.observations import FRAME, newest_pictures
from Enviroment.task import Task
from Evaluation.video import draw_inset

_HEIGHT = 480  # pixels of the camera's images
_STEPS = (0, 5, 15, 30)  # env steps with random actions before each image


def write_preview(task: Task, path: Path, *, blind: bool = False) -> None:
    """Write four moments of an episode side by side.

    The upper row shows `env.render()`, if available, the rows below it the view of each camera,
    with the student's frame, of all cameras, in a corner.

    Args:
        blind: zero the student's frames.

    Raises:
        UserError: the task has no camera, or the file cannot be written.
    """
    wrong = f"--look {path} cannot be written. Name a .png file in an existing folder."
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise UserError(wrong)
    with contextlib.closing(make_env(task, 1, seed=0, workers="serial", blind=blind)) as env:
        env.action_space.seed(0)
        actions = np.stack([env.action_space.sample() for _ in range(_STEPS[-1])])
        # First, because Gymnasium assumes that its OpenGL context is the only one of the thread.
        above = _rendered(task, actions, env.get_attr("metadata")[0])
        below = np.hstack(_seen(task, env, actions))  # (cameras * H, 4 * W, 3)
        for _ in range(EPISODES - 1):
            env.reset()  # warns if no pixel shows what resets change
    rows = [below] if above is None else [_as_wide_as(below, above), below]
    if not cv2.imwrite(str(path), np.vstack(rows)[..., ::-1]):
        raise UserError(wrong)
    parts = "the camera's view" if above is None else "above env.render(), below the camera's view"
    moments = ", ".join(map(str, _STEPS))
    print(f"{path}: after {moments} random steps, {parts}; in its corner, the student's frames.")


def _rendered(
    task: Task, actions: np.ndarray, metadata: dict[str, Any] | None
) -> np.ndarray | None:
    """Return images of `env.render()` side by side, (H, 4 * W, 3); print why if None."""
    if "rgb_array" not in ((metadata or {}).get("render_modes") or ()):
        reason = 'its metadata["render_modes"] lists no "rgb_array".'
        print(f"{task.env_id} shows no env.render(): {reason}", file=sys.stderr)
        return None
    try:
        make: Any = gym.make(task.env_id, disable_env_checker=True, render_mode="rgb_array")
        with contextlib.closing(make) as env:
            env.reset(seed=0)
            pictures, seed = [env.render()], 0
            for step, action in enumerate(actions, start=1):
                *_, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    seed += 1
                    env.reset(seed=seed)
                if step in _STEPS:
                    pictures.append(env.render())
            return np.hstack([np.asarray(picture, np.uint8)[..., :3] for picture in pictures])
    except Exception as error:  # user code may raise anything
        reason = str(error).strip() or type(error).__name__
        print(f"{task.env_id} shows no env.render(): {reason}", file=sys.stderr)
        return None


def _seen(task: Task, env: Any, actions: np.ndarray) -> list[np.ndarray]:
    """Return the images of all cameras, one below the other, with the newest frame in a corner.

    Each is `(cameras * H, W, 3)`.
    """
    h, w = task.frame_size
    size = (_HEIGHT, _HEIGHT * w // h)
    drawn = np.zeros((3 * len(task.cameras), *size), np.uint8)
    pictures = []
    with contextlib.closing(Renderer(task.camera, *size, "reference", grayscale=False)) as renderer:
        frames = env.reset()[FRAME]  # (1, stack * channels, h, w)
        view = EnvView(env.get_attr("unwrapped")[0], renderer)
        for step in range(_STEPS[-1] + 1):
            if step in _STEPS:
                view.expect_changes()
                view.render_into(drawn)
                # (cameras * 3, H, W) -> (cameras, H, W, 3) -> (cameras * H, W, 3)
                shown = drawn.reshape(-1, 3, *size).transpose(0, 2, 3, 1)
                picture = np.concatenate(shown)
                draw_inset(picture[:_HEIGHT], newest_pictures(frames[0], task))
                pictures.append(picture)
            if step < len(actions):
                frames = env.step(actions[step][None])[0][FRAME]
    return pictures


def _as_wide_as(row: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return `other`, a row of images (H, W, 3), resized to the width of `row`."""
    height = max(1, round(other.shape[0] * row.shape[1] / other.shape[1]))
    return cv2.resize(other, (row.shape[1], height), interpolation=cv2.INTER_AREA)
