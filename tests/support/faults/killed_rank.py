"""A run by torchrun whose rank 1 ends at the k-th of its gradient steps.

torchrun ... -m tests.support.faults.killed_rank {SIGKILL,error,never} K FLAGS...
"""

from __future__ import annotations

import os
import signal
import sys

import Distillation.command
import Distillation.run
from Algorithm.distributed import rank
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.losses import Losses
from Common.errors import UserError


def main() -> None:
    how, k, *flags = sys.argv[1:]
    gradient_step = OnPolicyStudent._gradient_step

    def ending(model: OnPolicyStudent, losses: Losses) -> object:
        if rank() == 1 and model.gradient_steps == int(k):
            if how == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "error":
                raise UserError("The simulator of rank 1 is on fire.")
        return gradient_step(model, losses)

    OnPolicyStudent._gradient_step = ending  # pyright: ignore[reportAttributeAccessIssue]
    Distillation.command.main("Pusher", flags)


if __name__ == "__main__":
    main()
