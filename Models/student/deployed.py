"""Export the student for deployment: from observation groups to the environment's action."""

from __future__ import annotations

import copy
import io
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn

from Common.errors import UserError
from Enviroment.observations import FRAME
from Models.distributions import Distribution
from Models.networks.encoders import is_own
from Models.networks.impala import Encoder, ImpalaEncoder, convolve
from Models.networks.per_camera import PerCamera
from Models.student.policy import StudentPolicy

ACTION = "action"  # name of the output
MEMORY, NEXT_MEMORY = "memory", "next_memory"  # input and output of a recurrent student
_OPSET = 17  # of ONNX; runtimes since 2022 read it
_EXAMPLES = 2  # a batch size of 1 could be traced as a constant


class Deployed(nn.Module):
    """`predict(obs, deterministic=True)` as one network, without the critic.

    It returns the most probable action in the environment's units, and includes the normaliser and
    the bounds of the actions. The student is copied and not changed.

    A recurrent student has one more input after its groups, and one more output: the memory, which
    is zero when an episode begins, and then what the last step returned.
    """

    low: Tensor
    high: Tensor

    def __init__(self, student: StudentPolicy) -> None:
        super().__init__()
        self.student = copy.deepcopy(student).cpu().eval().requires_grad_(False)
        for name in ("optimizer", "critic", "critic_encoder", "critic_normaliser"):
            if hasattr(self.student, name):
                delattr(self.student, name)
        self.groups = self.student.config.groups
        self.is_recurrent = self.student.config.is_recurrent
        space = self.student.action_space
        self.bounded = isinstance(space, spaces.Box)
        self.action_shape = tuple(space.shape or ())
        if isinstance(space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(space.low))
            self.register_buffer("high", torch.as_tensor(space.high))

    @classmethod
    def portable(cls, student: StudentPolicy) -> Self:
        """Return a float32 network of ONNX operators, whatever the precision of training.

        ONNX Runtime has no bfloat16 convolution for CPUs.
        """
        deployed = cls(student)
        encoder = getattr(deployed.student, "encoder", None)
        if encoder is None:  # a student of the state
            return deployed
        frame = deployed.student.observation_space[FRAME]  # pyright: ignore[reportIndexIssue]
        if isinstance(encoder, PerCamera):
            for i, part in enumerate(encoder.encoders):
                encoder.encoders[i] = _portable_encoder(part, frame.shape[1:])
        else:
            portable = _portable_encoder(encoder, frame.shape[1:])
            deployed.student.encoder = portable  # pyright: ignore[reportAttributeAccessIssue]
        return deployed

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the inputs, in order."""
        return (*self.groups, MEMORY) if self.is_recurrent else self.groups

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs, in order."""
        return (ACTION, NEXT_MEMORY) if self.is_recurrent else (ACTION,)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the actions, float32 `(B, A)`; discrete ones int64 `(B,)` or `(B, D)`.

        Args:
            inputs: in the order of `self.inputs`, for example `frame` uint8 `(B, stack * C, H, W)`,
                `proprio` float32 `(B, P)`, and of a recurrent student `memory` `(B, units)`.

        Returns:
            The actions; of a recurrent student also the memory for the next step.
        """
        if not self.is_recurrent:
            return self._action(self.student.distribution(self._obs(inputs)))
        *groups, memory = inputs
        dist, memory = self.student.step(self._obs(groups), memory)
        return self._action(dist), memory

    def _obs(self, groups: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.groups, groups, strict=True))

    def _action(self, dist: Distribution) -> Tensor:
        action = dist.to_env_action(dist.mode()).reshape(-1, *self.action_shape)
        if not self.bounded:
            return action
        if self.student.squash_output:
            # The order of operations of SB3's `unscale_action`: others round differently.
            return self.low + (0.5 * (action + 1.0) * (self.high - self.low))
        return torch.minimum(torch.maximum(action, self.low), self.high)

    def examples(self) -> tuple[Tensor, ...]:
        """Return zero inputs for tracing."""
        space = self.student.observation_space
        assert isinstance(space, spaces.Dict)
        shown = [space[group] for group in self.groups]
        seen = tuple(
            torch.as_tensor(np.zeros((_EXAMPLES, *(sub.shape or ())), sub.dtype)) for sub in shown
        )
        return (*seen, self.student.memory.blank(_EXAMPLES)) if self.is_recurrent else seen


class PortableEncoder(nn.Module):
    """`ImpalaEncoder` for frames of one size in float32, with pooling as two matrix products.

    ONNX has no adaptive pooling, whose windows overlap and differ in size.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, encoder: ImpalaEncoder, size: tuple[int, int]) -> None:
        super().__init__()
        self.sequences = encoder.sequences
        # Each sequence halves the sides, rounding up.
        height, width = (-(-side // 2 ** len(encoder.sequences)) for side in size)
        self.register_buffer("rows", pooling_matrix(height, encoder.pooling))
        self.register_buffer("columns", pooling_matrix(width, encoder.pooling).T)

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 `(B, channels, H, W)` to float32 `(B, features_dim)`."""
        x = convolve(frames, lambda x: F.relu(self.sequences(x)), "float32")
        # (p, h) @ (B, C, h, w) @ (w, p) -> (B, C, p, p) -> (B, features_dim)
        return (self.rows @ x @ self.columns).flatten(1)


def _portable_encoder(encoder: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Return an encoder of one camera in float32, for frames of one size."""
    assert isinstance(encoder, Encoder)
    encoder.precision = "float32"
    return PortableEncoder(encoder, size) if isinstance(encoder, ImpalaEncoder) else encoder


def pooling_matrix(size: int, cells: int) -> Tensor:
    """Return one-dimensional adaptive average pooling as a matrix, `(cells, size)`.

    Cell i is the mean from floor(i size / cells) up to, but not including,
    ceil((i + 1) size / cells), as in `torch.nn.AdaptiveAvgPool2d`.
    """
    matrix = torch.zeros(cells, size)
    for i in range(cells):
        first, end = i * size // cells, -(-(i + 1) * size // cells)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


def to_torchscript(student: StudentPolicy, extra_files: Mapping[str, str]) -> bytes:
    """Return a file for `torch.jit.load`, also in C++.

    On this processor it computes the same actions as the student, bit-for-bit.

    Args:
        extra_files: texts to include, which `torch.jit.load(..., _extra_files=)` reads.

    Raises:
        UserError: torch cannot export a user's own encoder.
    """
    deployed, file = Deployed(student), io.BytesIO()
    with _exporting(student, "torchscript"):
        traced = torch.jit.trace(deployed, deployed.examples())
        torch.jit.save(traced, file, _extra_files=dict(extra_files))
    return _without_paths(file.getvalue())


def _without_paths(archive: bytes) -> bytes:
    """Remove the records of source lines and folders of this machine."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(file, "w") as new:
        for record in old.infolist():
            if not record.filename.endswith(".debug_pkl"):
                new.writestr(record, old.read(record))
    return file.getvalue()


def to_onnx(student: StudentPolicy) -> bytes:
    """Return an ONNX model for any batch size.

    Raises:
        UserError: torch cannot export a user's own encoder.
    """
    deployed, file = Deployed.portable(student), io.BytesIO()
    with _exporting(student, "onnx"), _plain_attention():
        torch.onnx.export(
            deployed,
            deployed.examples(),
            file,  # pyright: ignore[reportArgumentType]
            dynamo=False,  # the newer exporter needs onnxscript
            opset_version=_OPSET,
            input_names=list(deployed.inputs),
            output_names=list(deployed.outputs),
            dynamic_axes={name: {0: "batch"} for name in (*deployed.inputs, *deployed.outputs)},
        )
    return file.getvalue()


@contextmanager
def _exporting(student: StudentPolicy, format_: str) -> Iterator[None]:
    """Suppress torch's deprecation warnings; its version is pinned to one with these functions.

    Raises:
        UserError: torch cannot export a user's own encoder.
    """
    mode = student.config.mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            yield
        except Exception as error:  # the user's code may do anything
            if not is_own(mode):
                raise
            what = str(error).strip().partition("\n")[0]
            raise UserError(
                f"torch cannot export `encoder` {mode} as {format_}: {type(error).__name__}: "
                f"{what} Use other operations in its `forward`, or another format."
            ) from error


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Compute self-attention by operators of ONNX instead of one of torch's own."""
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
