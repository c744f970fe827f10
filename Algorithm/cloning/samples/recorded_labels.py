"""Distributions around recorded actions: the labels of recordings, which have no teacher."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.dataset.format import DISTRIBUTION
from Models.distributions import FAMILIES
from Models.families import CATEGORICAL, GAUSSIAN, SQUASHED_GAUSSIAN

_LIMIT = 0.999  # of labels in [-1, 1]: the inverse of tanh is infinite at 1
# A recording has actions but no distribution. The KL takes these: the standard deviation, before
# the tanh or in half widths of the bounds, and the logit of the recorded action. NLL and MSE do not
# depend on them.
_LABEL_STD, _LABEL_LOGIT = 0.2, 10.0


def distribution_columns(family: str) -> dict[str, str]:
    """Return the column of each parameter of a family's distributions."""
    return {field.name: DISTRIBUTION + field.name for field in fields(FAMILIES[family])}


@dataclass(frozen=True)
class RecordedLabels:
    """Labels of a family of distributions, whose mode is the recorded action.

    Raises:
        UserError: recorded actions cannot be labels of this family.
    """

    family: str
    space: spaces.Space  # of the actions

    def __post_init__(self) -> None:
        is_box = isinstance(self.space, spaces.Box)
        fits = {GAUSSIAN: is_box, SQUASHED_GAUSSIAN: is_box}
        fits[CATEGORICAL] = isinstance(self.space, spaces.Discrete)
        if not fits.get(self.family, False):
            raise UserError(
                f"Recorded actions of {self.space} cannot be labels of a {self.family} student."
            )

    def of(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parameters by column, float32 `(B, ...)`.

        Args:
            actions: `(B, A)` in the units of the space; or indices `(B,)`.

        Raises:
            UserError: they do not fit the space.
        """
        if isinstance(self.space, spaces.Discrete):
            n = int(self.space.n)
            if actions.dtype.kind not in "iu":
                raise UserError(
                    f"Recorded actions are {actions.dtype}, not indices of {self.space}. Import or "
                    "record them again, as integers."
                )
            if actions.min() < 0 or actions.max() >= n:
                raise UserError(
                    f"Recorded actions are {actions.min()} to {actions.max()}, but those of the "
                    f"task are 0 to {n - 1}."
                )
            logits = _LABEL_LOGIT * np.eye(n, dtype=np.float32)[actions]  # (B, n)
            return self._columns(logits=logits)
        assert isinstance(self.space, spaces.Box)
        low, high = self.space.low, self.space.high
        if actions.shape[1:] != low.shape:
            raise UserError(
                f"Recorded actions have the shape {actions.shape[1:]}, not {low.shape} of the task."
            )
        # A dimension without bounds, or with a single action, has no scale of its own.
        width = np.where(np.isfinite(high - low) & (high > low), high - low, 2.0)
        if self.family == GAUSSIAN:
            log_std = np.broadcast_to(np.log(_LABEL_STD * width / 2), actions.shape)
            return self._columns(mean=actions, log_std=log_std)
        shares = 2 * (actions - low) / width - 1  # -1 to 1
        mean = np.arctanh(shares.clip(-_LIMIT, _LIMIT)).astype(np.float32)
        return self._columns(mean=mean, log_std=np.full_like(mean, np.log(_LABEL_STD)))

    def _columns(self, **parameters: np.ndarray) -> dict[str, np.ndarray]:
        columns = distribution_columns(self.family).items()
        return {column: parameters[name].astype(np.float32) for name, column in columns}
