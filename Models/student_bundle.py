"""A student's bundle: weights, network, spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from Enviroment.errors import UserError
from Enviroment.observations import FRAME
from Models.bundle import check_tensors, read_bundle, write_bundle
from Models.student import StudentConfig, StudentPolicy

# What building a student raises on a description that no student has.
_NO_STUDENT = (
    *(UserError, KeyError, TypeError, ValueError, AttributeError),
    *(RuntimeError, ArithmeticError, AssertionError),  # torch's, and Gymnasium's
)
_MAX_SIZE = 2**24  # numbers of an observation group: 16 frames of 1024x1024


def save_student(policy: StudentPolicy, folder: Path, notes: Mapping[str, Any]) -> None:
    """Writes the student's bundle: weights, network, spaces.

    Args:
        notes: plain JSON: the task, how it was trained, its figures.
    """
    description = {
        **notes,
        "config": policy.config.as_json(),
        "observations": {
            group: list(space.shape or ()) for group, space in policy.all_groups().spaces.items()
        },
        "actions": _describe_actions(policy.action_space),
        "parameters": sum(p.numel() for p in policy.parameters()),
    }
    write_bundle(folder, "student", policy.state_dict(), description)


def load_student(folder: Path, device: torch.device | str = "cpu") -> StudentPolicy:
    """The student of a bundle, in evaluation mode. It needs no teacher.

    Raises:
        UserError: the bundle is missing, damaged, or describes no student.
    """
    tensors, description = read_bundle(folder, "student", device)
    try:
        # On the meta device nothing is drawn from torch's generator, and a false size in a
        # description allocates nothing.
        with torch.device("meta"):
            policy = _described(description)
        check_tensors("student", policy.state_dict(), tensors)
    except _NO_STUDENT as error:
        what = str(error).partition("\n")[0]  # torch adds where in its own code
        raise UserError(f"{folder / 'student.json'} describes no student: {what}") from error
    policy.load_state_dict(tensors, assign=True)
    # The file's tensors are contiguous, those of the convolutions are not.
    policy.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    policy.make_optimizer(0.0)
    return policy.eval()


def _described(description: Mapping[str, Any]) -> StudentPolicy:
    groups = description["observations"].items()
    return StudentPolicy(
        spaces.Dict({group: _group_space(group, shape) for group, shape in groups}),
        _read_actions(description["actions"]),
        lambda _: 0.0,
        config=StudentConfig.from_json(description["config"]),
    )


def _group_space(group: str, shape: list[int]) -> spaces.Box:
    """A space holds bounds for each of its numbers, so a false shape is refused before."""
    if not all(type(size) is int and size > 0 for size in shape) or math.prod(shape) > _MAX_SIZE:
        raise UserError(f"the group {group!r} has the shape {shape}")
    if group == FRAME:
        return spaces.Box(0, 255, tuple(shape), np.uint8)
    return spaces.Box(-np.inf, np.inf, tuple(shape), np.float32)


def _describe_actions(space: spaces.Space) -> dict[str, Any]:
    """As `_read_actions` reads it; a student has no other kind of actions."""
    if isinstance(space, spaces.MultiDiscrete):
        return {"choices": space.nvec.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"switches": int(space.n)}  # pyright: ignore[reportArgumentType]
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n)}
    assert isinstance(space, spaces.Box)
    return {"low": space.low.tolist(), "high": space.high.tolist()}


def _read_actions(description: dict[str, Any]) -> spaces.Space:
    if "choices" in description:
        return spaces.MultiDiscrete(description["choices"])
    if "switches" in description:
        return spaces.MultiBinary(description["switches"])
    if "n" in description:
        return spaces.Discrete(description["n"])
    low, high = (np.array(description[bound], np.float32) for bound in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)
