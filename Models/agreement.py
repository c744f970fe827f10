"""Measure the agreement of two policies' actions, in training and in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from Enviroment.action_range import has_range
from Models.distributions import Distribution, SquashedGaussian


class ActionAccuracy:
    """Agreement of two actions: 1 - mean squared difference, after clipping and scaling to [-1, 1].

    Equal actions give 1, opposite ends of the range give -3. For discrete actions it is the share
    of equal ones. Continuous actions without bounds have no such scale: `is_defined` is False.

    Args:
        space: the action space.
    """

    def __init__(self, space: spaces.Space) -> None:
        self.is_defined = not isinstance(space, spaces.Box) or has_range(space)
        self._is_box = isinstance(space, spaces.Box)
        if isinstance(space, spaces.Box):
            self._low, self._high = (
                torch.as_tensor(bound.reshape(-1).astype(np.float64))
                for bound in (space.low, space.high)
            )
            # A dimension with a single action has no scale. Any two of its actions are equal.
            self._width = (self._high - self._low).where(self._high > self._low, 1.0)

    def of_actions(self, ours: Any, theirs: Any) -> np.ndarray:
        """Return the accuracy `(B,)` of actions in the environment's units, `(B, ...)`."""
        ours, theirs = (torch.as_tensor(np.asarray(actions)) for actions in (ours, theirs))
        if self._is_box:
            ours, theirs = (self._scaled(actions.double()) for actions in (ours, theirs))
        return self._agreement(ours, theirs).double().numpy()

    @torch.no_grad()
    def of_modes(self, ours: Distribution, theirs: Distribution) -> Tensor:
        """Return the accuracy `(B,)` of the most probable actions of two distributions."""
        actions = [dist.to_env_action(dist.mode()) for dist in (ours, theirs)]
        if self._is_box and not isinstance(ours, SquashedGaussian):  # whose are in [-1, 1]
            actions = [self._scaled(action) for action in actions]
        return self._agreement(*actions)

    def _scaled(self, actions: Tensor) -> Tensor:
        """Scale actions of a box `(B, ...)` to `(B, A)` in [-1, 1]."""
        if self._low.device != actions.device or self._low.dtype != actions.dtype:
            self._low, self._high = self._low.to(actions), self._high.to(actions)
            self._width = self._width.to(actions)
        flat = actions.reshape(len(actions), -1).clamp(self._low, self._high)
        return 2 * (flat - self._low) / self._width - 1

    def _agreement(self, ours: Tensor, theirs: Tensor) -> Tensor:
        ours, theirs = (x.reshape(len(x), -1) for x in (ours, theirs))
        if self._is_box:
            return 1 - (ours - theirs).square().mean(-1)
        return (ours == theirs).float().mean(-1)
