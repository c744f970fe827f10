"""Prepare a user's own encoder and its frozen backbone, before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from Distillation.flags.resolve import Flags
from Models.networks.backbone import Backbone, read_backbone
from Models.networks.own import given_encoder


def import_encoder(flags: Flags) -> None:
    """Import the encoder that the user names, before runs and bundles that may name others.

    Raises:
        UserError: the package cannot be imported, or has no such class.
    """
    if flags.student.own_encoder is not None:
        given_encoder(flags.student.own_encoder)


def with_backbone(flags: Flags) -> tuple[Flags, Backbone | None]:
    """Return the flags with the hash of the backbone's file, and its weights.

    A student that is continued has them in its bundle, so their file is not read again.

    Raises:
        UserError: there is no such file, it has another hash, or is no safetensors file.
    """
    student = flags.student
    if student.backbone is None or flags.cloning.folder_Dagger is not None:
        return flags, None
    backbone = read_backbone(Path(student.backbone), student.backbone_sha256)
    return replace(flags, student=replace(student, backbone_sha256=backbone.sha256)), backbone
