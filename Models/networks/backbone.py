"""The frozen, pretrained backbone of a user's own encoder, from a safetensors file.

The encoder's class builds the architecture as its attribute `backbone`; the file has the weights,
by the names of the backbone's `state_dict`. They are frozen in evaluation mode, and not optimised.
Students' bundles hold them; checkpoints hold the hash of the file only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from Common.errors import UserError
from Common.files.bounded_read import read_bounded
from Models.bundle import MAX_WEIGHTS
from Models.networks.own import EncoderError, OwnEncoder

BACKBONE = "encoder.module.backbone."  # prefix of its weights in the student's
_CONVERT = (
    "A file of torch.save can hold code. Convert it once: safetensors.torch.save_file("
    "torch.load(FILE, weights_only=True), 'backbone.safetensors')."
)


@dataclass(frozen=True)
class Backbone:
    """The weights of a file."""

    path: Path
    sha256: str  # of the file
    tensors: Mapping[str, Tensor]

    def give_weights(self, encoder: nn.Module, mode: str) -> list[str]:
        """Copy the weights into the backbone of a student's encoder.

        Args:
            mode: `package:Class` of the encoder, for messages.

        Returns:
            The names of weights in the file that the backbone does not have, such as those of a
            classifier.

        Raises:
            UserError: the backbone has other weights, or the file lacks some.
        """
        backbone = backbone_of(encoder, mode)
        expected = backbone.state_dict()
        missing = [name for name in expected if name not in self.tensors]
        if missing:
            raise UserError(
                f"`backbone` {self.path} lacks {len(missing)} of the {len(expected)} weights of "
                f"{mode}'s `backbone`, such as {missing[0]}. The file has names such "
                f"as {next(iter(self.tensors), 'none')}."
            )
        for name, tensor in expected.items():
            if tensor.shape != self.tensors[name].shape:
                raise UserError(
                    f"`backbone` {self.path}: {name} is {tuple(self.tensors[name].shape)}, but "
                    f"{mode} expects {tuple(tensor.shape)}."
                )
        backbone.load_state_dict({name: self.tensors[name] for name in expected})
        return sorted(self.tensors.keys() - expected.keys())


def read_backbone(path: Path, sha256: str | None = None) -> Backbone:
    """Return the weights of a safetensors file, which cannot hold code.

    Args:
        sha256: the expected hash of the file.

    Raises:
        UserError: there is no such file, it has another hash, or is no safetensors file; or it
            holds NaN or infinity.
    """
    try:
        content = read_bounded(path, MAX_WEIGHTS)
    except OSError as error:
        raise UserError(f"`backbone` {path} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and sha256.lower() != found:
        raise UserError(
            f"`backbone` {path} is another file: its SHA-256 is {found}, not the given "
            f"`backbone_sha256` {sha256}."
        )
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise UserError(f"`backbone` {path} is not a safetensors file. {_CONVERT}") from error
    wrong = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if wrong:
        raise UserError(f"`backbone` {path}: {wrong[0]} holds NaN or infinity.")
    return Backbone(path, found, tensors)


def backbone_of(encoder: nn.Module, name: str) -> nn.Module:
    """Return the part of a user's own encoder that is frozen.

    Raises:
        EncoderError: the class has none.
    """
    assert isinstance(encoder, OwnEncoder)
    backbone = getattr(encoder.module, "backbone", None)
    if not isinstance(backbone, nn.Module) or not backbone.state_dict():
        raise EncoderError(
            f"`encoder` {name} has no module `self.backbone` with weights, which `backbone` "
            "provides. Name that part of the network so."
        )
    return backbone
