"""Videos of single episodes: what happens, and in a corner what the student sees of it."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from Enviroment.errors import UserError
from Enviroment.render import Renderer
from Enviroment.simulation import make_simulation
from Enviroment.tasks import Task
from Evaluation.evaluate import Act

_WIDTHS = (240, 1280)  # pixels, of the video
_INSET_SHARE = 3  # the inset is a third as high as the video ...
_BORDER = 2  # pixels, of white around it
_MARGIN = 10  # pixels between it and the video's edges
_GAME_FPS = {"atari": 60, "procgen": 15}  # env steps a second, as people play them
_MOST_FPS = 60  # pictures a second; drawing is what a video costs


@dataclass(frozen=True)
class Recording:
    """An episode, and its video if one could be made."""

    path: Path | None
    episode_return: float
    length: int  # env steps


def record_video(
    act: Act, env: VecEnv, task: Task, path: Path, seed: int, height: int = 480
) -> Recording:
    """Play the episode of `seed` and write it to `path` as an H.264 mp4 at the task's own speed.

    The episode is played in `env`, where the student sees what it always sees, and then once more
    in Gymnasium's environment, where it is drawn in reference quality. If drawing or encoding
    fails there is a warning and no file; training goes on.

    Args:
        act: the policy.
        env: worker 0 plays. Its episodes in progress are dropped. The newest frame goes into the
            corner; without frames (State mode) the corner stays empty.
        path: ends in `.mp4`; an older file is replaced when the new one is complete.
        height: pixels; the width has the proportions of the task's frames.
    """
    played = play(act, env, task, seed)
    recording = Recording(path, sum(played.rewards), len(played.actions))
    unfinished = path.with_suffix(".unfinished.mp4")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        width = video_width(task, height)
        pictures = episode_pictures(played, task, seed, (width, height))
        with contextlib.closing(pictures):
            encode(pictures, (width, height), video_fps(task), unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError, UserError) as error:
        if unfinished.exists():
            unfinished.unlink()
        warnings.warn(f"No video {path.name}: {error}", RuntimeWarning, stacklevel=2)
        return Recording(None, recording.episode_return, recording.length)
    return recording


@dataclass(frozen=True)
class Played:
    """An episode that was played and not drawn yet."""

    actions: list[np.ndarray]  # one a step
    rewards: list[float]  # one a step
    views: list[np.ndarray]  # what the student saw, one more than steps; empty in State mode


def play(act: Act, env: VecEnv, task: Task, seed: int) -> Played:
    """Plays the episode of `seed` in worker 0; nothing is drawn but what a student sees."""
    played = Played([], [], [])
    env.seed(seed)
    obs: Any = env.reset()
    done = False
    while not done:
        sees = isinstance(obs, dict) and "frame" in obs
        if sees:
            played.views.append(_newest(obs["frame"][0], task))
        actions = act(obs)
        obs, rewards, dones, infos = env.step(actions)
        played.actions.append(np.array(actions[0]))
        played.rewards.append(float(rewards[0]))
        done = bool(dones[0])
        if done and sees:
            played.views.append(_newest(infos[0]["terminal_observation"]["frame"], task))
    return played


def _newest(stack: np.ndarray, task: Task) -> np.ndarray:
    """`(stack [* 3], H, W)` -> `(H, W, 3)`."""
    if task.grayscale:
        return np.repeat(stack[-1][..., None], 3, axis=2)
    return stack[-3:].transpose(1, 2, 0).copy()


def episode_pictures(
    played: Played, task: Task, seed: int, size: tuple[int, int]
) -> Generator[np.ndarray, None, None]:
    """The episode's pictures `(H, W, 3)` in reference quality, one of each of `drawn_steps`.

    Of a game they are the frames that were played from, enlarged.

    Args:
        size: pixels, `(W, H)`.

    Raises:
        RuntimeError: Gymnasium's rewards differ from those of the episode that was played.
        UserError: the task has no camera, or the machine no usable OpenGL.
    """
    width, height = size
    drawn = drawn_steps(len(played.actions), task)
    if task.is_game:
        yield from (_enlarged(played.views[step], height, width) for step in drawn)
        return
    if task.camera is None:
        raise UserError(f"{task.name} has no camera, so its episodes cannot be drawn.")
    with contextlib.closing(make_simulation(task)) as env:
        env.reset(seed=seed)
        model, data = env.get_wrapper_attr("model"), env.get_wrapper_attr("data")
        with contextlib.closing(
            Renderer(model, task.camera, height, width, quality="reference", grayscale=False)
        ) as renderer:
            yield _with_inset(renderer.render(data), played, 0)
            moves = zip(played.actions, played.rewards, strict=True)
            for step, (action, reward) in enumerate(moves, start=1):
                _check_repeated(seed, step, reward, float(env.step(action)[1]))
                if step in drawn:
                    yield _with_inset(renderer.render(data), played, step)


def _enlarged(view: np.ndarray, height: int, width: int) -> np.ndarray:
    """`(h, w, 3)` -> `(H, W, 3)`, by the nearest pixel."""
    rows = np.arange(height) * view.shape[0] // height
    columns = np.arange(width) * view.shape[1] // width
    return np.ascontiguousarray(view[rows][:, columns])  # as ffmpeg takes it


def _check_repeated(seed: int, step: int, reward: float, repeated: float) -> None:
    if not np.isclose(repeated, reward, rtol=1e-4, atol=1e-5):
        raise RuntimeError(
            f"step {step} of seed {seed} gave the reward {reward} when it was played, "
            f"but {repeated} when it was repeated to be drawn"
        )


def video_fps(task: Task) -> float:
    """Pictures a second, for the task's own speed."""
    return _steps_a_second(task) / _steps_a_picture(task)


def drawn_steps(length: int, task: Task) -> list[int]:
    """Which of an episode's moments 0 to `length` are drawn: its start, its end, and of those
    between all, or every second or third where steps are shorter than a screen can show.
    """
    return [*range(0, length, _steps_a_picture(task)), length]


def _steps_a_picture(task: Task) -> int:
    return math.ceil(_steps_a_second(task) / _MOST_FPS)


def _steps_a_second(task: Task) -> int:
    if task.is_game:
        return _GAME_FPS[task.suite]
    with contextlib.closing(make_simulation(task)) as env:
        return env.metadata["render_fps"]


def _with_inset(picture: np.ndarray, played: Played, index: int) -> np.ndarray:
    if played.views:
        draw_inset(picture, played.views[index])
    return picture


def draw_inset(picture: np.ndarray, view: np.ndarray) -> None:
    """Put what the student sees, in a thin white border, into the picture's lower left corner.

    Pixels stay squares (nearest neighbour), so one sees how little the student gets.

    Args:
        picture: `(H, W, 3)`, drawn into.
        view: `(h, w, 3)`; enlarged by a whole factor to about a third of the picture's height,
            and made smaller only if it is higher than that.
    """
    height = picture.shape[0] // _INSET_SHARE
    scale = max(1, height // view.shape[0]) if view.shape[0] <= height else height / view.shape[0]
    rows = (np.arange(int(view.shape[0] * scale)) / scale).astype(int)
    columns = (np.arange(int(view.shape[1] * scale)) / scale).astype(int)
    inset = np.pad(
        view[rows][:, columns],
        ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0)),
        constant_values=255,
    )
    corner = picture[:-_MARGIN, _MARGIN:][-inset.shape[0] :, : inset.shape[1]]
    corner[:] = inset[: corner.shape[0], : corner.shape[1]]


def video_width(task: Task, height: int) -> int:
    """Pixels, for the proportions of the task's frames; even, as H.264 needs it."""
    frame_height, frame_width = task.frame_size
    width = round(height * frame_width / frame_height)
    return min(max(width, _WIDTHS[0]), _WIDTHS[1]) // 2 * 2


def encode(pictures: Iterator[np.ndarray], size: tuple[int, int], fps: float, path: Path) -> None:
    """Write pictures `(H, W, 3)` as H.264 that browsers can play; `size` is (W, H), even."""
    encoder = imageio_ffmpeg.write_frames(
        str(path),
        size,
        fps=fps,  # pyright: ignore[reportArgumentType]  it takes floats
        codec="libx264",
        quality=6,  # x264's CRF 20
        macro_block_size=2,  # 16, the default, would stretch most sizes
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart"],
    )
    encoder.send(None)
    try:
        for picture in pictures:
            encoder.send(picture)
    finally:
        encoder.close()
