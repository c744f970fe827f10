"""`python -m Evaluation.side_by_side RUNS...`: film teacher and students on one seed.

A file `<name>.json` beside the video describes its content and command, for the report.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from stable_baselines3.common.vec_env import VecEnv

from Algorithm.method_registry import method_title
from Common.commands.progress import tracked
from Common.commands.redaction import command_line
from Common.errors import UserError
from Enviroment import seeds
from Enviroment.make import make_env, make_state_env
from Enviroment.observations import FRAME, PROPRIO
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import Act, policy_act
from Evaluation.evaluate.subject import Subject, find_teacher, open_subject
from Evaluation.gif import write_gif
from Evaluation.names import size_name
from Evaluation.report.entries import FILM
from Evaluation.tool import write_json
from Evaluation.video import (
    Played,
    drawn_steps,
    encode,
    episode_pictures,
    play,
    video_fps,
    video_width,
)
from Models.networks.own import given_encoder

if TYPE_CHECKING:
    from Evaluation.side_by_side.__main__ import SideBySideFlags

_MODULE = "Evaluation.side_by_side"
_SEES_STATE = "sees the simulator's state"
_MAX_PLAYERS = 6  # that fit next to each other
_HEIGHTS = (64, 1080)  # pixels
_GAP = 4  # pixels between pictures
_LINGER = 1.5  # seconds for which the last picture is shown
_GROUND, _TEXT, _QUIET = (24, 24, 24), (255, 255, 255), (178, 178, 178)
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@dataclass(frozen=True)
class Player:
    """A policy with its environment and its title in the video."""

    name: str
    observes: str  # second line of the title
    act: Act
    task: Task  # with the player's frame size
    make_env: Callable[[], VecEnv]


def film(flags: SideBySideFlags, module: str = _MODULE) -> None:
    """Write the video, its description and, if requested, the GIF.

    Args:
        module: the command that films, for the description.

    Raises:
        UserError: a run or the given teacher is missing, tasks differ, or a flag is out of range.
    """
    _check(flags)
    players = _players(flags)
    episodes = [_play(player, flags.seed) for player in players]
    pictures = _pictures(players, episodes, flags.seed, flags.height)
    task = players[0].task
    try:
        with contextlib.closing(pictures):
            first = next(pictures)
            size = (first.shape[1], first.shape[0])
            encode(chain([first], pictures), size, video_fps(task), flags.output)
    except (OSError, RuntimeError) as error:
        raise UserError(f"--output {flags.output} cannot be written: {error}") from error
    description = {
        "kind": FILM,
        "task": task.name,
        "seed": flags.seed,
        "players": [
            {"name": player.name, "return": sum(episode.rewards)}
            for player, episode in zip(players, episodes, strict=True)
        ],
        "command": command_line(["python", "-m", module, *sys.argv[1:]]),
    }
    write_json(flags.output.with_suffix(".json"), description)
    print(f"video    {flags.output}")
    if flags.gif is not None:
        width = write_gif(flags.output, flags.gif, size[0])
        print(f"gif      {flags.gif} ({flags.gif.stat().st_size:,} bytes, {width} pixels wide)")


def _check(flags: SideBySideFlags) -> None:
    if flags.seed < 0:
        raise UserError(f"--seed {flags.seed}: seeds start at 0.")
    if not _HEIGHTS[0] <= flags.height <= _HEIGHTS[1]:
        raise UserError(f"--height {flags.height} is outside {_HEIGHTS[0]} to {_HEIGHTS[1]}.")
    if not 1 <= len(flags.runs) <= _MAX_PLAYERS:
        raise UserError(f"Name 1 to {_MAX_PLAYERS} runs, not {len(flags.runs)}.")
    if flags.names and len(flags.names) != len(flags.runs):
        raise UserError(f"--names has {len(flags.names)} names for {len(flags.runs)} runs.")
    for name, path, suffix in (("output", flags.output, ".mp4"), ("gif", flags.gif, ".gif")):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise UserError(f"--{name} {path}: the name must end in {suffix}.")
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise UserError(f"--{name} {path}: name a file in a folder that exists.")
    described = flags.output.with_suffix(".json")
    if described.exists() and not flags.output.exists():
        raise UserError(f"{described} would be overwritten. Name another --output.")


def _players(flags: SideBySideFlags) -> list[Player]:
    if flags.encoder is not None:
        given_encoder(flags.encoder)  # others may have an encoder of the toolkit
    subjects = [open_subject(path, flags.env_id, flags.wrapper) for path in flags.runs]
    tasks = {subject.task.name: subject.folder for subject in subjects}
    if len(tasks) > 1:
        each = ", ".join(f"{path} has {task}" for task, path in tasks.items())
        raise UserError(f"A video shows a single task, but {each}.")
    task = subjects[0].task
    if not task.has_frames:
        raise UserError(f"{task.name} has no frames and cannot be filmed.")
    names = flags.names or _distinct([_name(subject) for subject in subjects], flags.runs)
    students = [_student(subject, name) for subject, name in zip(subjects, names, strict=True)]
    reference = None if flags.no_teacher else find_teacher(subjects[0], flags.teacher)
    if reference is None:
        return students
    if reference.teacher.description.task != task.name:
        raise UserError(
            f"The teacher is for {reference.teacher.description.task}, not {task.name}."
        )
    name = "Teacher with noise" if reference.is_corrupted else "Teacher"
    act = policy_act(reference.teacher, deterministic=task.judged_by_mode)
    if not task.has_state:
        observes = _sees_frames(task)
        return [Player(name, observes, act, task, lambda: make_env(task, 1, flags.seed)), *students]
    return [Player(name, _SEES_STATE, act, task, lambda: make_state_env(task, 1, 0)), *students]


def _student(subject: Subject, name: str) -> Player:
    observes, has_proprio = _SEES_STATE, PROPRIO in subject.groups
    if FRAME in subject.groups:
        observes = _sees_frames(subject.task) + (" and its joints" if has_proprio else "")
    if subject.blind:
        observes = "sees nothing" + (", feels its joints" if has_proprio else "")
    act = policy_act(subject.student, deterministic=subject.task.judged_by_mode)
    return Player(name, observes, act, subject.task, lambda: subject.make_env(1))


def _sees_frames(task: Task) -> str:
    height, width = task.frame_size
    return f"sees {width}x{height} frames"


def _name(subject: Subject) -> str:
    described = subject.description
    size = size_name(described["config"] if subject.run is None else subject.run.config["student"])
    return f"{method_title(str(described.get('method', 'student')))}, {size}".rstrip(", ")


def _distinct(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Append the folder's name to duplicate names."""
    return [
        f"{name} ({folder.resolve().name})" if names.count(name) > 1 else name
        for name, folder in zip(names, folders, strict=True)
    ]


def _play(player: Player, seed: int) -> Played:
    torch.manual_seed(seeds.model(0))  # the generator of sampled actions
    env = player.make_env()
    try:
        return play(player.act, env, player.task, seed)
    finally:
        env.close()


def _pictures(
    players: Sequence[Player], episodes: Sequence[Played], seed: int, height: int
) -> Generator[np.ndarray, None, None]:
    """Yield pictures `(H, W, 3)` of all players, until shortly after the last episode ends."""
    height -= height % 2
    task = players[0].task
    longest = max(len(drawn_steps(len(episode.rewards), task)) for episode in episodes)
    longest += round(_LINGER * video_fps(task))
    with contextlib.ExitStack() as stack:
        columns = []
        for player, episode in zip(players, episodes, strict=True):
            size = (video_width(player.task, height), height)
            drawn = episode_pictures(episode, player.task, seed, size)
            columns.append(_column(player, episode, stack.enter_context(contextlib.closing(drawn))))
        for _ in tracked(range(longest), longest, "pictures"):
            row = [next(column) for column in columns]
            gap = np.full((row[0].shape[0], _GAP, 3), 255, np.uint8)
            yield np.hstack([part for panel in row for part in (panel, gap)][:-1])


def _column(
    player: Player, episode: Played, pictures: Iterator[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield one player's pictures, each below its title, and repeat the last one forever."""
    returns = [0.0, *np.cumsum(episode.rewards)]
    panel = np.zeros((0, 0, 3), np.uint8)
    steps = drawn_steps(len(episode.rewards), player.task)
    for picture, step in zip(pictures, steps, strict=True):
        panel = np.vstack([_title(player, picture.shape[1], returns[step], ended=False), picture])
        yield panel
    header = _title(player, panel.shape[1], returns[-1], ended=True)
    yield from repeat(np.vstack([header, panel[header.shape[0] :]]))


def _title(player: Player, width: int, so_far: float, *, ended: bool) -> np.ndarray:
    """Return a bar `(56, width, 3)` with the name, the return so far and the observations."""
    large, small = (16, 12) if width >= 300 else (12, 10)
    bar = Image.new("RGB", (width, 56), _GROUND)
    write = ImageDraw.Draw(bar).text  # at the left or right end of the baseline: "ls", "rs"
    total = f"return {so_far:.1f}".replace("-", "\u2212")
    bold, plain = _font(large, bold=True), _font(large)
    write((width - 10, 24), total, _TEXT, bold if ended else plain, "rs")
    room = width - 24 - bold.getlength(total)
    name = player.name
    while name and bold.getlength(name) > room:
        name = name[:-2] + "\u2026" if len(name) > 2 else ""
    write((10, 24), name, _TEXT, bold, "ls")
    write((10, 45), player.observes, _QUIET, _font(small), "ls")
    return np.asarray(bar)


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return Matplotlib's sans-serif font; OpenCV's own fonts differ between its versions."""
    return ImageFont.truetype(_FONTS / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)
