"""NaN and infinity are refused before they reach a weight."""

from __future__ import annotations

from torch import Tensor

from Enviroment.errors import UserError
from Models.distributions import Distribution


def check_step(loss: Tensor, grad_norm: Tensor, when: str, advice: str) -> None:
    """Refuses an optimizer's step that would spoil the weights.

    Args:
        loss, grad_norm: scalars.
        when: `gradient step 3`, or more.
        advice: whole sentences.

    Raises:
        UserError: one of them is NaN or infinite.
    """
    if (loss + grad_norm).isfinite():  # one question: each makes a GPU wait
        return
    what = "gradient" if loss.isfinite() else "loss"
    raise UserError(
        f"The {what} is not finite at {when}. The weights are those of the step before. {advice}"
    )


def check_teacher(teacher: Distribution, env_steps: int) -> None:
    """Refuses a teacher's answer that holds NaN or infinity.

    Raises:
        UserError: names the parameter, and the env steps so far.
    """
    for name, value in teacher.params().items():
        if not value.isfinite().all():
            raise UserError(
                f"The teacher's {name} is not finite at environment step {env_steps}. The "
                "student has not learned from it."
            )
