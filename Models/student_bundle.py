"""A student's bundle: weights, network, spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from Enviroment.errors import UserError
from Enviroment.observations import FRAME
from Models.bundle import bundle_folder, check_tensors, read_bundle, write_bundle
from Models.student import StudentConfig, StudentPolicy

# What building a student raises on a description that no student has.
_NO_STUDENT = (
    *(UserError, KeyError, TypeError, ValueError, AttributeError),
    *(RuntimeError, ArithmeticError, AssertionError),  # torch's, and Gymnasium's
)
# Numbers of an observation group: 16 frames of 1024x1024. And of a critic that begins anew.
_MAX_SIZE = 2**24
_CRITIC_SEED = 0
WEIGHTS_FILE = "student.safetensors"


def save_student(
    policy: StudentPolicy, folder: Path | str, notes: Mapping[str, Any], *, critic: bool = True
) -> None:
    """Writes the student's bundle: weights, network, spaces.

    Args:
        notes: plain JSON: the task, how it was trained, its figures.
        critic: whether the critic is in it. Acting needs none; a student that is read from a
            bundle without has one that is untrained.
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
    tensors = policy.state_dict()
    if not critic:
        tensors = {name: tensors[name] for name in tensors.keys() - _of_critic(policy)}
        description["critic"] = False
    write_bundle(folder, "student", tensors, description)


def has_critic(description: Mapping[str, Any]) -> bool:
    """Whether a student's bundle holds its critic, too."""
    return description.get("critic", True)


def load_student(folder: Path | str, device: torch.device | str = "cpu") -> StudentPolicy:
    """The student of a bundle, or of the run folder that holds it in `student/`; in evaluation
    mode. It needs no teacher.

    Its configuration says which precision it was trained in, `precision` which one it runs in here
    (see `Models.device.precision_on`).

    Raises:
        UserError: the bundle is missing, damaged, or describes no student.
    """
    folder = bundle_folder(folder, "student")
    tensors, description = read_bundle(folder, "student", device)
    try:
        # On the meta device nothing is drawn from torch's generator, and a false size in a
        # description allocates nothing.
        with torch.device("meta"):
            policy = _described(description)
        left_out = set() if has_critic(description) else _of_critic(policy)
        sizes = policy.state_dict()
        stored = {name: size for name, size in sizes.items() if name not in left_out}
        check_tensors("student", stored, tensors)
        if sum(sizes[name].numel() for name in left_out) > _MAX_SIZE:
            raise UserError(f"its critic has more than {_MAX_SIZE} numbers")
        tensors |= _untrained(left_out, description, device)
    except _NO_STUDENT as error:
        what = str(error).partition("\n")[0]  # torch adds where in its own code
        raise UserError(f"{folder / 'student.json'} describes no student: {what}") from error
    policy.load_state_dict(tensors, assign=True)
    # The file's tensors are contiguous, those of the convolutions are not.
    policy.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    policy.make_optimizer(0.0)
    return policy.eval()


def _of_critic(policy: StudentPolicy) -> set[str]:
    """The names of the critic's weights."""
    return {
        f"{module}.{name}"
        for module, network in policy.critic_modules().items()
        for name in network.state_dict()
    }


def _untrained(
    names: set[str], description: Mapping[str, Any], device: torch.device | str
) -> dict[str, Tensor]:
    """Weights as a new student has them, always the same; torch's generator stays where it is."""
    if not names:
        return {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_CRITIC_SEED)
        weights = _described(description).state_dict()
    return {name: weights[name].to(device) for name in names}


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
