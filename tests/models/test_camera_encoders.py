"""One encoder for all cameras, or one per camera; and old bundles, which know no cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Common.errors import UserError
from Common.places import RESULTS
from Enviroment.cameras import CameraSet
from Evaluation.evaluate.perturbations import scale_brightness
from Evaluation.evaluate.subject import open_subject
from Models.bundle import read_bundle
from Models.networks.encoders import EncoderSettings
from Models.networks.per_camera import PerCamera, make_encoder
from Models.student import StudentConfig, StudentPolicy, load_student, save_student

STACK, CHANNELS = 3, (2, 1)  # of a camera in gray with depth, and one in gray


def test_each_encoder_reads_its_own_camera_of_all_time_steps() -> None:
    settings = EncoderSettings(1, 0, "float32", CHANNELS)
    encoder = make_encoder("ImpaalaSmall", (STACK * 3, 16, 16), settings)
    assert isinstance(encoder, PerCamera)
    frames = torch.randint(0, 256, (2, STACK * 3, 16, 16), dtype=torch.uint8)
    first, second = (
        part(frames[:, at])
        for part, at in zip(  # by hand: t0 a a b, t1 a a b, ...
            encoder.encoders, ([0, 1, 3, 4, 6, 7], [2, 5, 8]), strict=True
        )
    )
    assert torch.allclose(encoder(frames), torch.cat([first, second], dim=1))
    assert encoder.features_dim == first.shape[1] + second.shape[1]
    with pytest.raises(UserError, match="cameras"):
        make_encoder("ImpaalaSmall", (4, 16, 16), settings)


@pytest.mark.parametrize("critic", [True, False])
def test_a_student_with_an_encoder_per_camera_survives_its_bundle(
    tmp_path: Path, critic: bool
) -> None:
    space = spaces.Dict({"frame": spaces.Box(0, 255, (STACK * 3, 16, 16), np.uint8)})
    config = StudentConfig(proprio_features=0, camera_channels=CHANNELS, separate_critic=critic)
    actions = spaces.Box(-1, 1, (2,), np.float32)
    student = StudentPolicy(space, actions, lambda _: 0.0, config=config)
    save_student(student, tmp_path, {"camera_set": CameraSet().as_json()})
    again = load_student(tmp_path)
    assert again.config.camera_channels == CHANNELS
    obs = {"frame": np.random.default_rng(0).integers(0, 256, (1, 9, 16, 16), np.uint8)}
    one, other = (policy.predict(obs, deterministic=True)[0] for policy in (student, again))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("channels", [(0, 1), (1,) * 9])
def test_wrong_cameras_of_an_encoder_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="`camera_channels`"):
        StudentConfig(camera_channels=channels)
    with pytest.raises(UserError, match="`camera_channels`"):
        StudentConfig(mode="State", camera_channels=(1, 1))


def test_a_bundle_without_cameras_has_those_of_its_task() -> None:
    """This student is of before there was a choice: gray, 4 frames, every second step."""
    bundle = RESULTS / "Pusher" / "students" / "ppd_small"
    assert "camera_set" not in read_bundle(bundle, "student")[1]
    frames = open_subject(bundle).task.camera_set
    assert (frames.rgb, frames.depth, frames.stack, frames.interval) == (False, None, 4, 2)
    assert len(frames.cameras) == 1


def test_brightness_changes_colours_and_no_depth() -> None:
    frames = np.full((1, 4, 2, 2), 100, np.uint8)
    changed = scale_brightness(frames, 1.5, np.array([True, False, True, False]))
    assert changed[0, :, 0, 0].tolist() == [150, 100, 150, 100]
