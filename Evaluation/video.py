"""Record videos of single episodes, with the student's frames in a corner."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from Common.commands.progress import Progress, tracked
from Common.errors import UserError
from Common.files.durable import partial_path
from Enviroment.drawing.env_render import RenderedView, rendered
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Quality, Renderer
from Enviroment.observations import newest_pictures
from Enviroment.simulation.making import make_environment, make_simulation
from Enviroment.simulation.step_rate import steps_per_second
from Enviroment.tasks import Task
from Evaluation.caption import captioned
from Evaluation.evaluate.episodes import Act, Obs, begin_episodes, terminal_state

_WIDTHS = (240, 1280)  # pixels, of the video
_INSET_SHARE = 3  # the inset's height is one third of the video's
_BORDER = 2  # pixels of white around the inset
_MARGIN = 10  # pixels between the inset and the video's edges
_MAX_FPS = 60  # pictures per second; rendering dominates the time to make a video


@dataclass(frozen=True)
class Recording:
    """An episode, and its video if recording succeeded."""

    path: Path | None
    episode_return: float  # NaN if it could not be played
    length: int  # env steps


def record_video(
    act: Act,
    env: VecEnv,
    task: Task,
    path: Path | str,
    seed: int,
    height: int = 480,
    title: str = "",
) -> Recording:
    """Play the episode of `seed` and write its video, see `write_video`.

    The episode is played in `env` with the student's usual observations. If any step fails, there
    is one warning and no file, and the run continues.

    Args:
        act: the policy.
        env: environments, of which worker 0 plays. Episodes in progress are discarded. The newest
            frame is shown in the corner, except in State mode.
    """
    path = Path(path)
    try:
        played = play(act, env, task, seed)
    except Exception as error:
        _warn(path, error)
        return Recording(None, math.nan, 0)
    written = write_video(played, task, path, seed, height, title)
    return Recording(written, played.episode_return, len(played.actions))


def write_video(
    played: Played,
    task: Task,
    path: Path,
    seed: int,
    height: int = 480,
    title: str = "",
    quality: Quality = "reference",
) -> Path | None:
    """Write a played episode to `path` as an H.264 mp4 at the task's own speed.

    The episode is repeated in Gymnasium's environment, which is rendered. If that fails, there is
    one warning and no file.

    Args:
        path: path ending in `.mp4`; an existing file is replaced once the new one is complete.
        height: height in pixels; the width follows from the aspect ratio of the task's frames.
        title: text at the top of the pictures, above the episode's return and success; "" for
            neither.
        quality: "reference" as in Gymnasium, or "fast": 2% of the time, without shadows.

    Returns: `path`, or None.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = video_width(task, height), height
        pictures = episode_pictures(played, task, seed, size, quality)
        n_pictures = len(drawn_steps(len(played.actions), task))
        with contextlib.closing(pictures):
            shown: Iterator[np.ndarray] = tracked(pictures, n_pictures, "pictures", path.name)
            if title:
                shown = captioned(shown, [title, played.outcome(task)])
            encode(shown, size, video_fps(task), path)
    except Exception as error:
        _warn(path, error)
        return None
    return path


def _warn(path: Path, error: Exception) -> None:
    what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    warnings.warn(f"Cannot record {path.name}: {what}", RuntimeWarning, stacklevel=3)


@dataclass
class Played:
    """A played episode, not yet rendered."""

    actions: list[np.ndarray] = field(default_factory=list)  # one per step
    rewards: list[float] = field(default_factory=list)  # one per step
    # The student's frames (H, views * W, 3), one more than steps; empty in State mode.
    views: list[np.ndarray] = field(default_factory=list)
    distance: float | None = None  # m, at the end; None if the task defines none

    @property
    def episode_return(self) -> float:
        """Return the sum of the rewards."""
        return sum(self.rewards)

    def outcome(self, task: Task) -> str:
        """Return the episode's return and success in words."""
        text = f"return {self.episode_return:.1f}"
        if task.distance is None or self.distance is None:
            return text
        success = "success" if self.distance < task.distance.success_below else "no success"
        return f"{text}, {success} ({100 * self.distance:.1f} cm)"


class Recorder:
    """Records the first episode of worker 0 while episodes are played (a `Watcher`)."""

    def __init__(self, task: Task) -> None:
        self.played = Played()
        self.is_over = False
        self._task = task

    def acts(self, obs: Obs, actions: np.ndarray) -> None:
        """Take observation and action of a step."""
        if self.is_over:
            return
        if isinstance(obs, dict) and "frame" in obs:
            self.played.views.append(newest_pictures(obs["frame"][0], self._task))
        self.played.actions.append(np.array(actions[0]))

    def stepped(
        self, rewards: np.ndarray, dones: np.ndarray, infos: Sequence[Mapping[str, Any]]
    ) -> None:
        """Take the outcome of a step."""
        if self.is_over:
            return
        self.played.rewards.append(float(rewards[0]))
        self.is_over = bool(dones[0])
        if not self.is_over:
            return
        if self.played.views:
            last = infos[0]["terminal_observation"]["frame"]
            self.played.views.append(newest_pictures(last, self._task))
        if self._task.distance is not None:
            self.played.distance = float(self._task.distance(terminal_state(infos[0])))


def play(act: Act, env: VecEnv, task: Task, seed: int) -> Played:
    """Play the episode of `seed` in worker 0, rendering only the student's observations."""
    recorder = Recorder(task)
    env.seed(seed)
    obs: Any = env.reset()
    begin_episodes(act, np.ones(env.num_envs, bool))
    with Progress(None, "env steps", "playing") as progress:
        while not recorder.is_over:
            actions = act(obs)
            recorder.acts(obs, actions)
            obs, rewards, dones, infos = env.step(actions)
            recorder.stepped(rewards, dones, infos)
            begin_episodes(act, dones)
            progress.advance()
    return recorder.played


def episode_pictures(
    played: Played,
    task: Task,
    seed: int,
    size: tuple[int, int],
    quality: Quality = "reference",
) -> Generator[np.ndarray, None, None]:
    """Yield the episode's pictures `(H, W, 3)`, one per step of `drawn_steps`.

    Pictures of games, and of observations that are pictures, are the observed frames, enlarged.

    Args:
        size: `(W, H)` in pixels.
        quality: see `write_video`.

    Raises:
        RuntimeError: Gymnasium's rewards differ from those of the played episode.
        UserError: the task has no camera, or the machine has no usable OpenGL.
    """
    width, height = size
    drawn = drawn_steps(len(played.actions), task)
    if not task.has_state:
        yield from (_enlarged(played.views[step], height, width) for step in drawn)
        return
    renders = task.frames == "env"
    with contextlib.closing(make_simulation(task, renders=renders)) as env:
        env.reset(seed=seed)
        with _opened_view(task, env, height, width, quality) as view:
            yield _with_inset(view.render(), played, 0)
            moves = zip(played.actions, played.rewards, strict=True)
            for step, (action, reward) in enumerate(moves, start=1):
                _check_repeated(seed, step, reward, float(env.step(action)[1]))
                if step in drawn:
                    yield _with_inset(view.render(), played, step)


@contextlib.contextmanager
def _opened_view(
    task: Task, env: gym.Env, height: int, width: int, quality: Quality
) -> Iterator[EnvView | RenderedView]:
    """Open the view of the task's frames, that of the first camera, in colour."""
    if task.frames == "env":
        yield RenderedView(env, (height, width), grayscale=False)
        return
    if not task.cameras:
        raise UserError(f"{task.name} has no frames, so its episodes cannot be rendered.")
    with contextlib.closing(
        Renderer(task.cameras[0], height, width, quality=quality, grayscale=False)
    ) as renderer:
        yield EnvView(env, renderer)


def _enlarged(view: np.ndarray, height: int, width: int) -> np.ndarray:
    """Enlarge a frame by nearest neighbour: `(h, w, 3)` -> `(H, W, 3)`."""
    rows = np.arange(height) * view.shape[0] // height
    columns = np.arange(width) * view.shape[1] // width
    return np.ascontiguousarray(view[rows][:, columns])  # required by ffmpeg


def _check_repeated(seed: int, step: int, reward: float, repeated: float) -> None:
    if not np.isclose(repeated, reward, rtol=1e-4, atol=1e-5):
        raise RuntimeError(
            f"step {step} of seed {seed} had reward {reward} when played, "
            f"but {repeated} when repeated for rendering"
        )


def video_fps(task: Task) -> float:
    """Return the pictures per second for the task's own speed."""
    return steps_per_second(task) / _steps_per_picture(task)


def drawn_steps(length: int, task: Task) -> list[int]:
    """Return which of an episode's steps 0 to `length` are rendered.

    These are its start, its end and, between them, all steps, or every n-th if there are more per
    second than the video shows.
    """
    return [*range(0, length, _steps_per_picture(task)), length]


def _steps_per_picture(task: Task) -> int:
    return math.ceil(steps_per_second(task) / _MAX_FPS)


def _with_inset(picture: np.ndarray, played: Played, index: int) -> np.ndarray:
    if played.views:
        draw_inset(picture, played.views[index])
    return picture


def draw_inset(picture: np.ndarray, view: np.ndarray) -> None:
    """Draw the student's frame, with a thin white border, into the picture's lower left corner.

    Scaling is by nearest neighbour, so that the student's resolution is visible.

    Args:
        picture: `(H, W, 3)`, modified in place.
        view: `(h, w, 3)`, enlarged by an integer factor to about a third of the picture's height,
            or reduced if it is higher or wider than there is room.
    """
    rooms = (picture.shape[0] // _INSET_SHARE, picture.shape[1] - 2 * (_MARGIN + _BORDER))
    scale = min(room / side for room, side in zip(rooms, view.shape, strict=False))
    scale = int(scale) if scale >= 1 else scale
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
    """Return the width in pixels for the aspect ratio of the task, even as in H.264.

    It is that of the frames, or of `env.render()` if that is their source.
    """
    frame_height, frame_width = task.frame_size
    if task.frames == "env":
        with contextlib.closing(make_environment(task, renders=True)) as env:
            env.reset(seed=0)
            frame_height, frame_width = rendered(env).shape[:2]
    width = round(height * frame_width / frame_height)
    return min(max(width, _WIDTHS[0]), _WIDTHS[1]) // 2 * 2


def encode(pictures: Iterator[np.ndarray], size: tuple[int, int], fps: float, path: Path) -> None:
    """Write pictures `(H, W, 3)` as H.264 for browsers; `size` is (W, H), both even.

    The file has another name until it is complete, so that an interrupted one is never shown.
    """
    unfinished = partial_path(path)
    encoder = imageio_ffmpeg.write_frames(
        str(unfinished),
        size,
        fps=fps,  # pyright: ignore[reportArgumentType]  floats are valid
        codec="libx264",
        quality=6,  # x264's CRF 20
        macro_block_size=2,  # 16, the default, would stretch most sizes
        ffmpeg_log_level="error",
        output_params=["-movflags", "+faststart", "-f", "mp4"],
    )
    try:
        encoder.send(None)
        try:
            for picture in pictures:
                encoder.send(picture)
        finally:
            encoder.close()
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
