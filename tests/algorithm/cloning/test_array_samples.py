"""Recordings in memory: stacks, labels, LeRobot's names, and what is refused."""

from __future__ import annotations

import hashlib
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from Algorithm.cloning.samples.array_samples import ArraySamples
from Common.errors import UserError
from Enviroment.observations import FrameStack
from Enviroment.pictures import to_frame

STEPS, SIZE = 12, (16, 24)
ENDS = np.isin(np.arange(STEPS), (4, 11))  # episodes of 5 and 7 steps


def recording(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays = {
        "frames": rng.integers(0, 256, (STEPS, *SIZE), np.uint8),
        "proprio": rng.normal(size=(STEPS, 3)),
        "actions": rng.uniform(-90, 90, (STEPS, 2)),
        "episode_ends": ENDS,
    }
    return {**arrays, **changes}


@pytest.mark.parametrize(("stack", "interval"), [(1, 1), (3, 1), (4, 2)])
def test_stacks_are_those_of_environments(stack: int, interval: int) -> None:
    arrays = recording()
    samples = ArraySamples(**arrays, stack=stack, frame_interval=interval)
    read = samples.read(np.arange(STEPS)[::-1], ["frame"])["frame"][::-1]
    live, begins = FrameStack(samples.task, 1), True
    for step in range(STEPS):
        frame = arrays["frames"][step][None]
        live.push(frame[None])
        if begins:
            live.restart(0, frame)
        begins = ENDS[step]
        np.testing.assert_array_equal(read[step], live.stack(0))
    assert read.shape[1:] == samples.observation_space["frame"].shape


def test_a_label_becomes_the_recorded_action() -> None:
    arrays = recording()
    samples = ArraySamples(**arrays)
    labels = samples.read(np.arange(STEPS), ["distribution.mean", "distribution.log_std"])
    box = samples.action_space
    assert isinstance(box, spaces.Box)
    shares = np.tanh(labels["distribution.mean"].astype(np.float64))
    actions = box.low + (shares + 1) / 2 * (box.high - box.low)
    np.testing.assert_allclose(actions, arrays["actions"], atol=1e-3)
    # A tenth of the range beyond the largest action: tanh(u) = 1 / 1.2 at the edges.
    assert np.abs(labels["distribution.mean"]).max() == pytest.approx(math.atanh(1 / 1.2), rel=1e-4)


def test_given_bounds_are_the_students_and_keep_labels_finite() -> None:
    samples = ArraySamples(**recording(actions=np.full((STEPS, 1), 2.0)), low=-2, high=2)
    assert samples.action_space == spaces.Box(-2, 2, (1,), np.float32)
    mean = samples.read(np.arange(2), ["distribution.mean"])["distribution.mean"]
    np.testing.assert_allclose(mean, math.atanh(0.999), rtol=1e-4)


def test_discrete_actions_are_the_modes_of_their_labels() -> None:
    actions = np.arange(STEPS) % 3
    samples = ArraySamples(**recording(actions=actions), n_actions=4)
    logits = samples.read(np.arange(STEPS), ["distribution.logits"])["distribution.logits"]
    np.testing.assert_array_equal(logits.argmax(axis=1), actions)
    assert (samples.family, samples.action_space) == ("categorical", spaces.Discrete(4))


def test_episodes_are_held_out_as_a_whole() -> None:
    training, held_out = ArraySamples(**recording()).split(0.5, seed=0)
    assert {*held_out.tolist()} in ({*range(5)}, {*range(5, 12)})
    assert sorted([*training, *held_out]) == list(range(STEPS))
    only = ArraySamples(**recording(episode_ends=np.zeros(STEPS, bool)))
    assert [len(part) for part in only.split(0.5, seed=0)] == [STEPS, 0]


def test_statistics_leave_constant_joints_alone() -> None:
    proprio = np.stack([np.arange(STEPS), np.full(STEPS, 7.0)], axis=1)
    mean, std = ArraySamples(**recording(proprio=proprio)).statistics()
    assert mean["proprio"] == [5.5, 7.0]
    assert std["proprio"] == [pytest.approx(math.sqrt((12**2 - 1) / 12)), 1.0]


def test_the_identity_of_large_recordings_is_hashed_in_parts() -> None:
    """Colour frames change their order of axes: at once, that would be a copy of all of them."""
    shape = (2_000, 16, 16, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    samples = ArraySamples(frames, None, np.arange(2_000) % 2, np.ones(2_000, bool))
    tracemalloc.start()
    digest = samples.identity()["sha256"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < frames.nbytes / 2
    whole = hashlib.sha256(repr(samples.task).encode())
    whole.update(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)).tobytes())
    whole.update(np.arange(2_000).tobytes())  # each episode begins at its own step
    logits = 10 * np.eye(2, dtype=np.float32)[np.arange(2_000) % 2]  # of the labels
    whole.update(logits.tobytes())
    assert digest == whole.hexdigest()


def test_the_identity_depends_on_frames_labels_and_episodes() -> None:
    frames = recording()["frames"].copy()
    frames[3, 2, 1] ^= 1
    others = [recording(frames=frames), recording(actions=np.ones((STEPS, 2)))]
    others.append(recording(episode_ends=np.zeros(STEPS, bool)))
    digests = {ArraySamples(**r).identity()["sha256"] for r in (recording(), *others)}
    assert len(digests) == 4
    assert ArraySamples(**recording()).identity()["sha256"] in digests


def lerobot(**changes: Any) -> dict[str, Any]:
    """Columns as LeRobot names them: colour pictures as floats with the channels first."""
    rng = np.random.default_rng(1)
    episodes = np.where(np.arange(STEPS) < 5, 3, 8)
    columns = {
        "observation.images.top": rng.integers(0, 256, (STEPS, 3, 32, 48)) / np.float32(255),
        "observation.state": rng.normal(size=(STEPS, 3)).astype(np.float32),
        "action": rng.normal(size=(STEPS, 2)).astype(np.float32),
        "episode_index": episodes,
        "frame_index": np.concatenate([np.arange(5), np.arange(7)]),
        "task_index": np.zeros(STEPS, int),
    }
    return {name: value for name, value in {**columns, **changes}.items() if value is not None}


class Steps:
    """A dataset of Hugging Face: steps by index, each a dictionary."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self._columns.items()}


@pytest.mark.parametrize("make", [dict, Steps])
def test_lerobots_names_are_understood(make: Any) -> None:
    columns = lerobot()
    samples = ArraySamples.from_lerobot(make(columns), frame_size=SIZE, stack=1)
    training, held_out = samples.split(0.5, 0)
    assert {*held_out.tolist()} in ({*range(5)}, {*range(5, 12)})
    assert len(training) + len(held_out) == STEPS
    read = samples.read(np.arange(STEPS), ["frame", "proprio"])
    # Each pixel is the mean of 2 x 2 pixels.
    means = columns["observation.images.top"].reshape(STEPS, 3, 16, 2, 24, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(read["frame"], 255 * means, atol=0.75)
    np.testing.assert_array_equal(read["proprio"], columns["observation.state"])


def test_one_of_several_cameras_is_chosen() -> None:
    wrist = np.zeros((STEPS, 16, 24), np.uint8)
    data = lerobot(**{"observation.images.wrist": wrist})
    for name in ("wrist", "observation.images.wrist"):
        samples = ArraySamples.from_lerobot(data, name, frame_size=SIZE, grayscale=True)
        assert not samples.read(np.arange(STEPS), ["frame"])["frame"].any()
    for camera, message in ((None, "top or wrist"), ("wirst", "wrist")):
        with pytest.raises(UserError, match=message):
            ArraySamples.from_lerobot(data, camera)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": None}, "no action, only observation.images.top"),
        ({"observation.images.top": None}, "no pictures"),
        ({"frame_index": np.arange(STEPS) * 2}, "Episode 3 goes from `frame_index` 0 to 2"),
        ({"episode_index": np.arange(STEPS) % 2}, "Sort them by `episode_index`"),
    ],
)
def test_incomplete_data_of_lerobot_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ArraySamples.from_lerobot(lerobot(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proprio": np.zeros((STEPS - 1, 3))}, "`frames` 12, `proprio` 11"),
        ({"proprio": np.full((STEPS, 3), np.nan)}, "`proprio` of step 0 are not finite"),
        ({"actions": np.zeros(STEPS)}, r"`actions` \(12,\) must be one vector per step"),
        ({"actions": np.arange(STEPS) - 1}, "0 to 10"),
        ({"frames": np.zeros((STEPS, 16, 24, 4), np.uint8)}, "no picture"),
        ({"frames": np.full((STEPS, 16, 24), 7.0)}, "from 0 to 1"),
        ({"frames": np.zeros((STEPS, 8, 24), np.uint8)}, "between 16 and 1024"),
        ({"grayscale": False}, "gray"),
        ({"low": 0.0}, "`low`"),
        ({"stack": 0}, "stack of 1 to"),
    ],
)
def test_wrong_recordings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ArraySamples(**recording(**changes))


def test_pictures_become_frames() -> None:
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 255
    gray = to_frame(red, SIZE, grayscale=True)
    assert gray.shape == (1, *SIZE)
    assert (gray == 76).all()  # 0.299 of 255
    colour = to_frame(red.transpose(2, 0, 1) / 255.0, (20, 30), grayscale=False)
    np.testing.assert_array_equal(colour, red.transpose(2, 0, 1))
