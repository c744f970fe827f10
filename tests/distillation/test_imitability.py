"""Imitability: a small run of cloning, whose figures go into the bundle of the teacher."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from Common.errors import UserError
from Distillation.imitability import measure
from Distillation.imitability.__main__ import ImitabilityFlags
from Distillation.imitability.measure import measure_imitability
from Models.teacher.conversion import describe
from Models.teacher.corruption import corrupt
from Models.teacher.policy import Teacher, record_baseline, save_teacher
from tests.support.short_run import write_teacher


@pytest.fixture
def tiny_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENV_STEPS": 200, "GRADIENT_STEPS": 2, "EPISODES": 2}.items():
        monkeypatch.setattr(measure, name, value)


@pytest.mark.usefixtures("tiny_budget")
def test_the_figures_go_into_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = write_teacher(tmp_path / "teacher")
    record_baseline(bundle, "blind", {"evaluation": [-70.0] * 100, "validation": [-70.0] * 100})
    before = Teacher.load(bundle)
    found = measure_imitability(ImitabilityFlags(bundle))
    said = capsys.readouterr().out
    after = Teacher.load(bundle)
    assert after.description.imitability == found
    assert (found.student, found.env_steps, found.gradient_steps) == ("ImpaalaSmall", 200, 2)
    # The teacher has -20 on every seed, the blind student -70, by `write_teacher` and above.
    assert found.skill == pytest.approx((found.mean_return + 70) / 50, rel=1e-6)
    assert found.ratio is None
    assert found.success == 0.0
    # The same teacher: runs with it go on, and its hashes match.
    assert after.description.identity == before.description.identity
    assert after.description.sha256 == before.description.sha256
    assert after.description.baselines_sha256 == before.description.baselines_sha256
    assert said == f"Imitability of {bundle}: {found}\n"
    assert f"return {found.mean_return:.2f}, skill {found.skill:.3f}, success 0%" in said
    assert str(found) in describe(after)
    assert [path.name for path in tmp_path.iterdir()] == ["teacher"]  # the run is not kept


@pytest.mark.usefixtures("tiny_budget")
def test_in_the_papers_suites_the_student_sees_the_state(tmp_path: Path) -> None:
    hopper = {"state_dim": 11, "action_dim": 3, "bound": 1.0, "task": "Hopper"}
    bundle = write_teacher(tmp_path / "teacher", **hopper)
    found = measure_imitability(ImitabilityFlags(bundle))
    assert found.student == "State"
    assert found.skill is None
    assert found.success is None


def test_another_teacher_has_another_imitability(tmp_path: Path) -> None:
    """Neither a corrupted teacher nor one in another task is the one that was cloned."""
    plain = Teacher.load(write_teacher(tmp_path / "plain"))
    imitability = measure.Imitability("State", 1, 1, 1, 1, "a processor", np.pi)
    description = dataclasses.replace(plain.description, imitability=imitability)
    save_teacher(tmp_path / "known", plain.state_dict(), description, {})
    known = Teacher.load(tmp_path / "known")
    assert known.description.imitability == imitability
    assert corrupt(known, 0.05, 0).description.imitability is None


# -- bad input ------------------------------------------------------------------------------------


def test_a_teacher_of_another_environment_is_refused(tmp_path: Path) -> None:
    for task, named in {"Reach": "Reach", "": "an environment without a name"}.items():
        bundle = write_teacher(tmp_path / f"of {task}", task=task)
        with pytest.raises(UserError, match=f"is a teacher of {named}, which is no task"):
            measure_imitability(ImitabilityFlags(bundle))


def test_what_is_no_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no teacher"):
        measure_imitability(ImitabilityFlags(tmp_path))


@pytest.mark.parametrize("wrong", [3, {"student": "State"}, {"mean_return": "high"}])
def test_a_bundle_with_wrong_figures_is_refused(wrong: object, tmp_path: Path) -> None:
    bundle = write_teacher(tmp_path / "teacher")
    path = bundle / "teacher.json"
    data = json.loads(path.read_text())
    del data["description_sha256"]  # as an older bundle, which has none
    path.write_text(json.dumps({**data, "imitability": wrong}))
    with pytest.raises(UserError, match="is not a valid teacher: imitability"):
        Teacher.load(bundle)


def test_a_folder_that_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_teacher(tmp_path / "teacher")
    monkeypatch.setattr(measure.os, "access", lambda folder, mode: False)
    with pytest.raises(UserError, match=r"cannot be written\. Copy the teacher"):
        measure_imitability(ImitabilityFlags(bundle))
