"""The deployed student's files against its own `predict`."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces

from Common.places import ROOT
from Models.student.deployed import Deployed, pooling_matrix, to_onnx, to_torchscript
from Models.student.policy import MODES, StudentConfig, StudentPolicy

LOW, HIGH = np.array([-2, -1, 0], np.float32), np.array([2, 1, 4], np.float32)
ACTIONS: dict[str, spaces.Space] = {
    "gaussian": spaces.Box(LOW, HIGH),
    "squashed_gaussian": spaces.Box(LOW, HIGH),
    "categorical": spaces.Discrete(5),
    "multi_categorical": spaces.MultiDiscrete([2, 4, 3]),
    "bernoulli": spaces.MultiBinary(3),
}
BOXES = ("gaussian", "squashed_gaussian")


def make_student(
    size: tuple[int, int] = (24, 32), actions: spaces.Space | None = None, **config: Any
) -> StudentPolicy:
    """With weights of a size that moves the actions, into the bounds' ends too."""
    torch.manual_seed(0)
    settings = StudentConfig(
        **{"precision": "float32", "family": "squashed_gaussian", "head": (32,), **config}
    )
    groups = {
        "frame": spaces.Box(0, 255, (4, *size), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (5,), np.float32),
        "state": spaces.Box(-np.inf, np.inf, (9,), np.float32),
    }
    student = StudentPolicy(
        spaces.Dict(groups),
        actions or ACTIONS[settings.family],
        lambda _: 1e-3,
        config=settings,
        group_mean={"proprio": [1.0] * 5},
        group_std={"proprio": [0.5] * 5, "state": [3.0] * 9},
    )
    with torch.no_grad():
        for parameter in student.actor.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return student.eval()


def some_obs(student: StudentPolicy, n: int) -> dict[str, np.ndarray]:
    space = student.observation_space
    assert isinstance(space, spaces.Dict)
    space.seed(1)
    drawn = [space.sample() for _ in range(n)]
    return {name: np.stack([obs[name] for obs in drawn]) for name in space.spaces}


def run_onnx(content: bytes, obs: dict[str, np.ndarray]) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["action"], obs)[0]


def check_onnx(student: StudentPolicy) -> np.ndarray:
    """Batches that it was not traced with; returns the actions."""
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    content, obs = to_onnx(student), some_obs(student, 7)
    for n in (7, 1):
        batch = {name: values[:n] for name, values in obs.items()}
        expected = student.predict(batch, deterministic=True)[0]
        actions = run_onnx(content, batch)
        assert actions.shape == expected.shape and actions.dtype == expected.dtype
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
    return run_onnx(content, obs)


# -- ONNX --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_onnx_gives_the_students_actions_whatever_it_sees_with(mode: str):
    units = 16 if mode == "NatureCNN" else 0
    actions = check_onnx(make_student((40, 48), mode=mode, fully_connected=units))
    assert len(np.unique(actions, axis=0)) == 7  # or else anything would agree


@pytest.mark.parametrize("family", ACTIONS)
def test_onnx_gives_the_students_actions_of_every_family(family: str):
    actions = check_onnx(make_student(family=family, mode="State"))
    assert len(np.unique(actions, axis=0)) > 1
    if family in BOXES:
        assert (actions >= LOW).all() and (actions <= HIGH).all()
    if family == "gaussian":
        assert (actions == LOW).any() or (actions == HIGH).any()  # some were clipped


def test_onnx_pools_64x64_frames_to_3x3():
    """16 rows of features into 3 cells: the windows overlap."""
    check_onnx(make_student((64, 64), pooling=3))


@pytest.mark.parametrize(("size", "cells"), [(16, 3), (5, 3), (6, 3), (3, 5), (7, 1)])
def test_the_pooling_matrix_is_torchs_adaptive_pooling(size: int, cells: int):
    x = torch.randn(2, 1, size, dtype=torch.float64)
    expected = F.adaptive_avg_pool1d(x, cells)
    torch.testing.assert_close(
        x @ pooling_matrix(size, cells).double().T, expected, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    "config",
    [
        {"proprio_features": 0, "separate_critic": True},
        {"fully_connected": 16},
        {"std_by_state": False, "family": "gaussian"},
        {"critic_on_state": True},
        *({"activation": name} for name in ("ReLU", "LeakyReLU", "Tanh", "GELU")),
    ],
    ids=str,
)
def test_onnx_gives_the_students_actions_of_other_networks(config: dict):
    check_onnx(make_student(**config))


@pytest.mark.usefixtures("bfloat16")
def test_onnx_of_a_bfloat16_student_is_its_float32_copy():
    student = make_student(precision="bfloat16")
    in_float32 = copy.deepcopy(student)
    in_float32.encoder.precision = "float32"
    obs = some_obs(student, 5)
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    actions = run_onnx(to_onnx(student), obs)
    expected = in_float32.predict(obs, deterministic=True)[0]
    np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
    own = student.predict(obs, deterministic=True)[0]
    assert student.encoder.precision == "bfloat16"  # it is as it was
    assert not np.allclose(own, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(own, expected, rtol=0, atol=0.2)


# -- TorchScript -------------------------------------------------------------------------------


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(
    "config",
    [
        *({"family": family} for family in ACTIONS),
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "fully_connected": 16},
        {"mode": "State", "family": "gaussian"},
    ],
    ids=str,
)
def test_torchscript_gives_the_students_actions_to_the_bit(config: dict):
    student = make_student(**config)
    loaded = torch.jit.load(io.BytesIO(to_torchscript(student, {})))
    obs = some_obs(student, 7)
    for n in (7, 1, 7, 7):  # the executor changes the graph after the first calls
        groups = [torch.as_tensor(obs[name][:n]) for name in student.config.groups]
        batch = {name: values[:n] for name, values in obs.items()}
        np.testing.assert_array_equal(
            loaded(*groups).numpy(), student.predict(batch, deterministic=True)[0]
        )


def test_torchscript_does_not_tell_this_machines_folders():
    content = to_torchscript(make_student(mode="State"), {})
    assert str(ROOT).encode() not in content
    assert b"site-packages" not in content


def test_the_student_is_untouched_and_its_critic_stays_at_home():
    student = make_student()
    before = copy.deepcopy(student.state_dict())
    deployed = Deployed(student)
    assert not any("critic" in name for name in deployed.state_dict())
    assert all(p.requires_grad for p in student.parameters())
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
