"""Sight, robustness and saliency of a student of a short run."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from Common.errors import UserError
from Distillation.command import main
from Enviroment.drawing.looks import LookRanges, TurnedCameras
from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.episodes import EpisodeStats
from Evaluation.evaluate.measure import evaluate
from Evaluation.evaluate.subject import open_subject
from Evaluation.robustness import measure as robustness
from Evaluation.robustness.__main__ import RobustnessFlags
from Evaluation.robustness.measure import measure_robustness
from Evaluation.saliency.__main__ import SaliencyFlags
from Evaluation.saliency.show import show_saliency
from Evaluation.sight.__main__ import SightFlags
from Evaluation.sight.measure import compare, judge, measure_sight
from tests.support.evaluated_run import written
from tests.support.short_run import SHORT

pytestmark = pytest.mark.usefixtures("few_timed_actions")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run, tmp_path / "run")


def test_sight_tells_what_each_loss_costs(run: Path, capsys):
    result = measure_sight(SightFlags(run, episodes=2))
    assert written(run / "diagnostics", "sight.json") == result
    variants = result["variants"]
    assert list(variants) == [
        *("as it is", "frames zeroed", "frames frozen at the first"),
        *("frames of another episode", "proprio zeroed", "another, of proprioception alone"),
    ]
    before = written(run)
    assert variants["as it is"]["return"] == before["return"]
    assert variants["as it is"]["skill"] == before["skill"]
    for name, figures in variants.items():
        if name != "as it is":
            assert figures["drop"] == pytest.approx(before["return"] - figures["return"])
    assert result["verdict"] in capsys.readouterr().out


def stats(*returns: float) -> EpisodeStats:
    return EpisodeStats(np.arange(len(returns)), np.array(returns), np.ones(len(returns), int))


def test_the_verdict_is_by_the_frames_of_another_episode():
    as_it_is = stats(-20.0, -24.0, -28.0)
    # Whatever the frames are, the episodes differ by 4 a seed: what falls is paired with it.
    blind = {"teacher": np.full(3, -22.0), "blind": np.full(3, -42.0)}
    variants = compare(
        {"as it is": as_it_is, "frames of another episode": stats(-30.0, -34.0, -38.0)}, blind
    )
    other = variants["frames of another episode"]
    assert (other["drop"], other["drop_low"], other["drop_high"]) == (10.0, 10.0, 10.0)
    assert variants["as it is"]["skill"] == pytest.approx(0.9)  # (-24 + 42) / 20
    assert other["skill"] == pytest.approx(0.4)
    alone = variants["another, of proprioception alone"]
    assert (alone["return"], alone["drop"], alone["skill"]) == (-42.0, 18.0, 0.0)
    used, said = judge(variants)
    assert used
    assert "falls by 10.00 (95%: 10.00 to 10.00), skill from 0.90 to 0.40" in said
    used, said = judge(
        compare({"as it is": as_it_is, "frames of another episode": stats(-19.0, -26.0, -28.0)}, {})
    )
    assert not used
    assert said.startswith("Sight is not shown to be used")


def test_robustness_draws_each_curve_and_plays_the_undisturbed_once(run: Path, monkeypatch):
    few = tuple(
        dataclasses.replace(d, levels=(d.none, d.levels[-1])) for d in robustness.DISTURBANCES
    )
    monkeypatch.setattr(robustness, "DISTURBANCES", few)
    plays = []
    real = robustness.run_episodes
    monkeypatch.setattr(robustness, "run_episodes", lambda *a: plays.append(a) or real(*a))
    result = measure_robustness(RobustnessFlags(run, episodes=1))
    assert len(plays) == 1 + 6
    assert written(run / "diagnostics", "robustness.json") == result
    assert (run / "diagnostics" / "robustness.png").read_bytes().startswith(b"\x89PNG")
    assert list(result["curves"]) == [
        *("brightness", "camera_shift", "camera_turn", "random_looks"),
        *("dropped_frames", "proprio_noise"),
    ]
    undisturbed = {c["levels"][0]["return"] for c in result["curves"].values()}
    disturbed = {c["levels"][1]["return"] for c in result["curves"].values()}
    assert len(undisturbed) == 1
    assert len(disturbed | undisturbed) == 7
    assert (result["teacher_return"], result["blind_return"]) == (-20.0, -100.0)


def test_levels_rise_and_hold_the_one_that_changes_nothing():
    for d in robustness.DISTURBANCES:
        assert list(d.levels) == sorted(d.levels)
        assert d.none in d.levels


def test_a_disturbance_of_no_strength_changes_no_observation(run: Path):
    subject = open_subject(run)
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 255, (2, 1, 16, 16), np.uint8), 4, axis=1)
    obs = {"frame": frames, "proprio": rng.normal(size=(2, 17)).astype(np.float32)}
    for d in robustness.DISTURBANCES:
        perturbed = d.make(subject, d.none)(obs, np.ones(2, bool))
        for group, values in obs.items():
            np.testing.assert_array_equal(perturbed[group], values)
        changed = d.make(subject, d.levels[-1])(obs, np.ones(2, bool))
        if d.looks is not None:  # which the renderer changes
            assert d.looks(d.none) in (LookRanges().scaled(0), TurnedCameras(0.0))
        elif d.name != "dropped_frames":  # an episode's first frame always arrives
            assert not np.array_equal(changed[d.group], obs[d.group])


def test_saliency_leaves_a_video_and_a_picture(run: Path, capsys):
    video, picture = show_saliency(SaliencyFlags(run))
    assert sorted(path.name for path in (run / "diagnostics").iterdir()) == [
        "saliency.mp4",
        "saliency.png",
        "saliency_dark.png",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert b"ftyp" in video.read_bytes()[:16]
    assert str(video) in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--mode", "State"], ["--mode", "ImpaalaSmall", "--blind"]])
def test_who_sees_no_frames_has_no_sight_to_look_at(rated_teacher: Path, tmp_path, flags):
    folder = tmp_path / "run"
    common = ["--PPD", "--teacher", str(rated_teacher), *SHORT, "--wandb", "disabled"]
    main("Pusher", [*common, "--output", str(folder), *flags])
    for tool in (
        lambda: measure_sight(SightFlags(folder, episodes=2)),
        lambda: measure_robustness(RobustnessFlags(folder, episodes=2)),
        lambda: show_saliency(SaliencyFlags(folder)),
    ):
        with pytest.raises(UserError, match=r"instead of frames|is blind"):
            tool()
    before = written(folder)
    figures = evaluate(EvaluateFlags(folder, episodes=2))
    assert {name: figures[name] for name in before} == before


def test_sight_needs_two_episodes(run: Path):
    with pytest.raises(UserError, match="at least 2 episodes"):
        measure_sight(SightFlags(run, episodes=1))
