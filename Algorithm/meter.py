"""Average metrics of a training loop between logging points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def to_numbers(figures: Mapping[str, Tensor]) -> dict[str, float]:
    """Return scalars as plain numbers in one transfer, because each transfer synchronises a GPU."""
    if not figures:
        return {}
    device = next(iter(figures.values())).device
    scalars = [figure.detach().to(device, torch.float64) for figure in figures.values()]
    return dict(zip(figures, torch.stack(scalars).tolist(), strict=True))


class Meter:
    """Means of metrics since the last logging point."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._waited = self._total = 0.0  # seconds

    def add(self, figures: Mapping[str, Tensor]) -> None:
        self._steps += 1
        for name, value in figures.items():
            # Keep the sum on the device: reading a number would synchronise the GPU.
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()

    def time(self, waited: float, total: float) -> None:
        self._waited += waited
        self._total += total

    def means(self) -> dict[str, float]:
        return {name: sum_ / self._steps for name, sum_ in to_numbers(self._sums).items()}

    def steps_per_second(self) -> float:
        return self._steps / self._total

    def data_share(self) -> float:
        return self._waited / self._total

    def capture(self) -> dict[str, Any]:
        """Return the values that are not logged yet, for `Common.runs.packing`."""
        return {
            "sums": dict(self._sums),
            "steps": self._steps,
            "waited": self._waited,
            "total": self._total,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `capture`."""
        self._sums, self._steps = dict(state["sums"]), state["steps"]
        self._waited, self._total = state["waited"], state["total"]
