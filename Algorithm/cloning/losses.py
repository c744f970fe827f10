"""Losses of supervised distillation as pure functions; each is `(B,)`, not averaged.

`teacher` is the teacher's distribution in a state, whichever policy acted; its mode is the label.
Divergences and densities are summed over action dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from Algorithm.cloning.config import BETA_NLL, CloningConfig
from Common.errors import UserError
from Models.agreement import ActionAccuracy
from Models.distributions import FAMILIES, DiagGaussian, Distribution

_OF_CONTINUOUS_ACTIONS = (BETA_NLL, "MSE")


def nll_loss(student: Distribution, teacher: Distribution) -> Tensor:
    """Return -ln pi_S(a_T | s) with a_T the teacher's mode in raw form: `(B,)`.

    It can be negative for densities. That of a squashed Gaussian is over actions in [-1, 1].
    """
    return -student.log_prob(teacher.mode())


def beta_nll_loss(student: Distribution, teacher: Distribution, beta: float) -> Tensor:
    """Return sum_i s_i^(2 beta) (-ln pi_S(a_T,i | s)), the weights without gradient: `(B,)`.

    Beta-NLL of Seitzer et al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation with
    Probabilistic Neural Networks", ICLR 2022, arXiv 2203.09168. `beta` 0 is the NLL; with 1, the
    gradient of the means is that of the MSE. Before a tanh: its slope at the label is a constant.

    Raises:
        TypeError: the student is not a Gaussian, so there is no standard deviation.
    """
    if not isinstance(student, DiagGaussian):
        raise TypeError("Only Gaussians have a beta-NLL.")
    z = (teacher.mode() - student.mean) / student.log_std.exp()
    nll = 0.5 * z.square() + student.log_std + 0.5 * math.log(2 * math.pi)  # (B, A)
    return ((2 * beta * student.log_std.detach()).exp() * nll).sum(-1)


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
    """Return the losses without settings by their names in `LOSS_TYPES`, each `(B,)`."""
    losses = {"NLL": nll_loss(student, teacher), "KL": kl_loss(student, teacher)}
    if not teacher.is_discrete:
        losses["MSE"] = mse_loss(student, teacher)
    return losses


def minimised(
    losses: Mapping[str, Tensor],
    student: Distribution,
    teacher: Distribution,
    config: CloningConfig,
) -> Tensor:
    """Return the loss that training minimises, before importance weights: `(B,)`.

    Args:
        losses: `cloning_losses` of these distributions.
    """
    if config.loss_type == BETA_NLL:
        return beta_nll_loss(student, teacher, config.nll_beta)
    return losses[config.loss_type]


def batch_figures(
    losses: Mapping[str, Tensor],
    student: Distribution,
    teacher: Distribution,
    accuracy: ActionAccuracy,
) -> dict[str, Tensor]:
    """Return the metrics of a batch for the log, scalars on the device.

    Args:
        losses: `cloning_losses` of these distributions.
    """
    with torch.no_grad():
        figures = {name.lower(): loss.mean() for name, loss in losses.items()}
        if accuracy.is_defined:
            figures["action_accuracy"] = accuracy.of_modes(student, teacher).mean()
        if isinstance(student, DiagGaussian):
            figures["log_std"] = student.log_std.mean()
    return figures


def priority_loss(loss_type: str, student: Distribution, teacher: Distribution) -> Tensor:
    """Return the loss from which a sample's priority is computed, with minimum 0.

    KL and MSE are used directly. An NLL, also a weighted one, is relative to that of the student's
    own mode, because a density has no smallest NLL: ln pi_S(a_S) - ln pi_S(a_T) for discrete
    actions, and for Gaussians, before a tanh, sum_i (m_S - m_T)^2 / (2 s_S^2).

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
    if loss_type in _OF_CONTINUOUS_ACTIONS and FAMILIES[teacher].is_discrete:
        raise UserError(f"`loss_type` {loss_type} needs continuous actions. Use NLL or KL.")
