"""Steps that would spoil the weights: refused at once, or skipped and refused at the end."""

from __future__ import annotations

import pytest
import torch

from Algorithm.finite import StepGuard
from Common.errors import UserError

NAN = float("nan")


class Training:
    """A fused Adam on one weight, whose losses and gradients are given."""

    def __init__(self, deferred: bool) -> None:
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.optimizer = torch.optim.Adam([self.weight], lr=0.1, fused=True)
        self.guard, self.weights = StepGuard("Do better.", deferred), []

    def run(self, losses: list[float], gradients: list[float]) -> None:
        for step, (loss, gradient) in enumerate(zip(losses, gradients, strict=True)):
            self.weight.grad = torch.tensor(gradient)
            self.guard.check(
                self.optimizer, torch.tensor(loss), self.weight.grad, 10 + step, "rollout 2"
            )
            self.optimizer.step()
            self.weights.append(self.weight.item())
        self.guard.settle()


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize(
    ("losses", "gradients", "what"),
    [
        ([1.0, NAN, 1.0, 1.0], [1.0, 1.0, 1.0, NAN], "loss"),
        ([1.0, 1.0, NAN, 1.0], [1.0, torch.inf, 1.0, 1.0], "gradient"),
    ],
)
def test_the_first_bad_step_is_named_and_no_later_one_is_taken(
    deferred: bool, losses: list[float], gradients: list[float], what: str
) -> None:
    message = rf"The {what} is not finite at gradient step 11 \(rollout 2\)\. .* Do better\."
    training = Training(deferred)
    with pytest.raises(UserError, match=message):
        training.run(losses, gradients)
    # Adam's first step moves by the learning rate, whatever the gradient.
    assert training.weight.item() == pytest.approx(0.9)


def test_good_steps_are_those_of_an_optimizer_without_a_guard() -> None:
    at_once, deferred = Training(False), Training(True)
    for training in (at_once, deferred):
        training.run([1.0] * 3, [1.0, -2.0, 0.5])
    assert deferred.weights == at_once.weights


def test_after_an_error_the_optimizer_steps_again() -> None:
    training = Training(True)
    with pytest.raises(UserError, match="The gradient is not finite at gradient step 10"):
        training.run([1.0], [NAN])
    training.run([1.0], [1.0])
    assert training.weight.item() == pytest.approx(0.9)
