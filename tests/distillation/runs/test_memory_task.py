"""A task that needs memory: a recurrent student solves it, one without memory does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from Distillation.custom_run import main_custom
from tests.support.memory.cue_env import ENV_ID, write_teacher

BUDGET = ("--PPD", "--total_timesteps", "9216", "--batch_size", "64", "--mode", "ImpaalaSmall")
ENV = ("--env_id", ENV_ID, "--frames", "env", "--frame_size", "16x32", "--proprio", "0:1")
QUIET = (
    *("--eval_every", "1000000", "--eval_episodes", "5", "--final_episodes", "30"),
    *("--threads", "1", "--device", "cpu", "--no_video", "--wandb", "disabled"),
)


@pytest.mark.slow
def test_only_the_student_with_memory_reaches_a_goal_that_was_shown_earlier(
    tmp_path: Path,
) -> None:
    """With the same budget of env steps, gradient steps and samples."""
    teacher, success = write_teacher(tmp_path / "teacher"), {}
    for memory in ("gru", "none"):
        folder = tmp_path / memory
        where = ("--teacher", str(teacher), "--output", str(folder))
        main_custom([*ENV, *where, *BUDGET, *QUIET, "--recurrent", memory])
        success[memory] = json.loads((folder / "evaluation.json").read_text())["success"]
    assert success["gru"] >= 0.8
    assert success["none"] <= 0.2
