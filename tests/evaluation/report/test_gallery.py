"""The worst and best episodes of a student, filmed and shown in the report."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import pytest

from Evaluation.evaluate.episodes import run_episodes
from Evaluation.evaluate.subject import open_subject
from Evaluation.gallery.__main__ import GalleryFlags
from Evaluation.gallery.film import film_gallery
from Evaluation.tool import run_tool
from tests.support.evaluated_run import written
from tests.support.refusal import refusal
from tests.support.report.runs import write


def returns_of(folder: Path, seeds: range) -> dict[int, float]:
    """The return of each seed, each evaluated alone."""
    subject = open_subject(folder)
    env = subject.make_env(1)
    act = subject.act()
    found = {s: run_episodes(act, env, subject.task, s, 1).returns[0] for s in seeds}
    env.close()
    return found


def test_the_extreme_episodes_are_filmed_and_shown(finished_run: Path, tmp_path: Path, capsys):
    run = shutil.copytree(finished_run, tmp_path / "runs" / "run")
    result = film_gallery(GalleryFlags(run, episodes=4, worst=1, best=2, height=64))
    folder = run / "diagnostics" / "gallery"
    assert written(folder, "gallery.json") == result
    first = result["episodes"][0]["seed"] if result["episodes"] else 0
    returns = returns_of(run, GalleryFlags(run, episodes=4).seed_range())
    by_return = sorted(returns, key=lambda seed: returns[seed])
    shown = [(episode["kind"], episode["seed"]) for episode in result["episodes"]]
    assert first == by_return[0]
    assert shown == [
        *(("worst of 4", by_return[0]), ("best of 4", by_return[2]), ("best of 4", by_return[3])),
    ]
    for episode in result["episodes"]:
        assert episode["return"] == pytest.approx(returns[episode["seed"]])
        pictures = iio.imread(folder / episode["video"])
        assert len(pictures) == 101  # the start and 100 steps
        assert pictures.shape[1] == 64
    page = write(tmp_path / "runs")
    assert f"Worst of 4: return \u2212{-returns[by_return[0]]:.1f}" in page
    assert len(list((tmp_path / "report" / "media").glob("*.mp4"))) >= 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--worst", "-1"], "--worst -1"),
        (["--worst", "0", "--best", "0"], "--best 0"),
        (["--episodes", "2", "--worst", "2", "--best", "1"], "the 2 episodes"),
        (["--height", "63"], "--height 63"),
        (["--height", "5000"], "--height 5000"),
        ([], "There is no folder nowhere"),
    ],
)
def test_what_cannot_be_filmed_is_refused(flags, said, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gallery", "nowhere", *flags])
    assert said in refusal(
        capsys, partial(run_tool, GalleryFlags, "Evaluation.gallery", film_gallery)
    )
