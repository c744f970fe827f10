"""Estimate the memory of worlds, and check that a device has it."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import mujoco
import torch

from Common.errors import UserError
from Enviroment.observations import frame_channels
from Enviroment.task import Task
from Enviroment.worlds.library import load_warp
from Enviroment.worlds.model import WorldModel

_SPARE = 0.9  # share of the free memory that worlds and frames may take; networks need some
_STACKS = 3  # whole stacks that exist at once: the observation, its copy, and the next one


def bytes_per_world(
    task: Task, shared: WorldModel, *, draws: bool, sees: bool = True, rollout: int = 0
) -> int:
    """Return the bytes that each world takes on the device.

    Args:
        draws: whether frames are drawn.
        sees: whether observations have frames.
        rollout: env steps whose frames a learner keeps.
    """
    each = _simulation_bytes(shared.model)
    h, w = task.frame_size
    frame = frame_channels(task) * h * w  # bytes
    if draws:
        each += 2 * 4 * len(shared.cameras) * h * w  # packed colours, and their luma as int32
        # The last frames, at least two, and the first of the next episode.
        each += (max(task.history, 1) + 2) * frame
    if sees:
        each += (_STACKS * task.stack + task.history + rollout) * frame
    return each


def _simulation_bytes(model: mujoco.MjModel) -> int:
    """Return the bytes of mujoco-warp's arrays per world, from two small simulations."""
    warp, mjw = load_warp()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with warp.ScopedDevice("cpu"):
        one, two = (_size(mjw.put_data(model, data, nworld=n), warp) for n in (1, 2))
    return two - one


def _size(data: Any, warp: Any) -> int:
    """Return the bytes of all arrays in mujoco-warp's data."""
    total = 0
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if isinstance(value, warp.array):
            total += value.capacity
        elif dataclasses.is_dataclass(value):
            total += _size(value, warp)
    return total


def check_memory(
    task: Task,
    shared: WorldModel,
    n_worlds: int,
    device: torch.device,
    *,
    draws: bool,
    sees: bool = True,
    rollout: int = 0,
) -> None:
    """Check that the device has the memory for so many worlds.

    Raises:
        UserError: it has not. The message has the number that would fit.
    """
    each = bytes_per_world(task, shared, draws=draws, sees=sees, rollout=rollout)
    free = int(_SPARE * free_bytes(device))
    if n_worlds * each > free:
        h, w = task.frame_size
        what = f" with frames of {h}x{w}" if sees else ""
        kept = f" and rollouts of {rollout} env steps" if rollout and sees else ""
        raise UserError(
            f"`n_envs` {n_worlds:,}: worlds of {task.name}{what}{kept} take "
            f"{n_worlds * each / 2**30:.1f} GiB, and {device} has {free / 2**30:.1f} GiB for them. "
            f"{free // each:,} would fit. Use fewer, smaller frames or shorter rollouts."
        )


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    # With what the system would free for a process that asks.
    lines = Path("/proc/meminfo").read_text().splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kibibytes) * 1024
