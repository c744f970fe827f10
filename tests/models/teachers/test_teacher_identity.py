"""A teacher is known by all that it acts and scores by, not by its weights alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from Common.errors import UserError
from Distillation.starting.teacher_data import check_labels
from Enviroment.dataset.collect import repair
from Enviroment.dataset.format import same_teacher
from Enviroment.dataset.reader import TeacherDataset
from Evaluation.evaluate.subject import find_teacher, open_subject
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher
from tests.support.bundle_edits import change_description
from tests.support.refusal import refusal
from tests.support.tiny_dataset import ArithmeticTeacher, collect_tiny
from tests.support.tiny_teacher import tiny_teacher

# Of the description's fields: those that change what the teacher does, and those that do not.
ACTS = {
    "activation": "Tanh",
    "normaliser_clip": 5.0,
    "normaliser_epsilon": 1e-4,
    "reward_scale": 2.0,
    "gamma": 0.9,
    "action_low": (-1.0,) * 7,
    "sha256": "0" * 64,
    "corruption_sigma": 0.1,
}
TELLS = {"command": "another", "versions": {"torch": "1"}, "task": "", "algo": "td3"}


@pytest.mark.parametrize("field", [*ACTS, *TELLS, "baselines"])
def test_the_identity_is_of_all_that_the_teacher_acts_by(field: str) -> None:
    d = tiny_teacher().description
    returns = {"blind": {"evaluation": [-1.0]}}
    other = replace(d, **{field: {**ACTS, **TELLS, "baselines": returns}[field]})
    assert (other.identity != d.identity) == (field in ACTS)
    assert (other.baselines_sha256 != d.baselines_sha256) == (field == "baselines")


def test_the_identity_stays_what_it_was_in_every_later_version() -> None:
    """It stands in the files of runs and datasets. Fields at their default are not in it."""
    text = json.dumps(
        {
            "action_dim": 7, "action_high": [2.0] * 7, "action_low": [-2.0] * 7,
            "activation": "ReLU", "actor_layers": [8], "critic_layers": [8],
            "family": "squashed_gaussian", "gamma": 0.99, "n_critics": 1,
            "normaliser_clip": 10.0, "normaliser_epsilon": 1e-08, "observation": [],
            "reward_scale": 1.0, "state_dim": 23, "value_kind": "state",
        },
        sort_keys=True,
    )  # fmt: skip
    assert tiny_teacher().description.identity == hashlib.sha256(text.encode()).hexdigest()


# -- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def own_teacher(teacher: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(teacher, tmp_path / "own")
    return tmp_path / "own"


def test_a_run_does_not_go_on_with_a_teacher_that_was_changed(
    own_teacher: Path, pusher: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--PPD", "--teacher", str(own_teacher))
    run, written = pusher(*flags), (own_teacher / "teacher.json").read_text()
    changes: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (lambda d: d.update(activation="Tanh"), "teacher.identity was"),
        (lambda d: d.update(normaliser_clip=5.0), "teacher.identity was"),
        (lambda d: d["baselines"].update(blind={"validation": [-50.0]}), "teacher.baselines was"),
    ]
    for change, told in changes:
        (own_teacher / "teacher.json").write_text(written)
        change_description(own_teacher / "teacher.json", change)
        assert told in refusal(capsys, lambda: pusher(*flags, "--resume"))
    # Runs of earlier versions do not tell, and go on.
    path = run / "config.json"
    config = json.loads(path.read_text())
    del config["teacher"]
    path.write_text(json.dumps(config))
    pusher(*flags, "--resume")
    assert "there is nothing to do" in capsys.readouterr().err


def test_a_student_knows_its_teacher_again(own_teacher: Path, pusher: Callable[..., Path]) -> None:
    run = pusher("--PPD", "--teacher", str(own_teacher))
    (run / "config.json").unlink()  # the bundle alone
    taught = find_teacher(open_subject(run), own_teacher)
    assert taught is not None and taught.is_own
    change_description(own_teacher / "teacher.json", lambda d: d.update(activation="Tanh"))
    taught = find_teacher(open_subject(run), own_teacher)
    assert taught is not None and not taught.is_own


# -- datasets ------------------------------------------------------------------------------------


def test_a_dataset_knows_its_teacher_again(tmp_path: Path) -> None:
    mine, other = tiny_teacher(), tiny_teacher()
    other = Teacher(replace(other.description, activation="Tanh"), other.state_dict())
    recorded = dict(TeacherLabeller(mine).identity)
    assert same_teacher(recorded, TeacherLabeller(mine).identity)
    assert not same_teacher(recorded, TeacherLabeller(other).identity)
    del recorded["identity"]  # a dataset of an earlier version
    assert same_teacher(recorded, TeacherLabeller(other).identity)
    dataset = TeacherDataset.open(collect_tiny(tmp_path / "data", 20))
    asked = {**dict(TeacherLabeller(mine).identity)}
    dataset.manifest.recipe.teacher.clear()
    dataset.manifest.recipe.teacher.update(asked)
    check_labels(dataset, mine)
    with pytest.raises(UserError, match="of the same weights in another network"):
        check_labels(dataset, other)


def test_a_dataset_of_an_earlier_version_is_repaired_and_gone_on_with(tmp_path: Path) -> None:
    """Its manifest has no identity, and keeps none: its shards name its recipe's hash."""

    class Named(ArithmeticTeacher):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.identity = {**self.identity, "identity": name}

    folder = collect_tiny(tmp_path / "old", 20)
    manifest = (folder / "manifest.json").read_bytes()
    repair(folder, Named("new"), [0])  # pyright: ignore[reportArgumentType]
    collect_tiny(folder, 20, teacher=Named("new"), resume=True)
    assert (folder / "manifest.json").read_bytes() == manifest
    folder = collect_tiny(tmp_path / "new", 20, teacher=Named("one"))
    for go_on in (
        lambda: repair(folder, Named("two"), [0]),  # pyright: ignore[reportArgumentType]
        lambda: collect_tiny(folder, 20, teacher=Named("two"), resume=True),
    ):
        with pytest.raises(UserError, match=r"another teacher|begun with other settings"):
            go_on()
