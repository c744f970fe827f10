"""Save and load a student's bundle: weights, network, spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from Common.errors import UserError
from Common.files.typed_json import typed
from Enviroment.cameras import CameraSet
from Enviroment.drawing.looks import LookRanges
from Enviroment.observations import FRAME
from Models.bundle import bundle_folder, check_tensors, read_bundle, write_bundle
from Models.networks.layers import channels_last
from Models.networks.own import EncoderError, admit_encoder
from Models.student.policy import StudentConfig, StudentPolicy

# Errors of building a student from an invalid description.
_NO_STUDENT = (
    *(UserError, LookupError, TypeError, ValueError, AttributeError),
    *(RuntimeError, ArithmeticError, AssertionError),  # of torch and Gymnasium
)
# Maximum size of an observation group (16 frames of 1024x1024), and of an untrained critic.
_MAX_SIZE = 2**24
_MAX_GROUPS, _MAX_ACTIONS = 16, 2**16
# Optional entries of a description that tools read besides the network.
_NOTES: dict[str, Any] = {
    **dict.fromkeys(("task", "method"), str),
    **dict.fromkeys(("blind", "critic"), bool),
    **dict.fromkeys(("frame_interval", "threads", "id_seed"), int),
    **dict.fromkeys(("training", "custom_task"), dict[str, Any]),
    "looks": LookRanges,  # of training; missing without random looks
    "camera_set": CameraSet,  # missing in older bundles, whose frames are as the task has them
}
_MOST = {"frame_interval": 1024, "threads": 4096}  # valid from 1 to this


@dataclass(frozen=True)
class _TeacherNote:
    sha256: str
    min_std: float | None = None
    mean_margin: float | None = None
    identity: str | None = None  # see `TeacherDescription.identity`


@dataclass(frozen=True)
class _CorruptionNote:
    sigma: float
    seed: int
    uncorrupted_sha256: str | None = None


_CRITIC_SEED = 0
WEIGHTS_FILE = "student.safetensors"


def save_student(
    policy: StudentPolicy, folder: Path | str, notes: Mapping[str, Any], *, critic: bool = True
) -> None:
    """Write the student's bundle: weights, network, spaces.

    Args:
        notes: plain JSON: the task, how the student was trained, its metrics.
        critic: whether to save the critic. Acting does not need it; a student loaded from a bundle
            without critic has an untrained one.
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
    """Return whether a student's bundle holds its critic."""
    return description.get("critic", True)


def camera_set_of(description: Mapping[str, Any]) -> CameraSet | None:
    """Return the frames of a student by its description, which was checked on loading.

    None: it observes the state, or its bundle is older and its frames are as the task has them.
    """
    given = description.get("camera_set")
    return None if given is None else CameraSet.from_json(given)


def load_student(
    folder: Path | str,
    device: torch.device | str = "cpu",
    encoder: str | type[nn.Module] | None = None,
) -> StudentPolicy:
    """Load the student of a bundle, or of a run folder with a bundle in `student/`.

    The student is in evaluation mode and needs no teacher. Its configuration has the precision of
    its training, `precision` the one on this device (see `Common.device.precision_on`).

    Args:
        encoder: its own encoder, a class or `package:Class`, which is imported. None: the encoder
            is of the toolkit, or registered (`Models.networks.own`).

    Raises:
        UserError: the bundle is missing, damaged, or does not describe a student; or its encoder
            is neither given nor registered.
    """
    folder = bundle_folder(folder, "student")
    tensors, description = read_bundle(folder, "student", device)
    try:
        _check_notes(description)
        if encoder is not None:
            admit_encoder(encoder, StudentConfig.from_json(description["config"]).mode)
        # The meta device draws nothing from torch's generator, and allocates nothing for a wrong
        # size in a description.
        with torch.device("meta"):
            policy = _described(description)
        left_out = set() if has_critic(description) else _of_critic(policy)
        sizes = policy.state_dict()
        stored = {name: size for name, size in sizes.items() if name not in left_out}
        check_tensors("student", stored, tensors)
        if sum(sizes[name].numel() for name in left_out) > _MAX_SIZE:
            raise UserError(f"its critic has more than {_MAX_SIZE} numbers")
        tensors |= _untrained(left_out, description, device)
    except EncoderError as error:
        raise EncoderError(f"{folder / 'student.json'} cannot be loaded: {error}") from error
    except _NO_STUDENT as error:
        what = str(error).partition("\n")[0]  # torch appends places in its own code
        raise UserError(f"{folder / 'student.json'} is not a valid student: {what}") from error
    policy.load_state_dict(tensors, assign=True)
    # Tensors of the file are contiguous, but convolutions need channels-last.
    channels_last(policy.to(device))
    policy.make_optimizer(0.0)
    return policy.eval()


def _check_notes(description: Mapping[str, Any]) -> None:
    """Raise ValueError if an optional entry of a description has a wrong type or value."""
    for name, annotation in _NOTES.items():
        if name in description:
            value = typed(annotation, description[name], name)
            if isinstance(value, int) and not 0 <= value < 2**32:
                raise ValueError(f"{name} is {value}")
    for name, most in _MOST.items():
        if not 1 <= description.get(name, 1) <= most:
            raise ValueError(f"{name} is {description[name]}, not 1 to {most}")
    for name, kind in (("teacher", _TeacherNote), ("corruption", _CorruptionNote)):
        if name in description:
            typed(kind, description[name], name)


def _of_critic(policy: StudentPolicy) -> set[str]:
    """Return the names of the critic's weights."""
    return {
        f"{module}.{name}"
        for module, network in policy.critic_modules().items()
        for name in network.state_dict()
    }


def _untrained(
    names: set[str], description: Mapping[str, Any], device: torch.device | str
) -> dict[str, Tensor]:
    """Return initial weights, always the same. Do not advance torch's generator."""
    if not names:
        return {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_CRITIC_SEED)
        weights = _described(description).state_dict()
    return {name: weights[name].to(device) for name in names}


def _described(description: Mapping[str, Any]) -> StudentPolicy:
    groups = typed(dict[str, tuple[int, ...]], description["observations"], "observations")
    if len(groups) > _MAX_GROUPS:
        raise ValueError(f"{len(groups)} groups of observations are more than {_MAX_GROUPS}")
    return StudentPolicy(
        spaces.Dict({group: _group_space(group, shape) for group, shape in groups.items()}),
        _read_actions(description["actions"]),
        lambda _: 0.0,
        config=StudentConfig.from_json(description["config"]),
    )


def _group_space(group: str, shape: tuple[int, ...]) -> spaces.Box:
    """Return the space of a group. Check its size first, because a space allocates its bounds."""
    n_dims = 3 if group == FRAME else 1
    valid = len(shape) == n_dims and all(size > 0 for size in shape)
    if not valid or math.prod(shape) > _MAX_SIZE:
        raise UserError(f"the group {group!r} has the shape {shape}")
    if group == FRAME:
        return spaces.Box(0, 255, shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _describe_actions(space: spaces.Space) -> dict[str, Any]:
    """Return JSON for `_read_actions`."""
    if isinstance(space, spaces.MultiDiscrete):
        return {"choices": space.nvec.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"switches": int(space.n)}  # pyright: ignore[reportArgumentType]
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n)}
    assert isinstance(space, spaces.Box)
    return {"low": space.low.tolist(), "high": space.high.tolist()}


def _read_actions(description: Mapping[str, Any]) -> spaces.Space:
    description = typed(dict[str, Any], description, "actions")
    if "choices" in description:
        return spaces.MultiDiscrete(_counts(*typed(tuple[int, ...], description["choices"])))
    if "switches" in description:
        return spaces.MultiBinary(_counts(typed(int, description["switches"]))[0])
    if "n" in description:
        return spaces.Discrete(_counts(typed(int, description["n"]))[0])
    bounds = [np.array(description[bound]) for bound in ("low", "high")]
    if any(bound.dtype.kind not in "if" or bound.size > _MAX_ACTIONS for bound in bounds):
        raise ValueError("the bounds of the actions are not numbers, or too many")
    low, high = (bound.astype(np.float32) for bound in bounds)
    if not (low.shape == high.shape and np.isfinite(high - low).all() and (low <= high).all()):
        raise ValueError("the low bounds of the actions are not below the high ones")
    return spaces.Box(low, high, dtype=np.float32)


def _counts(*counts: int) -> list[int]:
    if not counts or min(counts) < 1 or sum(counts) > _MAX_ACTIONS:
        raise ValueError(f"{counts!s:.80} are not valid numbers of actions")
    return list(counts)
