"""The spatial soft-argmax, and students with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from Common.errors import UserError
from Models.networks.keypoints import KeypointEncoder, soft_argmax
from Models.student import StudentConfig, StudentPolicy, load_student, save_student
from Models.student.deployed import to_onnx

SHAPE = (4, 40, 48)


def test_the_soft_argmax_by_hand_on_a_grid_of_2_by_3() -> None:
    """x is -1, 0, 1 in the columns, y is -1, 1 in the rows."""
    maps = torch.tensor([[[0.0, 1.0, 2.0], [0.5, 0.0, -1.0]]], dtype=torch.float64)
    e = [[math.exp(v) for v in row] for row in maps[0].tolist()]
    total = sum(map(sum, e))
    x = (-e[0][0] - e[1][0] + e[0][2] + e[1][2]) / total
    y = (sum(e[1]) - sum(e[0])) / total
    assert soft_argmax(maps[None])[0, 0].tolist() == pytest.approx([x, y], abs=1e-15)


def test_a_single_peak_is_found_and_a_flat_map_is_in_the_middle() -> None:
    maps = torch.zeros(1, 4, 5, 7)
    maps[0, 0, 4, 0] = maps[0, 1, 0, 6] = maps[0, 2, 2, 3] = 1e3
    places = soft_argmax(maps)[0]
    expected = [[-1, 1], [1, -1], [0, 0], [0, 0]]  # left bottom, right top, the centre, flat
    torch.testing.assert_close(places, torch.tensor(expected, dtype=torch.float32))


def test_a_shift_of_the_maps_moves_the_places_by_that_much() -> None:
    blob = torch.zeros(1, 1, 16, 16)
    blob[0, 0, 5:8, 4:7] = 30.0
    moved = blob.roll((3, 2), dims=(2, 3))
    step = 2 / 15  # from pixel to pixel
    by = soft_argmax(moved) - soft_argmax(blob)
    torch.testing.assert_close(by, torch.tensor([[[2 * step, 3 * step]]]))


def test_features_are_two_per_keypoint_within_the_picture() -> None:
    torch.manual_seed(0)
    encoder = KeypointEncoder(4, (16, 32), 6, "float32")
    features = encoder(torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8))
    assert features.shape == (3, encoder.features_dim) == (3, 12)
    assert features.dtype == torch.float32
    assert features.abs().max() <= 1


def test_features_below_zero_have_a_gradient() -> None:
    """A ReLU before the maps would leave none, and the student would stay blind."""
    torch.manual_seed(0)
    encoder = KeypointEncoder(1, (8,), 3, "float32")
    last = [module for module in encoder.sequences.modules() if isinstance(module, nn.Conv2d)][-1]
    with torch.no_grad():
        assert last.bias is not None
        last.bias -= 1e3
    encoder(torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)).sum().backward()
    first = next(encoder.sequences.parameters())
    assert first.grad is not None
    assert first.grad.abs().max() > 0


def make_student(**config: object) -> StudentPolicy:
    torch.manual_seed(0)
    groups = {
        "frame": spaces.Box(0, 255, SHAPE, np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    }
    actions = spaces.Box(-1, 1, (2,), np.float32)
    settings = StudentConfig(precision="float32", **config)  # pyright: ignore[reportArgumentType]
    return StudentPolicy(spaces.Dict(groups), actions, lambda _: 1e-3, config=settings)


def observed(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "frame": rng.integers(0, 256, (n, *SHAPE), np.uint8),
        "proprio": rng.normal(size=(n, 3)).astype(np.float32),
    }


def test_a_bundle_gives_the_same_actions_and_old_ones_have_none(tmp_path: Path) -> None:
    student = make_student(keypoints=8)
    save_student(student, tmp_path, {})
    loaded = load_student(tmp_path)
    assert loaded.config.keypoints == 8
    ours, theirs = (p.predict(observed(5), deterministic=True)[0] for p in (student, loaded))
    np.testing.assert_array_equal(ours, theirs)
    assert "keypoints" not in StudentConfig().as_json()


def test_onnx_gives_its_actions() -> None:
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    student: Any = make_student(keypoints=8)
    with torch.no_grad():  # or else all maps are nearly flat, and anything would agree
        student.encoder.maps.weight *= 100
        student.actor[-1].weight *= 50
    session = onnxruntime.InferenceSession(to_onnx(student), providers=["CPUExecutionProvider"])
    for n in (5, 1):
        expected = student.predict(observed(n), deterministic=True)[0]
        actions = session.run(["action"], observed(n))[0]
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
        assert len(np.unique(actions, axis=0)) == n


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"keypoints": -1}, "`keypoints` -1 must be 0 to 4096"),
        ({"keypoints": 5000}, "`keypoints` 5000 must be"),
        ({"keypoints": 8, "mode": "State"}, "not for mode State"),
        ({"keypoints": 8, "mode": "NatureCNN", "fully_connected": 8}, "not for mode NatureCNN"),
        ({"keypoints": 8, "fully_connected": 8}, "without a fully connected layer"),
    ],
)
def test_wrong_keypoints_are_refused(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        StudentConfig(**config)
