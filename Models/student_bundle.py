"""A student's bundle: weights, network, spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from Enviroment.errors import UserError
from Enviroment.observations import FRAME
from Models.bundle import read_bundle, write_bundle
from Models.student import StudentConfig, StudentPolicy


def save_student(policy: StudentPolicy, folder: Path, notes: Mapping[str, Any]) -> None:
    """Writes the student's bundle: weights, network, spaces.

    Args:
        notes: plain JSON: the task, how it was trained, its figures.
    """
    description = {
        **notes,
        "config": asdict(policy.config),
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
        config = dict(description["config"])
        config["head"] = tuple(config["head"])
        groups = description["observations"].items()
        policy = StudentPolicy(
            spaces.Dict({group: _group_space(group, shape) for group, shape in groups}),
            _read_actions(description["actions"]),
            lambda _: 0.0,
            config=StudentConfig(**config),
        )
        policy.load_state_dict(tensors)
    except (UserError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder / 'student.json'} describes no student: {error}") from error
    return policy.to(device).eval()


def _group_space(group: str, shape: list[int]) -> spaces.Box:
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
