"""Bundles of students without their critic: they act the same, and a critic begins anew."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Common.errors import UserError
from Distillation.starting.initial_student import read_initial_student
from Evaluation.export.__main__ import ExportFlags, main
from Evaluation.export.student_file import export
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentConfig, StudentPolicy
from tests.support.bundle_edits import change_description

FRAME = spaces.Box(0, 255, (4, 16, 16), np.uint8)
GROUPS: dict[str, spaces.Space] = {
    "frame": FRAME,
    "proprio": spaces.Box(-np.inf, np.inf, (17,), np.float32),
    "state": spaces.Box(-np.inf, np.inf, (23,), np.float32),
}
KINDS: dict[str, dict[str, Any]] = {
    "shared features": {},
    "critic on the state": {"critic_on_state": True},
    "separate critic": {"separate_critic": True, "proprio_features": 0, "fully_connected": 8},
}


def make_student(seed: int, **network: Any) -> StudentPolicy:
    """With weights drawn from the seed, and statistics of the groups that are not 0 and 1."""
    torch.manual_seed(seed)
    config = {"family": "squashed_gaussian", "precision": "float32", "head": (8,), **network}
    sizes = {"proprio": 17, "state": 23}
    return StudentPolicy(
        spaces.Dict(GROUPS),
        spaces.Box(-2.0, 2.0, (7,), np.float32),
        lambda _: 0.0,
        config=StudentConfig(**config),
        group_mean={name: [float(seed)] * size for name, size in sizes.items()},
        group_std={name: [2.0] * size for name, size in sizes.items()},
    )


@pytest.fixture(params=KINDS)
def student(request: pytest.FixtureRequest) -> StudentPolicy:
    return make_student(1, **KINDS[request.param])


@pytest.fixture
def folder(student: StudentPolicy, tmp_path: Path) -> Path:
    """Of its bundle without the critic."""
    save_student(student, tmp_path / "whole", {"task": "Pusher", "frame_interval": 2})
    return export(ExportFlags(tmp_path / "whole", "bundle", tmp_path / "actor"))


def observations(student: StudentPolicy) -> dict[str, np.ndarray]:
    groups = student.all_groups()
    groups.seed(0)
    return {name: np.stack([groups.sample()[name] for _ in range(3)]) for name in groups.spaces}


def test_it_acts_to_the_bit_and_has_only_the_critic_anew(student: StudentPolicy, folder: Path):
    loaded = load_student(folder)
    obs = observations(student)
    actions = student.eval().predict(obs, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], actions)
    now = loaded.state_dict()
    renewed = {name for name, tensor in student.state_dict().items() if not now[name].equal(tensor)}
    # Biases begin at 0 in every critic, so only weights tell.
    assert renewed and all(name.startswith(("critic.", "critic_encoder.")) for name in renewed)
    assert {"critic.0.weight", "critic.2.weight"} <= renewed
    assert ("critic_encoder" in str(renewed)) == student.config.separate_critic


def test_the_new_critic_is_always_the_same_and_draws_nothing(folder: Path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = load_student(folder).state_dict()
    assert torch.rand(3).equal(expected)
    second = load_student(folder).state_dict()
    assert all(second[name].equal(tensor) for name, tensor in first.items())


def test_it_is_smaller_by_the_critic_and_says_so(tmp_path: Path, capsys):
    student = make_student(1, head=(256, 256))
    save_student(student, tmp_path / "whole", {"task": "Pusher", "frame_interval": 2})
    folder = export(ExportFlags(tmp_path / "whole", "bundle", tmp_path / "actor"))
    sizes = [(path / "student.safetensors").stat().st_size for path in (tmp_path / "whole", folder)]
    critic = 4 * sum(tensor.numel() for tensor in student.critic.parameters())
    assert critic <= sizes[0] - sizes[1] < critic + 600  # the file's head names its tensors
    assert f"{sizes[1] / 1e6:.2f} MB" in capsys.readouterr().out


def test_it_can_be_exported_again(folder: Path, tmp_path: Path):
    again = export(ExportFlags(folder, "bundle", tmp_path / "again"))
    name = "student.safetensors"
    assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_run_that_begins_with_it_keeps_its_own_critic(student: StudentPolicy, folder: Path):
    mine = make_student(2, **dataclasses.asdict(student.config))
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    read_initial_student(folder).give_weights(mine)
    theirs = student.state_dict()
    for name, tensor in mine.state_dict().items():
        assert tensor.equal((before if name.startswith("critic") else theirs)[name]), name


# -- bad input -----------------------------------------------------------------------------------


def test_a_false_size_of_the_critic_allocates_nothing(tmp_path: Path):
    save_student(make_student(1), tmp_path, {"task": "Pusher"}, critic=False)

    def enlarge(description: dict[str, Any]) -> None:
        description["config"]["critic_head"] = [2**16, 2**16]  # 17 GB

    change_description(tmp_path / "student.json", enlarge)
    with pytest.raises(UserError, match="its critic has more than"):
        load_student(tmp_path)


def test_a_bundle_that_lacks_its_critic_without_saying_so(tmp_path: Path):
    save_student(make_student(1), tmp_path, {"task": "Pusher"}, critic=False)
    change_description(tmp_path / "student.json", lambda description: description.pop("critic"))
    with pytest.raises(UserError, match=r"lack \['critic\.0\.bias'"):
        load_student(tmp_path)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("whole", "is the bundle itself: its critic would be lost"),
        ("older", "already exists. Add --overwrite"),
        ("file", "is not a folder"),
    ],
)
def test_an_output_that_holds_something(
    output: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    for name in ("whole", "older"):
        save_student(make_student(1), tmp_path / name, {"task": "Pusher", "frame_interval": 2})
    (tmp_path / "file").touch()
    before = (tmp_path / "older" / "student.safetensors").read_bytes()
    command = ["export", tmp_path / "whole", "--format", "bundle", "--output", tmp_path / output]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2 and said in capsys.readouterr().err
    assert (tmp_path / "older" / "student.safetensors").read_bytes() == before
