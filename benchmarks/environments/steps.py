"""The commands that try one environment, from a teacher to an evaluated student."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.environments.rows import Row

TEACHER_STEPS, STUDENT_STEPS, EPISODES = 256, 64, 2
_LIMIT = 20  # env steps of an episode
_QUIET = ("--wandb", "disabled", "--device", "cpu", "--no_video", "--threads", "1")
_STUDENT = ("--mode", "ImpaalaSmall", "--frame_size", "32x32")


class Step(NamedTuple):
    """A command, after `python`."""

    title: str
    words: tuple[str, ...]


def steps(row: Row, folder: Path) -> Iterator[Step]:
    """Yield the commands: train a teacher, look, distil it, and evaluate the student.

    Args:
        folder: where their files go.
    """
    # The last one of a flag applies.
    environment = (*row.environment, "--max_episode_steps", str(_LIMIT))
    teacher, student = folder / "teacher", folder / "student"
    if row.teacher == "pictures":
        yield Step(
            "agent", ("-m", "benchmarks.environments.picture_agent", str(folder), row.env_id)
        )
        convert = ("-m", "Models.teacher", "convert", str(folder / "agent.zip"))
        task = ("--task", *row.environment[1:], "--output", str(teacher))
        yield Step("convert", (*convert, *task))
    else:
        train = ("Train_Teacher/Custom.py", *environment, *_teacher_flags(row), *_QUIET)
        yield Step("teacher", (*train, "--output", str(teacher)))
    distil = ("Distillation/Custom.py", *environment, *row.frames)
    size = () if row.teacher == "pictures" else _STUDENT[2:]
    yield Step("look", (*distil, *size, "--look", str(folder / "look.png")))
    budget = ("--total_timesteps", str(STUDENT_STEPS), "--num_envs", "2", "--num_steps", "16")
    short = ("--batch_size", "16", "--num_epochs", "1", "--eval_episodes", str(EPISODES))
    final = ("--final_episodes", str(EPISODES), "--teacher", str(teacher), "--output", str(student))
    mode = (*_STUDENT[:2], *size)
    yield Step("student", (*distil, *mode, "--PPD", *budget, *short, *final, *_QUIET))
    wrapper = _flag(row.settings, "--wrapper")
    named = ("--env_id", row.env_id, *wrapper, "--episodes", str(EPISODES))
    yield Step("evaluate", ("-m", "Evaluation.evaluate", str(student), *named))


def _teacher_flags(row: Row) -> tuple[str, ...]:
    short = ("--total_timesteps", str(TEACHER_STEPS), "--eval_every", str(TEACHER_STEPS))
    few = ("--eval_episodes", str(EPISODES), "--baseline_episodes", str(EPISODES))
    if row.teacher == "ppo":
        own = ("--n_steps", "64", "--batch_size", "64", "--n_epochs", "1")
    else:
        own = ("--learning_starts", "64", "--gradient_steps", "1")
    return ("--algo", row.teacher, "--num_envs", "2", *own, *short, *few)


def _flag(words: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return a flag with one value, if it is among the words."""
    if name not in words:
        return ()
    at = words.index(name)
    return words[at : at + 2]
