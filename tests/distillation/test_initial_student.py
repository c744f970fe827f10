"""Students that a run begins with, as their bundles have them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Common.errors import UserError
from Distillation.flags.parse import parse
from Distillation.starting.initial_student import read_initial_student
from Enviroment.tasks import TASKS
from Models.networks.paper import paper_student
from Models.student.bundle import load_student, save_student
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


@pytest.mark.parametrize(
    ("method", "kept"), [("PPO", True), ("Sdistillation", False), ("Tdistillation", False)]
)
def test_the_critic_of_normalised_rewards_goes_on_where_they_are_learned(
    pusher: Callable[..., Path], tmp_path: Path, method: str, kept: bool
) -> None:
    """With a learning rate of nothing, the student that is saved is the one it began with."""
    begun = shutil.copytree(pusher("--PPD", "--mode", "State"), tmp_path / "begun")
    still = ("--mode", "State", "--learning_rate", "1e-30", "--overwrite")
    folder = pusher(f"--{method}", "--init_from", str(begun), *still)
    before, after = (load_student(run / "student") for run in (begun, folder))
    same = {
        head: all(
            torch.allclose(tensor, getattr(after, head).state_dict()[name])
            for name, tensor in getattr(before, head).state_dict().items()
        )
        for head in ("actor", "critic")
    }
    assert same == {"actor": True, "critic": kept}
