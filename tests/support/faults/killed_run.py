"""A run that meets a fault at the k-th of its steps and writes, in a process of its own.

    python -m tests.support.faults.killed_run SIGNAL[,SIGNAL] K FLAGS...
    python -m tests.support.faults.killed_run FULL_DISK K FLAGS...

Environment steps (training and evaluation), gradient steps and changes to the file system count,
once the flags are read. A dataset that it collects has a shard for each episode.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import Distillation.command
import Distillation.run
import Enviroment.dataset.collect
from Algorithm.cloning.loop import SupervisedLearner
from Algorithm.on_policy.loop import OnPolicyStudent
from Enviroment.vector import SeededVecEnv
from tests.support.faults.killed_child import on_write

SHARD_BYTES = 100 * 16 * 16  # of frames: an episode a shard


FULL_DISK = "FULL_DISK"  # from then on no byte can be written to a file


def fault_at(k: int, names: str) -> None:
    """From now on this process counts, and at k it meets the fault."""
    left = k

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0 and names == FULL_DISK:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        elif left == 0:
            for name in names.split(","):
                os.kill(os.getpid(), signal.Signals[name])

    def counted(owner: type, name: str) -> None:
        method: Callable = getattr(owner, name)

        def counting(*args: object, **kwargs: object) -> object:
            count()
            return method(*args, **kwargs)

        setattr(owner, name, counting)

    counted(SeededVecEnv, "step_async")
    counted(OnPolicyStudent, "_gradient_step")
    counted(SupervisedLearner, "_gradient_step")
    on_write(count)


def main() -> None:
    names, k, *flags = sys.argv[1:]
    # Whatever the shell has told this process's parents to ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Enviroment.dataset.collect._SHARD_BYTES = SHARD_BYTES
    start = Distillation.run.run

    def run(*args: object) -> Path:
        fault_at(int(k), names)
        return start(*args)  # pyright: ignore[reportArgumentType]

    Distillation.run.run = run  # pyright: ignore[reportAttributeAccessIssue]
    Distillation.command.main("Pusher", flags)


if __name__ == "__main__":
    main()
