"""The tools of a student that sees `env.render()`, and flags that observed pictures cannot have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from Distillation.custom_run import main_custom
from Evaluation.robustness.__main__ import RobustnessFlags
from Evaluation.robustness.measure import measure_robustness
from Evaluation.saliency.__main__ import SaliencyFlags
from Evaluation.saliency.show import show_saliency
from tests.distillation.runs.test_own_environments_runs import convert
from tests.enviroment.suites.test_custom import SHORT
from tests.support.environments import own_envs
from tests.support.environments.own_envs import LENGTH
from tests.support.refusal import refusal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    own_envs.register()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    own_envs.unregister()


@pytest.mark.parametrize("seen", [(), ("--rgb", "--stack", "2", "--proprio", "joints")])
def test_saliency_and_robustness_of_rendered_frames(seen: tuple[str, ...]) -> None:
    env = convert("groups", "switches", "MultiInputPolicy")
    method = ("--PPD", "--mode", "ImpaalaSmall", "--frame_size", "16x16", *seen)
    main_custom([*env, *method, "--teacher", "teacher", "--output", "run", *SHORT])
    video, picture = show_saliency(SaliencyFlags(run=Path("run")))
    shown = cv2.imread(str(picture))
    assert shown is not None and np.ptp(shown) > 100
    assert cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT) == LENGTH
    result = measure_robustness(RobustnessFlags(run=Path("run"), episodes=2))
    names = {"brightness", "camera_shift", "dropped_frames"}
    assert result["curves"].keys() == names | ({"proprio_noise"} if seen else set())
    written = json.loads(Path("run/diagnostics/robustness.json").read_text())
    for curve in written["curves"].values():
        assert all(level["length"] == LENGTH for level in curve["levels"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rgb",), ""),
        (("--stack", "2"), "--stack: the frames of Line-v0 are colour, 1 of them stacked"),
        (("--frame_interval", "3"), "--frame_interval: the frames of Line-v0"),
        (("--depth",), "--depth: Line-v0 observes pictures"),
        (("--camera", "top"), "not a MuJoCo environment"),
        (("--proprio", "0:2"), "has no state for --proprio"),
    ],
)
def test_observed_pictures_stay_those_of_the_teacher(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--rgb` says what they are already."""
    env = convert("picture", "discrete", "CnnPolicy")
    run = ("--PPD", "--mode", "ImpaalaSmall", "--teacher", "teacher", "--output", "run", *SHORT)
    words = [word for word in run if word not in ("--frame_size", "16x16")]
    if not message:
        main_custom([*env, *words, *flags])
        return
    assert message in refusal(capsys, lambda: main_custom([*env, *words, *flags]))
    assert not Path("run").exists()
