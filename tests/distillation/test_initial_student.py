"""Students that a run begins with, as their bundles have them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Common.errors import UserError
from Distillation.flags.parse import parse
from Distillation.starting.initial_student import read_initial_student
from Enviroment.tasks import TASKS
from Models.networks.paper import paper_student
from Models.student.bundle import save_student
from Models.student.policy import StudentPolicy


def test_the_papers_smaller_student_of_games_goes_on(tmp_path: Path) -> None:
    """Its network has no --mode: any on frames stands for it."""
    game = dataclasses.replace(TASKS["Pong"], frame_size=(36, 36))
    frames = spaces.Dict({"frame": spaces.Box(0, 255, (4, 36, 36), np.uint8)})
    config = paper_student("atari", "smaller", "categorical")
    policy = StudentPolicy(frames, spaces.Discrete(6), lambda _: 0.0, config=config)
    save_student(policy, tmp_path / "begun", {"task": "Pong", "blind": False})
    initial = read_initial_student(tmp_path / "begun")
    start = ["--PPD", "--init_from", str(tmp_path / "begun")]
    for mode in ((), ("--mode", "ImpaalaBig")):
        resolved = initial.flags(parse(game, [*start, *mode]))
        assert resolved.student.pooling == config.pooling
    assert initial.config(critic_on_state=False) == initial.policy.config
    assert initial.policy.config.mode == "NatureCNN"
    with pytest.raises(
        UserError, match=r"NatureCNN, that of this run State\. Give any other --mode"
    ):
        initial.flags(parse(TASKS["Pusher"], start))
    with pytest.raises(UserError, match="Give --frame_size 36x36"):
        initial.flags(parse(game, [*start, "--frame_size", "84x84"]))
