"""NaN and infinity are refused before they reach a weight."""

from __future__ import annotations

import torch
from torch import Tensor

from Common.errors import UserError
from Models.distributions import Distribution


class StepGuard:
    """Keeps optimizer steps that would spoil the weights from being taken.

    Where the numbers are on the CPU, or the optimizer has no form that skips a step by itself, a
    bad step is refused at once. On a GPU a fused optimizer is given a flag that stays on the
    device: from the first bad step on it takes none, and `settle` says so. So the weights are those
    of the step before either way, and the GPU is waited for once an update instead of once a step.

    Args:
        advice: what may help, in whole sentences.
        deferred: whether `settle` is to speak; None: where that spares a GPU the wait.
    """

    def __init__(self, advice: str, deferred: bool | None = None) -> None:
        self._advice, self._deferred = advice, deferred
        self._optimizer: torch.optim.Optimizer | None = None  # that has the flag
        self._spoiled = torch.zeros(())  # 1.0 from the first bad step on; on the device
        self._loss_spoiled = self._good_steps = torch.zeros(())
        self._first = 0  # gradient step that the flag counts from
        self._context = ""

    def check(
        self,
        optimizer: torch.optim.Optimizer,
        loss: Tensor,
        grad_norm: Tensor,
        step: int,
        context: str = "",
    ) -> None:
        """Call it before `optimizer.step()`.

        Args:
            loss, grad_norm: scalars.
            step: the gradient step that comes.
            context: more about when that is, in brackets.

        Raises:
            UserError: one of them is NaN or infinite, and it is known already.
        """
        spares_a_wait = loss.is_cuda and _skips_by_itself(optimizer)
        if not (spares_a_wait if self._deferred is None else self._deferred):
            check_step(loss, grad_norm, _when(step, context), self._advice)
            return
        with torch.no_grad():
            if self._optimizer is None:
                zero = torch.zeros((), device=loss.device)
                self._spoiled, self._loss_spoiled, self._good_steps = zero, zero, zero
                self._optimizer, self._first = optimizer, step
            fine = self._spoiled == 0
            spoils = ~(loss + grad_norm).isfinite()
            loss_spoils = fine & ~loss.isfinite()
            self._loss_spoiled = torch.where(loss_spoils, 1.0, self._loss_spoiled)
            self._spoiled = torch.where(spoils, 1.0, self._spoiled)
            self._good_steps = self._good_steps + (1.0 - self._spoiled)
        self._context = context
        # What torch's GradScaler gives a fused optimizer: it takes no step where this is not 0.
        optimizer.found_inf = self._spoiled  # pyright: ignore[reportAttributeAccessIssue]

    def settle(self) -> None:
        """Wait for the steps since the last call.

        Raises:
            UserError: one of them would have spoiled the weights.
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
    """Refuse an optimizer's step that would spoil the weights.

    Args:
        loss, grad_norm: scalars.
        when: `gradient step 3`, or more.
        advice: whole sentences.

    Raises:
        UserError: one of them is NaN or infinite.
    """
    if (loss + grad_norm).isfinite():  # one question: each makes a GPU wait
        return
    raise _refused("gradient" if loss.isfinite() else "loss", when, advice)


def check_teacher(teacher: Distribution, env_steps: int) -> None:
    """Refuse a teacher's answer that holds NaN or infinity.

    Raises:
        UserError: names the parameter, and the env steps so far.
    """
    for name, value in teacher.params().items():
        if not value.isfinite().all():
            raise UserError(
                f"The teacher's {name} is not finite at environment step {env_steps}. The "
                "student has not learned from it."
            )


def _refused(what: str, when: str, advice: str) -> UserError:
    return UserError(
        f"The {what} is not finite at {when}. The weights are those of the step before. {advice}"
    )


def _when(step: int, context: str) -> str:
    return f"gradient step {step}{f' ({context})' if context else ''}"


def _skips_by_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a step is skipped where `found_inf` is set: torch's fused optimizers do that."""
    return all(group.get("fused") for group in optimizer.param_groups)
