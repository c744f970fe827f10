"""Make the worlds of a task: `make_worlds`."""

from __future__ import annotations

import torch

from Common.errors import UserError
from Enviroment.task import Task
from Enviroment.tasks import get_task
from Enviroment.vector import MAX_DIVERGENCES
from Enviroment.worlds.library import check_device
from Enviroment.worlds.memory import check_memory
from Enviroment.worlds.model import read_model
from Enviroment.worlds.vec_env import NumpyWorlds, WorldsVecEnv


def make_worlds(
    task: str | Task,
    n_envs: int,
    seed: int,
    device: torch.device | str = "cpu",
    *,
    tensors: bool = True,
    sees: bool = True,
    blind: bool = False,
    stagger: bool = False,
    max_divergences: int = MAX_DIVERGENCES,
    rollout: int = 0,
) -> WorldsVecEnv:
    """Return environments that mujoco-warp steps and draws together (the extra `gpu`).

    Rewards, resets and time limits are those of Gymnasium's environment. Frames have the same
    cameras, sizes and channels as those of `make_env`, but slightly different light.

    Args:
        task: a name, or a `Task` (see `make_env`), of an environment in `Enviroment.worlds.rules`.
        n_envs: number of worlds.
        seed: as in `make_env`: equal seeds give equal initial states.
        device: the processor, or a GPU.
        tensors: return observations as tensors on the device; else as NumPy arrays.
        sees: return frames; else only the group `state`.
        blind, stagger, max_divergences: as in `make_env`.
        rollout: env steps per world whose frames a learner keeps on the device; counted by the
            check of memory.

    Raises:
        UserError: mujoco-warp is not installed, cannot use the device, or has no version of the
            task or its cameras; or the device has too little memory for so many worlds.
    """
    task = get_task(task) if isinstance(task, str) else task
    device = torch.device(device)
    if n_envs < 1:
        raise UserError(f"`n_envs` {n_envs}: at least one environment is needed.")
    if seed < 0:
        raise UserError(f"Seed {seed}: seeds start at 0.")
    draws = sees and not blind
    shared = read_model(task, draws=draws)
    check_device(device)
    check_memory(task, shared, n_envs, device, draws=draws, sees=sees, rollout=rollout)
    kind = WorldsVecEnv if tensors else NumpyWorlds
    return kind(
        *(task, shared, n_envs, seed, device),
        sees=sees,
        blind=blind,
        stagger=stagger,
        max_divergences=max_divergences,
    )
