"""Formats of exported students."""

from __future__ import annotations

from typing import Literal

Format = Literal["onnx", "torchscript"]
FILE_NAMES: dict[Format, str] = {"onnx": "student.onnx", "torchscript": "student.pt"}
