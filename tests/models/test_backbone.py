"""A frozen, pretrained backbone of an own encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces
from torch import Tensor, nn

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Common.errors import UserError
from Common.runs.packing import pack, unpack
from Models.networks.backbone import read_backbone
from Models.networks.own import given_encoder
from Models.student import StudentConfig, StudentPolicy, load_student, save_student
from Models.student.policy import trained_state
from tests.support.cloning_data import FRAME_SHAPE, MemoryData

ACTIONS = spaces.Box(-2, 2, (2,), np.float32)


def network() -> nn.Sequential:
    """Its statistics of batches would change in training mode."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
    )


class Pretrained(nn.Module):
    """The backbone sees each frame of the stack by itself."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone = network()
        self.head = nn.Linear(shape[0] * 4 * 4 * 4, 6)

    def forward(self, frames: Tensor) -> Tensor:
        b, c, h, w = frames.shape
        return self.head(self.backbone(frames.view(b * c, 1, h, w) / 255).view(b, -1))


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    tensors = network().state_dict()
    tensors["1.running_mean"], tensors["1.running_var"] = torch.randn(4), torch.rand(4) + 0.5
    return tensors


@pytest.fixture
def file(weights: dict[str, Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "backbone.safetensors"
    safetensors.torch.save_file(weights, path)
    return path


def make_student(sha256: str, cls: type[nn.Module] = Pretrained) -> StudentPolicy:
    torch.manual_seed(0)
    groups: dict[str, spaces.Space] = {"frame": spaces.Box(0, 255, FRAME_SHAPE, np.uint8)}
    config = StudentConfig(
        mode=given_encoder(cls),
        family="squashed_gaussian",
        proprio_features=0,
        backbone_sha256=sha256,
    )
    return StudentPolicy(spaces.Dict(groups), ACTIONS, lambda _: 1e-3, config=config)


def pretrained(file: Path) -> StudentPolicy:
    backbone = read_backbone(file)
    student = make_student(backbone.sha256)
    assert backbone.give_weights(student.encoder, student.config.mode) == []
    return student


def frozen(policy: StudentPolicy) -> dict[str, Tensor]:
    prefix = "encoder.module.backbone."
    state = policy.state_dict()
    return {n.removeprefix(prefix): t.clone() for n, t in state.items() if n.startswith(prefix)}


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_training_leaves_every_bit_of_it(file: Path, weights: dict[str, Tensor]) -> None:
    student = pretrained(file)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    model = BehaviouralCloning(
        student, MemoryData(), CloningConfig(gradient_steps=5, batch_size=16, weight_decay=0.1)
    ).learn()
    assert_equal(frozen(student), weights)
    changed = {name for name, p in student.named_parameters() if not p.equal(before[name])}
    assert "encoder.module.head.weight" in changed
    assert not any("backbone" in name for name in changed)
    optimised = {id(p) for group in model.optimizer.param_groups for p in group["params"]}
    backbone = student.get_submodule("encoder.module.backbone")
    assert optimised.isdisjoint(map(id, backbone.parameters()))
    assert not backbone.training and student.training is False
    student.train()
    assert student.training and not any(module.training for module in backbone.modules())


def test_checkpoints_leave_it_out_and_bundles_have_it_once(
    file: Path, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    student = pretrained(file)
    assert not any("backbone" in name for name in trained_state(student))
    save_student(student, tmp_path / "bundle", {})
    stored = safetensors.torch.load_file(tmp_path / "bundle" / "student.safetensors")
    assert sum(name.endswith("backbone.0.weight") for name in stored) == 1
    loaded = load_student(tmp_path / "bundle")
    assert_equal(frozen(loaded), weights)
    assert loaded.config.backbone_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    backbone = loaded.get_submodule("encoder.module.backbone")
    assert not any(p.requires_grad for p in backbone.parameters())
    obs = {"frame": np.random.default_rng(0).integers(0, 256, (3, *FRAME_SHAPE), np.uint8)}
    student.eval()
    ours, theirs = (p.predict(obs, deterministic=True)[0] for p in (student, loaded))
    np.testing.assert_array_equal(ours, theirs)


def test_a_restored_training_goes_on_to_the_bit(file: Path) -> None:
    config = CloningConfig(gradient_steps=6, batch_size=16)
    whole = BehaviouralCloning(pretrained(file), MemoryData(), config).learn()

    def stopped_learn() -> Any:
        model = BehaviouralCloning(pretrained(file), MemoryData(), config)
        states: list[Any] = []

        def boundary() -> None:
            if model.gradient_steps == 3 and not states:
                states.append(unpack(*pack(model.capture())))
                raise StopIteration

        model.on_boundary = boundary
        with pytest.raises(StopIteration):
            model.learn()
        return states[0]

    again = BehaviouralCloning(pretrained(file), MemoryData(), config)
    again.restore(stopped_learn())
    again.learn()
    assert_equal(again.policy.state_dict(), whole.policy.state_dict())


def test_weights_that_it_has_no_use_for_are_named(file: Path, weights: dict[str, Tensor]) -> None:
    safetensors.torch.save_file({**weights, "fc.bias": torch.zeros(2)}, file)
    backbone = read_backbone(file)
    student = make_student(backbone.sha256)
    assert backbone.give_weights(student.encoder, student.config.mode) == ["fc.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), r"lacks 1 of the 7 weights.*0\.bias"),
        (lambda w: w.update({"0.bias": torch.zeros(3)}), r"0\.bias is \(3,\).*expects \(4,\)"),
        (lambda w: w.update({"0.bias": torch.full((4,), torch.nan)}), "0.bias holds NaN"),
    ],
)
def test_other_weights_are_refused(
    file: Path, weights: dict[str, Tensor], change: Any, message: str
) -> None:
    change(weights)
    safetensors.torch.save_file(weights, file)
    student = make_student("0" * 64)
    with pytest.raises(UserError, match=message):
        read_backbone(file).give_weights(student.encoder, student.config.mode)


def test_another_file_is_refused_by_its_hash(file: Path) -> None:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_backbone(file, sha256.upper()).sha256 == sha256
    with pytest.raises(UserError, match=f"its SHA-256 is {sha256}, not"):
        read_backbone(file, "0" * 64)


def test_files_that_are_none_are_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_backbone(tmp_path / "none.safetensors")
    torch.save({"0.weight": torch.zeros(3)}, file)  # pickles are not opened
    with pytest.raises(UserError, match=r"is not a safetensors file.*Convert it once"):
        read_backbone(file)


def test_a_class_without_a_backbone_is_refused() -> None:
    class Flat(nn.Module):
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()

        def forward(self, frames: Tensor) -> Tensor:
            return frames.flatten(1) / 255

    with pytest.raises(UserError, match=r"Flat has no module `self\.backbone`"):
        make_student("0" * 64, Flat)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"backbone_sha256": "0" * 64}, "not for mode ImpaalaSmall"),
        ({"mode": "a:B", "backbone_sha256": "0" * 64, "camera_channels": (1, 1)}, "one `encoder`"),
        ({"mode": "a:B", "backbone_sha256": "abc"}, "is not a SHA-256"),
    ],
)
def test_a_backbone_of_another_network_is_refused(config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        StudentConfig(**config)
