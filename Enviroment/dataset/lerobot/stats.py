"""Statistics of episodes in LeRobot's form, and of whole datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Stats = Mapping[str, np.ndarray]  # min, max, mean, std, count, and the quantiles


def vector_stats(values: np.ndarray) -> Stats:
    """Return the statistics of a column `(T, N)`, each `(N,)`; count is `(1,)`."""
    return _stats(values.astype(np.float64), len(values))


def picture_stats(pictures: np.ndarray) -> Stats:
    """Return the statistics of pictures uint8 `(T, H, W, 3)` from 0 to 1, each `(3, 1, 1)`."""
    levels = pictures.reshape(-1, pictures.shape[-1])  # (T * H * W, 3)
    # From the counts of the 256 levels: exact, and without a copy in float64.
    counts = np.stack([np.bincount(levels[:, c], minlength=256) for c in range(levels.shape[1])])
    stats = _of_levels(counts)
    shaped = {name: value[:, None, None] for name, value in stats.items()}
    return {**shaped, "count": np.array([len(pictures)])}


def aggregate(parts: Sequence[Stats]) -> Stats:
    """Return the statistics of episodes together, as LeRobot does.

    Mean and standard deviation are exact. Quantiles are the means of the episodes' quantiles.
    """
    counts = np.stack([part["count"] for part in parts]).astype(np.float64)  # (episodes, 1)
    total = counts.sum()

    def mean_of(name: str) -> np.ndarray:
        values = np.stack([part[name] for part in parts])
        weights = counts.reshape(-1, *(1,) * (values.ndim - 1))
        return (values * weights).sum(axis=0) / total

    mean = mean_of("mean")
    squares = [part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts]
    variance = sum(n * square for (n,), square in zip(counts, squares, strict=True)) / total
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(total)]),
        **{name: mean_of(name) for name in QUANTILES},
    }


def _stats(values: np.ndarray, count: int) -> Stats:
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": np.array([count]),
        **{name: np.quantile(values, q, axis=0) for name, q in QUANTILES.items()},
    }


def _of_levels(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the statistics of pixels by the counts of their levels, `(C, 256)` -> `(C,)`."""
    levels = np.arange(256) / 255.0
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    below = counts.cumsum(axis=1)
    present = [np.flatnonzero(row) for row in counts]

    def at(q: float) -> np.ndarray:
        reached = [np.searchsorted(row, q * n) for row, n in zip(below, total, strict=True)]
        return levels[np.minimum(reached, 255)]

    return {
        "min": levels[[row[0] for row in present]],
        "max": levels[[row[-1] for row in present]],
        "mean": mean,
        "std": np.sqrt(variance),
        **{name: at(q) for name, q in QUANTILES.items()},
    }
