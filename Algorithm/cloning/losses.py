"""Losses of supervised distillation as pure functions; each is `(B,)`, not averaged.

`teacher` is the teacher's distribution in a state, whichever policy acted; its mode is the label.
Divergences and densities are summed over action dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from Common.errors import UserError
from Models.distributions import FAMILIES, DiagGaussian, Distribution


def nll_loss(student: Distribution, teacher: Distribution) -> Tensor:
    """Return -ln pi_S(a_T | s) with a_T the teacher's mode in raw form: `(B,)`.

    It can be negative for densities. That of a squashed Gaussian is over actions in [-1, 1].
    """
    return -student.log_prob(teacher.mode())


def kl_loss(student: Distribution, teacher: Distribution) -> Tensor:
    """Return the exact KL(pi_T || pi_S): `(B,)`."""
    return teacher.kl(student)


def mse_loss(student: Distribution, teacher: Distribution) -> Tensor:
    """Return (a_S - a_T)^2 of the modes (squashed: in [-1, 1]), averaged over dimensions: `(B,)`.

    It does not train the student's standard deviations.

    Raises:
        TypeError: actions are discrete.
    """
    if teacher.is_discrete:
        raise TypeError("Discrete actions have no mean squared error.")
    ours, theirs = student.to_env_action(student.mode()), teacher.to_env_action(teacher.mode())
    return (ours - theirs).square().mean(-1)


def cloning_losses(student: Distribution, teacher: Distribution) -> dict[str, Tensor]:
    """Return all losses of these distributions by their `loss_type`, each `(B,)`."""
    losses = {"NLL": nll_loss(student, teacher), "KL": kl_loss(student, teacher)}
    if not teacher.is_discrete:
        losses["MSE"] = mse_loss(student, teacher)
    return losses


def priority_loss(loss_type: str, student: Distribution, teacher: Distribution) -> Tensor:
    """Return the loss from which a sample's priority is computed, with minimum 0.

    KL and MSE are used directly. An NLL is relative to that of the student's own mode, because a
    density has no smallest NLL: ln pi_S(a_S) - ln pi_S(a_T) for discrete actions, and for
    Gaussians, before a tanh, sum_i (m_S - m_T)^2 / (2 s_S^2).

    Returns:
        `(B,)`, never below 0, without a gradient.
    """
    with torch.no_grad():
        if loss_type == "KL":
            return kl_loss(student, teacher).clamp(min=0)  # rounding may give less
        if loss_type == "MSE":
            return mse_loss(student, teacher)
        if isinstance(student, DiagGaussian):
            z = (student.mean - teacher.mode()) / student.log_std.exp()
            return 0.5 * z.square().sum(-1)
        return student.log_prob(student.mode()) - student.log_prob(teacher.mode())


def check_families(teacher: str, student: str, loss_type: str) -> None:
    """Raise UserError if the loss between labels and actions is undefined.

    Args:
        teacher, student: families of action distributions (`Models.distributions.FAMILIES`).

    Raises:
        UserError: the families differ, or the loss does not support discrete actions.
    """
    if teacher != student:
        raise UserError(
            f"The labels are {teacher}, the student's actions {student}. Give the student the "
            f"family {teacher}."
        )
    if loss_type == "MSE" and FAMILIES[teacher].is_discrete:
        raise UserError("`loss_type` MSE needs continuous actions. Use NLL or KL.")
