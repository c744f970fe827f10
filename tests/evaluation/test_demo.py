"""`python -m Evaluation.demo`: its table, its video's flags, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from Common.errors import UserError
from Common.files.bounded_read import read_json
from Enviroment import seeds
from Evaluation.demo import play
from Evaluation.demo.__main__ import DemoFlags
from Evaluation.evaluate.episodes import EpisodeStats
from Evaluation.side_by_side.__main__ import SideBySideFlags


def episodes(*returns: float, distance: float | None = None) -> EpisodeStats:
    n = len(returns)
    at_end = None if distance is None else np.full(n, distance)
    near = None if distance is None else np.ones(n, bool)
    start = seeds.EVALUATION.start
    return EpisodeStats(
        np.arange(start, start + n), np.array(returns), np.full(n, 100), at_end, near, near
    )


def test_skill_is_scaled_to_teacher_and_blind_student() -> None:
    played = {
        "teacher": episodes(-20, -30, distance=0.04),
        "student": episodes(-30, -30, distance=0.04),
        "does nothing": episodes(-50, -60),
    }
    figures = play._figures(played, np.array([-40.0, -50.0]))
    # Means: teacher -25, blind -45, student -30, nothing -55.
    skills = {name: own["skill"] for name, own in figures.items()}
    assert skills == pytest.approx(
        {"teacher": 1.0, "student": 0.75, "blind student": 0.0, "does nothing": -0.5}
    )
    assert figures["student"]["distance"] == pytest.approx(0.04)
    assert figures["student"]["success"] == 1.0
    assert figures["blind student"].keys() == {"return", "skill"}


def test_without_a_blind_student_there_is_no_skill() -> None:
    played = {name: episodes(-20) for name in ("teacher", "student", "does nothing")}
    figures = play._figures(played, None)
    assert list(figures) == ["teacher", "student", "does nothing"]
    assert all(own == {"return": -20.0} for own in figures.values())


def test_the_shipped_student_plays_its_published_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filmed: list[tuple[SideBySideFlags, str]] = []
    monkeypatch.setattr(play, "film", lambda *given: filmed.append(given))
    figures = play.show_demo(DemoFlags(episodes=2, output=tmp_path / "demo.mp4"))
    bundle = read_json(play.SHOWN_TEACHER / "teacher.json")["baselines"]
    # The first two evaluation seeds, as stored with the teacher.
    for name, stored in (("teacher", "teacher"), ("does nothing", "nothing")):
        known = np.mean(bundle[stored]["evaluation"][:2])
        assert figures[name]["return"] == pytest.approx(known, abs=0.05), name
    assert figures["student"]["return"] > figures["blind student"]["return"]
    table = capsys.readouterr().out
    assert "success" in table and "does nothing" in table
    ((flags, module),) = filmed
    assert flags.runs == (play.SHOWN_STUDENT,) and flags.teacher == play.SHOWN_TEACHER
    assert flags.output == tmp_path / "demo.mp4" and module == "Evaluation.demo"


def test_bad_flags_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--episodes 0"):
        play.show_demo(DemoFlags(episodes=0))
    with pytest.raises(UserError, match="There is no folder"):
        play.show_demo(DemoFlags(student=tmp_path / "missing"))


def test_a_place_where_nothing_can_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Results").touch()
    monkeypatch.setattr(play, "RESULTS", tmp_path / "Results")
    with pytest.raises(UserError, match=r"demo cannot be written: .* Name a file with --output"):
        play.show_demo(DemoFlags(episodes=1))
