"""Stop training before NaN or infinity reaches the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from Common.errors import UserError
from Models.distributions import Distribution


class StepGuard:
    """Prevents optimizer steps that would make the weights NaN or infinite.

    On the CPU, or for an optimizer that cannot skip a step by itself, a bad step raises at once. On
    a GPU a fused optimizer gets a flag on the device: it skips all steps from the first bad one on,
    and `settle` raises. Either way the weights are those before the bad step, and the GPU is
    synchronised once per update instead of once per step.

    Args:
        advice: advice for the error message, in whole sentences.
        deferred: whether `settle` raises instead of `check`; None: if that avoids GPU
            synchronisation.
    """

    def __init__(self, advice: str, deferred: bool | None = None) -> None:
        self._advice, self._deferred = advice, deferred
        self._optimizer: torch.optim.Optimizer | None = None  # the one with the flag
        self._spoiled = torch.zeros(())  # 1.0 from the first bad step on; on the device
        self._loss_spoiled = self._good_steps = torch.zeros(())
        self._first = 0  # gradient step at which the flag was set
        self._context = ""

    def check(
        self,
        optimizer: torch.optim.Optimizer,
        loss: Tensor,
        grad_norm: Tensor,
        step: int,
        context: str = "",
    ) -> None:
        """Check a step. Call this before `optimizer.step()`.

        Args:
            loss, grad_norm: scalars.
            step: number of the next gradient step.
            context: further description of the step, printed in parentheses.

        Raises:
            UserError: loss or gradient norm is NaN or infinite, and the check is not deferred.
        """
        spares_a_wait = loss.is_cuda and _skips_by_itself(optimizer)
        if not (spares_a_wait if self._deferred is None else self._deferred):
            check_step(loss, grad_norm, _when(step, context), self._advice)
            return
        with torch.no_grad():
            if self._optimizer is None:
                self._spoiled, self._loss_spoiled, self._good_steps = (
                    torch.zeros((), device=loss.device) for _ in range(3)
                )
                self._optimizer, self._first = optimizer, step
            fine = self._spoiled == 0
            spoils = ~(loss + grad_norm).isfinite()
            loss_spoils = fine & ~loss.isfinite()
            # In place, because a CUDA graph of the step repeats this on the same memory.
            self._loss_spoiled.copy_(torch.where(loss_spoils, 1.0, self._loss_spoiled))
            self._spoiled.copy_(torch.where(spoils, 1.0, self._spoiled))
            self._good_steps += 1.0 - self._spoiled
        self._context = context
        # As torch's GradScaler does: a fused optimizer skips the step if this is not 0.
        optimizer.found_inf = self._spoiled  # pyright: ignore[reportAttributeAccessIssue]

    def settle(self) -> None:
        """Wait for the steps since the last call, and check them.

        Raises:
            UserError: loss or gradient norm of a step was NaN or infinite.
        """
        if self._optimizer is None:
            return
        del self._optimizer.found_inf  # pyright: ignore[reportAttributeAccessIssue]
        self._optimizer = None
        figures = torch.stack([self._spoiled, self._loss_spoiled, self._good_steps])
        spoiled, loss_spoiled, good_steps = figures.tolist()
        if spoiled:
            what = "loss" if loss_spoiled else "gradient"
            raise _refused(what, _when(self._first + int(good_steps), self._context), self._advice)


def check_step(loss: Tensor, grad_norm: Tensor, when: str, advice: str) -> None:
    """Raise UserError for a loss or gradient norm that is NaN or infinite.

    Args:
        loss, grad_norm: scalars.
        when: description of the step, such as `gradient step 3`.
        advice: advice for the error message, in whole sentences.

    Raises:
        UserError: loss or gradient norm is NaN or infinite.
    """
    if (loss + grad_norm).isfinite():  # a single check: each synchronises the GPU
        return
    raise _refused("gradient" if loss.isfinite() else "loss", when, advice)


def check_teacher(teacher: Distribution, env_steps: int) -> None:
    """Raise UserError for a teacher's distribution with NaN or infinity.

    Raises:
        UserError: a parameter is not finite. The message names it and the env steps so far.
    """
    for name, value in teacher.params().items():
        if not value.isfinite().all():
            raise UserError(
                f"The teacher's {name} is not finite at environment step {env_steps}. The "
                "student has not learned from it."
            )


def _refused(what: str, when: str, advice: str) -> UserError:
    return UserError(
        f"The {what} is not finite at {when}. The weights are those before this step. {advice}"
    )


def _when(step: int, context: str) -> str:
    return f"gradient step {step}{f' ({context})' if context else ''}"


def _skips_by_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether the optimizer skips steps by `found_inf`, as torch's fused ones do."""
    return all(group.get("fused") for group in optimizer.param_groups)
