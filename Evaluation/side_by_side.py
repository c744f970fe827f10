"""`python -m Evaluation.side_by_side RUNS...`: film teacher and students on one seed.

A file `<name>.json` beside the video describes its content and command, for the report.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import tyro
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
from Evaluation.tool import run_tool, write_json
from Evaluation.video import (
    Played,
    drawn_steps,
    encode,
    episode_pictures,
    play,
    video_fps,
    video_width,
)

_MODULE = "Evaluation.side_by_side"
_SEES_STATE = "sees the simulator's state"
_MAX_PLAYERS = 6  # that fit next to each other
_HEIGHTS = (64, 1080)  # pixels
_GAP = 4  # pixels between pictures
_LINGER = 1.5  # seconds for which the last picture is shown
_GROUND, _TEXT, _QUIET = (24, 24, 24), (255, 255, 255), (178, 178, 178)
_FONT = cv2.FontFace("sans")


@dataclass(frozen=True)
class SideBySideFlags:
    """Film the teacher and students side by side on the same episode."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or students' bundles
    teacher: Path | None = None  # bundle, or run with one; default: the teacher of the first run
    no_teacher: bool = False  # show only students
    names: tuple[str, ...] = ()  # one per run; default: method and size
    seed: int = seeds.EVALUATION.start  # of the episode
    env_id: str | None = None  # package:Id-v0 of the students' task; imports the package
    wrapper: str | None = None  # package:Class of its wrappers; imports the packages
    height: int = 360  # pixels of each picture
    output: Path = Path("side_by_side.mp4")
    gif: Path | None = None  # the same as a GIF of at most 2 MB


@dataclass(frozen=True)
class Player:
    """A policy with its environment and its title in the video."""

    name: str
    observes: str  # second line of the title
    act: Act
    task: Task  # with the player's frame size
    make_env: Callable[[], VecEnv]


def film(flags: SideBySideFlags) -> None:
    """Write the video, its description and, if requested, the GIF.

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
        "command": command_line(["python", "-m", _MODULE, *sys.argv[1:]]),
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
    large, small = (18, 14) if width >= 300 else (14, 11)
    bar = np.full((56, width, 3), _GROUND, np.uint8)
    total = f"return {so_far:.1f}".replace("-", "\u2212")
    right = cv2.PUT_TEXT_ALIGN_RIGHT
    cv2.putText(bar, total, (width - 10, 24), _TEXT, _FONT, large, 600 if ended else 400, right)
    room = width - 24 - _text_width(total, large, 600)
    name = player.name
    while name and _text_width(name, large, 600) > room:
        name = name[:-2] + "\u2026" if len(name) > 2 else ""
    cv2.putText(bar, name, (10, 24), _TEXT, _FONT, large, 600)
    cv2.putText(bar, player.observes, (10, 45), _QUIET, _FONT, small, 400)
    return bar


def _text_width(text: str, size: int, weight: int) -> int:
    return cv2.getTextSize((0, 0), text, (0, 0), _FONT, size, weight)[2]


if __name__ == "__main__":
    run_tool(SideBySideFlags, _MODULE, film)
