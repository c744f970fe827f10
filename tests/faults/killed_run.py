"""A run that gets signals at the k-th of its steps and writes, in a process of its own.

    python -m tests.faults.killed_run SIGNAL[,SIGNAL] K FLAGS...

Environment steps (training and evaluation), gradient steps and changes to the file system count,
once the flags are read.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import Distillation.run
from Algorithm.on_policy import OnPolicyStudent
from Algorithm.supervised import SupervisedLearner
from Enviroment.vector import SeededVecEnv
from tests.faults.killed_child import on_write


def signals_at(k: int, signals: Sequence[signal.Signals]) -> None:
    """From now on this process counts, and at k sends itself the signals."""
    left = k

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            for number in signals:
                os.kill(os.getpid(), number)

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
    signals = [signal.Signals[name] for name in names.split(",")]
    start = Distillation.run.run

    def run(*args: object) -> Path:
        signals_at(int(k), signals)
        return start(*args)  # pyright: ignore[reportArgumentType]

    Distillation.run.run = run  # pyright: ignore[reportAttributeAccessIssue]
    Distillation.run.main("Pusher", flags)


if __name__ == "__main__":
    main()
