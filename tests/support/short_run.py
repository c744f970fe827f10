"""Short runs of `Distillation/Pusher.py`: flags, teacher, what comes of them, how they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from Common.runs.files import read_metrics
from Distillation.command import main
from Models.teacher.policy import save_teacher
from tests.support.refusal import refusal
from tests.support.tiny_teacher import tiny_teacher

SHORT = (
    *("--total_timesteps", "24", "--num_envs", "2", "--num_steps", "4", "--batch_size", "4"),
    *("--eval_every", "1000", "--eval_episodes", "2", "--final_episodes", "2", "--threads", "1"),
    *("--frame_size", "16x16", "--device", "cpu", "--no_video"),
)


def write_teacher(folder: Path, **changes: object) -> Path:
    returns = {"validation": [-60.0] * 100, "evaluation": [-60.0] * 100}
    better = {"validation": [-20.0] * 100, "evaluation": [-20.0] * 100}
    teacher = tiny_teacher(baselines={"teacher": better, "nothing": returns}, **changes)  # pyright: ignore[reportArgumentType]
    save_teacher(folder, teacher.state_dict(), teacher.description, {})
    return folder


def failure(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What a command that must fail says on standard error; its exit code is 2."""
    return refusal(capsys, lambda: main("Pusher", list(flags)))


def without_time(point: dict) -> dict:
    """A logging point without what no two runs have in common."""
    return {k: v for k, v in point.items() if not k.startswith("time/") and k != "eval/seconds"}


def outcome(folder: Path) -> tuple:
    """All that a run and its continuation must have in common with a run that never stopped: the
    best student, every logging point, the final figures, and the state at the end of the training
    (weights, optimizer, generators, simulators).
    """
    last = max((folder / "checkpoints").glob("step_*"))
    return (
        (folder / "student" / "student.safetensors").read_bytes(),
        [without_time(point) for point in read_metrics(folder)],
        (folder / "evaluation.json").read_bytes(),
        last.name,
        (last / "state.safetensors").read_bytes(),
    )
