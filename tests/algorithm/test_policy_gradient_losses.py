"""Returns and loss of the policy gradient methods against hand arithmetic, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Algorithm.policy_gradient.losses import (
    discounted_returns,
    n_step_returns,
    policy_gradient_loss,
)

# Two episodes, of three steps and of two.
REWARDS = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
ENDS = np.array([False, False, True, False, True])


def test_discounted_returns_by_hand():
    # 3; 2 + 3/2; 1 + 3.5/2 in the first episode; 5; 4 + 5/2 in the second
    np.testing.assert_array_equal(
        discounted_returns(REWARDS, ENDS, gamma=0.5), [2.75, 3.5, 3.0, 6.5, 5.0]
    )


def test_n_step_returns_by_hand():
    rewards, ends = torch.tensor(REWARDS), torch.tensor(ENDS)
    values = torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0], dtype=torch.float64)
    one = n_step_returns(rewards, values, ends, 0.5, n_steps=1)
    # r + V(next)/2, and r alone at the ends
    assert one.tolist() == [1 + 10, 2 + 15, 3, 4 + 25, 5]
    two = n_step_returns(rewards, values, ends, 0.5, n_steps=2)
    assert two.tolist() == [1 + 1 + 30 / 4, 2 + 1.5, 3, 4 + 2.5, 5]
    whole = n_step_returns(rewards, values, ends, 0.5, n_steps=3)
    assert whole.tolist() == discounted_returns(REWARDS, ENDS, 0.5).tolist()


def test_targets_have_no_gradient():
    values = torch.ones(5, requires_grad=True)
    rewards, ends = torch.tensor(REWARDS).float(), torch.tensor(ENDS)
    assert not n_step_returns(rewards, values, ends, 0.9, 1).requires_grad


def test_gradient_of_a_two_armed_bandit_by_hand():
    """d ln pi(a) / d theta_j = [a = j] - pi_j, so with pi = (3/4, 1/4) all is arithmetic."""
    logits = torch.tensor([np.log(3.0), 0.0], dtype=torch.float64, requires_grad=True)
    actions = torch.tensor([0, 0, 1])
    weights = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    policy_gradient_loss(logits.log_softmax(-1)[actions], weights).backward()
    # -1/3 [1 (1 - 3/4) + 2 (1 - 3/4) + 4 (0 - 3/4)] = -1/3 (-9/4)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, [3 / 4, -3 / 4], rtol=1e-12)


@pytest.mark.parametrize("baseline", [0.0, 20.0])
def test_a_baseline_leaves_the_expected_gradient(baseline: float):
    """Summed over the arms by their probability, it is the gradient of the mean reward."""
    reward = torch.tensor([1.0, 5.0], dtype=torch.float64)
    logits = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
    log_prob = logits.log_softmax(-1)
    probability = log_prob.detach().exp()
    # The mean over two arms is half the sum, hence the factor 2.
    loss = policy_gradient_loss(log_prob, 2 * probability * (reward - baseline))
    (ours,) = torch.autograd.grad(loss, logits)
    (exact,) = torch.autograd.grad((logits.softmax(-1) * reward).sum(), logits)
    np.testing.assert_allclose(-ours, exact, atol=1e-14)
