"""Students whose encoder is a class of the user."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn

from Common.errors import UserError
from Models.networks import encoders
from Models.networks.own import given_encoder, register_encoder
from Models.student import StudentConfig, StudentPolicy, load_student, save_student
from Models.student.deployed import to_onnx
from tests.support.bundle_edits import change_description

SHAPE = (4, 16, 16)


class Tiny(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape[0], 8, 3, stride=4)

    def forward(self, frames: Tensor) -> Tensor:
        return F.relu(self.conv(frames / 255)).flatten(1)


NAME = f"{Tiny.__module__}:Tiny"


class Unusual(nn.Module):
    """A 3D convolution, a lazy layer, and a buffer that no bundle holds."""

    scale: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, 3, stride=2)
        self.pooled = nn.Conv2d(4, 4, 3)
        self.last = nn.LazyLinear(6)
        self.register_buffer("scale", torch.tensor(1 / 255), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        b, c, h, w = frames.shape
        x = self.conv(frames.view(b, 1, c, h, w) * self.scale)[:, :, 0]
        return self.last(F.relu(self.pooled(x)).flatten(1))


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An empty registry."""
    known: dict[str, Any] = {}
    for module in ("encoders", "own"):
        monkeypatch.setattr(sys.modules[f"Models.networks.{module}"], "OWN_ENCODERS", known)
    return known


def make_student(cls: Any = Tiny, **config: Any) -> StudentPolicy:
    mode = given_encoder(cls)
    torch.manual_seed(0)
    groups: dict[str, spaces.Space] = {"frame": spaces.Box(0, 255, SHAPE, np.uint8)}
    settings = StudentConfig(mode=mode, proprio_features=0, **config)
    actions = spaces.Box(-1, 1, (2,), np.float32)
    return StudentPolicy(spaces.Dict(groups), actions, lambda _: 1e-3, config=settings)


def frames(n: int = 5) -> dict[str, np.ndarray]:
    return {"frame": np.random.default_rng(0).integers(0, 256, (n, *SHAPE), np.uint8)}


@pytest.mark.parametrize("cls", [Tiny, Unusual])
def test_a_loaded_student_computes_the_same_bits(
    tmp_path: Path, registry: dict[str, Any], cls: Any
) -> None:
    student = make_student(cls)
    save_student(student, tmp_path, {})
    expected = student.predict(frames(), deterministic=True)[0]
    assert len(np.unique(expected, axis=0)) == 5
    registry.clear()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    loaded = load_student(tmp_path, encoder=cls)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(loaded.predict(frames(), deterministic=True)[0], expected)


def test_its_features_are_those_of_the_class() -> None:
    student = make_student(precision="bfloat16")
    assert student.config.precision == student.precision == "float32"
    observed = torch.as_tensor(frames()["frame"])
    torch.manual_seed(0)  # the class by itself, with the same first draws
    alone = Tiny(SHAPE)
    torch.testing.assert_close(student.encoder(observed), alone(observed))
    assert student.encoder.features_dim == 8 * 4 * 4


def test_one_encoder_per_camera() -> None:
    student: Any = make_student(camera_channels=(1, 1))
    assert [part.module.conv.in_channels for part in student.encoder.encoders] == [2, 2]
    assert student.encoder.features_dim == 2 * 8 * 4 * 4


def test_a_bundle_never_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: dict[str, Any]
) -> None:
    """The module is on the path and would leave a trace."""
    code = "import pathlib\nfrom tests.models.test_own_encoder import Tiny\n"
    trace = tmp_path / "trace"
    (tmp_path / "traced_encoder.py").write_text(f"{code}pathlib.Path({str(trace)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    save_student(make_student(), tmp_path / "student", {})
    rename = {"mode": "traced_encoder:Tiny"}
    description = tmp_path / "student" / "student.json"
    change_description(description, lambda whole: whole["config"].update(rename))
    registry.clear()
    with pytest.raises(UserError) as caught:
        load_student(tmp_path / "student")
    assert "give `encoder` traced_encoder:Tiny" in str(caught.value)
    assert not trace.exists()
    assert "traced_encoder" not in sys.modules
    load_student(tmp_path / "student", encoder="traced_encoder:Tiny")
    assert trace.exists()


def test_a_class_may_have_moved_but_not_changed_its_name(
    tmp_path: Path, registry: dict[str, Any]
) -> None:
    save_student(make_student(), tmp_path, {})
    change_description(
        tmp_path / "student.json", lambda whole: whole["config"].update(mode="elsewhere.old:Tiny")
    )
    registry.clear()
    with pytest.raises(UserError, match=r"not that of the student, elsewhere\.old:Tiny"):
        load_student(tmp_path, encoder=Unusual)
    assert load_student(tmp_path, encoder=NAME).config.mode == "elsewhere.old:Tiny"


def test_an_encoder_for_a_student_of_the_toolkits_is_refused(tmp_path: Path) -> None:
    groups = spaces.Dict({"frame": spaces.Box(0, 255, SHAPE, np.uint8)})
    config = StudentConfig(proprio_features=0)
    actions = spaces.Box(-1, 1, (2,), np.float32)
    save_student(StudentPolicy(groups, actions, lambda _: 0.0, config=config), tmp_path, {})
    with pytest.raises(UserError, match=r"is the toolkit's 'ImpaalaSmall'\. Leave it out"):
        load_student(tmp_path, encoder=Tiny)


def test_other_weights_than_those_of_the_class_are_refused(tmp_path: Path) -> None:
    save_student(make_student(), tmp_path, {})
    other = type("Tiny", (Unusual,), {})
    with pytest.raises(UserError, match=r"weights lack .*conv3d|weights lack .*last"):
        load_student(tmp_path, encoder=other)


def returning(output: Any) -> type[nn.Module]:
    """An encoder whose output is that function of its frames, in [0, 1]."""

    class Returning(Tiny):
        def forward(self, frames: Tensor) -> Any:
            return output(frames / 255)

    return Returning


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x, r"output for 2 frames is torch.float32 \(2, 4, 16, 16\), not"),
        (lambda x: x.flatten(), r"is torch.float32 \(2048,\), not"),
        (lambda x: x.flatten(1).double(), r"is torch.float64 \(2, 1024\), not torch.float32"),
        (lambda x: x.flatten(1)[:1], r"is torch.float32 \(1, 1024\), not"),
        (lambda x: x.flatten(1)[:, :0], r"is torch.float32 \(2, 0\), not"),
        (lambda x: (x.flatten(1), None), "output for 2 frames is tuple, not"),
        (lambda x: x.flatten(1)[:, : len(x)], r"depends on the size of the batch: \[2, 3\]"),
        (lambda x: x.no_such_name, "cannot read frames.*\n  AttributeError"),
        (lambda x: x @ torch.zeros(3, 3), "cannot read frames.*\n  RuntimeError"),
    ],
)
def test_another_output_is_refused_with_what_it_is(output: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_student(returning(output))
    assert "Returning" in str(caught.value)


def test_a_class_that_cannot_be_made_for_the_frames_is_refused() -> None:
    class Bare(nn.Module):
        pass

    with pytest.raises(UserError, match=r"cannot be made for frames of \(4, 16, 16\).*\n  TypeErr"):
        make_student(Bare)


class Attending(nn.Module):
    """torch computes its layer by an operator that ONNX lacks, unless it is told not to."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, frames: Tensor) -> Tensor:
        return self.layer(frames.flatten(2).view(frames.shape[0], -1, 16) / 255).flatten(1)


@pytest.mark.parametrize("cls", [Tiny, Attending])
def test_onnx_gives_its_actions_for_other_batches(cls: Any) -> None:
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    student: Any = make_student(cls)
    with torch.no_grad():
        student.actor[-1].weight *= 50
    session = onnxruntime.InferenceSession(to_onnx(student), providers=["CPUExecutionProvider"])
    student.eval()
    for n in (5, 1):
        expected = student.predict(frames(n), deterministic=True)[0]
        actions = session.run(["action"], frames(n))[0]
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
        assert len(np.unique(actions, axis=0)) == n


def test_what_torch_cannot_export_is_said() -> None:
    student = make_student(returning(lambda x: torch.linalg.eigvalsh(x[:, 0] + x[:, 0].mT)))
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    with pytest.raises(UserError, match=r"cannot export `encoder` .*Returning as onnx: Unsup"):
        to_onnx(student)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Tiny", "is not package:Class"),
        ("a b:Tiny", "is not package:Class"),
        ("no_such_package_of_encoders:Tiny", "No module named.*Install the package"),
        ("tests.models.test_own_encoder:Tny", "has no subclass Tny.*Did you mean.* Tiny"),
        ("tests.models.test_own_encoder:np", "has no subclass np"),
    ],
)
def test_a_name_of_no_class_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        given_encoder(name)


def test_a_package_that_fails_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_encoder.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"failing_encoder cannot be imported.*\n  ZeroDivisionErr"):
        given_encoder("failing_encoder:Tiny")


def test_only_classes_of_torch_are_registered() -> None:
    for value in (3, dict, Tiny(SHAPE)):
        with pytest.raises(UserError, match=r"not a subclass of torch\.nn\.Module"):
            register_encoder(value)  # pyright: ignore[reportArgumentType]


def test_registering_is_a_decorator_and_makes_a_mode(registry: dict[str, Any]) -> None:
    assert register_encoder(Tiny) is Tiny
    assert registry == {NAME: Tiny}
    assert encoders.is_own(NAME)
    assert StudentConfig(mode=NAME).groups == ("frame", "proprio")
