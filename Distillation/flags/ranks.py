"""Adapt the flags of a torchrun run to each rank."""

from __future__ import annotations

import dataclasses

from Algorithm.distributed import device_of_rank, share_of, threads_of_rank, world_size
from Algorithm.method_registry import METHODS
from Common.cores import available_cores
from Distillation.flags.resolve import Flags


def flags_of_rank(flags: Flags) -> Flags:
    """Return the flags with this rank's GPU and its share of the CPU cores.

    Numbers of environments and samples remain those of the whole run. Without torchrun, the flags
    are returned unchanged.

    Raises:
        UserError: the method does not support several ranks, or environments or samples cannot be
            divided evenly among them.
    """
    if world_size() == 1:
        return flags
    on_policy = tuple(name for name, m in METHODS.items() if m.family == "on_policy")
    flags.method.refuse("A run on several ranks", on_policy, "Start it without torchrun.")
    share_of(flags.training.num_envs, "--num_envs")
    if (batch_size := flags.on_policy().batch_size) is not None:
        share_of(batch_size, "--batch_size")
    cores = available_cores()
    run = dataclasses.replace(
        flags.run,
        device=device_of_rank(flags.run.device),
        threads=flags.run.threads or threads_of_rank(cores),
    )
    return dataclasses.replace(flags, run=run)
