"""Gradients against hand arithmetic and finite differences; pictures against single pixels."""

from __future__ import annotations

from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from gymnasium import spaces

from Enviroment.observations import newest_pictures
from Enviroment.tasks import TASKS
from Evaluation.plots.saliency_picture import Pictures, draw_moments
from Evaluation.saliency.__main__ import SaliencyFlags
from Evaluation.saliency.show import saliency, show_saliency
from Evaluation.tool import run_tool
from Models.distributions import Categorical, DiagGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from tests.support.refusal import refusal


class Linear:
    """Two actions of two frames of 1x2 pixels, by weights (actions, frames, pixels)."""

    weights = torch.tensor([[[3.0, 0.0], [4.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])

    def distribution(self, obs):
        mean = torch.einsum("acw,bchw->ba", self.weights, obs["frame"])
        return DiagGaussian(mean, torch.zeros_like(mean))


def test_saliency_is_the_length_of_the_gradient_over_actions_and_frames():
    # Left pixel: 3 and 4 of the first action, 5 together; right: 1 of the second.
    frames = np.random.default_rng(0).integers(0, 255, (20, 2, 1, 2), np.uint8)
    found = saliency(Linear(), {"frame": frames})  # type: ignore[arg-type]
    np.testing.assert_allclose(found, np.broadcast_to([[[5.0, 1.0]]], (20, 1, 2)))


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--episodes", "2"], "shows one episode"), (["--teacher", "x"], "--teacher")],
)
def test_what_it_has_no_use_for_is_refused(flags, said, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["saliency", "run", *flags])
    tool = partial(run_tool, SaliencyFlags, "Evaluation.saliency", show_saliency)
    assert said in refusal(capsys, tool)


def test_saliency_of_discrete_actions_is_that_of_the_likeliest():
    class Discrete:
        def distribution(self, obs):
            pixel = obs["frame"][:, 0, 0, 0] / 100
            return Categorical(torch.stack([pixel, torch.zeros_like(pixel)], dim=1))

    # ln p = -ln(1 + exp(-x / 100)), at 50: slope 0.01 * (1 - p), p = 1 / (1 + exp(-0.5)).
    obs = {"frame": np.array([[[[50, 0]]]], np.uint8)}
    expected = 0.01 * (1 - 1 / (1 + np.exp(-0.5)))
    np.testing.assert_allclose(
        saliency(Discrete(), obs)[0, 0],  # type: ignore[arg-type]
        [expected, 0.0],
        rtol=1e-6,
    )


def test_saliency_of_a_student_agrees_with_finite_differences():
    torch.manual_seed(0)
    groups = {
        "frame": spaces.Box(0, 255, (4, 16, 16), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    }
    config = StudentConfig(precision="float32")
    student = StudentPolicy(
        spaces.Dict(groups), spaces.Box(-1, 1, (2,)), lambda _: 0.0, config=config
    ).double()
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (1, 4, 16, 16), np.uint8)
    proprio = torch.zeros(1, 3, dtype=torch.float64)
    found = saliency(student.float(), {"frame": frames, "proprio": proprio.float().numpy()})

    def mean(changed):
        dist = student.distribution(
            {"frame": torch.as_tensor(changed).float(), "proprio": proprio.float()}
        )
        assert isinstance(dist, DiagGaussian)
        return dist.mean[0].detach().double().numpy()

    for y, x in [(3, 4), (10, 7)]:
        squares = 0.0
        for channel in range(4):
            low, high = frames.astype(np.float32), frames.astype(np.float32)
            low[0, channel, y, x] -= 0.5
            high[0, channel, y, x] += 0.5
            squares += np.square(mean(high) - mean(low)).sum()
        np.testing.assert_allclose(found[0, y, x], np.sqrt(squares), rtol=0.1)


def test_the_newest_frame_is_gray_or_in_colour():
    stacks = np.arange(12).reshape(1, 12, 1, 1).astype(np.uint8)
    assert newest_pictures(stacks, TASKS["Pusher"])[0, 0, 0].tolist() == [11, 11, 11]
    colour = TASKS["Miner"]
    assert newest_pictures(stacks, colour)[0, 0, 0].tolist() == [9, 10, 11]


def test_what_counts_is_coloured_and_what_does_not_stays_as_it_is():
    frames = np.full((1, 1, 3, 3), 100, np.uint8)
    pictures = Pictures(frames, np.array([[[0.0, 0.5, 1.0]]]))
    # Half: 0.5 * 100 + 0.5 * (213, 94, 0) = (156.5, 97, 50), rounded to even.
    assert pictures.overlay(0)[0].tolist() == [[100, 100, 100], [156, 97, 50], [213, 94, 0]]


def test_a_videos_picture_is_the_frame_and_beside_it_the_coloured_one():
    frames = np.full((1, 64, 64, 3), 100, np.uint8)
    picture = Pictures(frames, np.ones((1, 64, 64))).beside(0)
    assert picture.shape == (384, 768, 3)
    assert picture[200, 10].tolist() == [100, 100, 100]
    assert picture[200, 700].tolist() == [213, 94, 0]


def test_moments_are_drawn_of_short_episodes_too(tmp_path):
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    draw_moments(Pictures(frames, np.zeros((2, 16, 16))), tmp_path / "moments.png", "Two steps")
    light, dark = (iio.imread(tmp_path / f"moments{end}.png")[..., :3] for end in ("", "_dark"))
    assert light[0, 0].tolist() == [255, 255, 255]
    assert dark[0, 0].tolist() == [28, 30, 33]  # the report's ground on dark screens
    assert light.shape == dark.shape
    assert light.min() < 40  # black text on white
    assert dark.max() > 230  # light text on dark
