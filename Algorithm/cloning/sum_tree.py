"""A sum tree in flat NumPy arrays, with batched updates and lookups."""

from __future__ import annotations

import numpy as np


class SumTree:
    """A binary tree whose leaves are weights, and whose nodes are the sums of their two children.

    Setting or finding n of N leaves takes O(log N) NumPy calls on arrays of size n.

    Args:
        capacity: number of leaves, initially 0.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"A sum tree needs at least one leaf, not {capacity}.")
        self.capacity = capacity
        self._depth = (capacity - 1).bit_length()
        self._first_leaf = 1 << self._depth
        # Node 1 is the root; the children of node i are 2i and 2i + 1; node 0 is not used.
        self._sums = np.zeros(2 * self._first_leaf)

    @property
    def total(self) -> float:
        """Sum of all leaves."""
        return float(self._sums[1])

    @property
    def leaves(self) -> np.ndarray:
        """Weights, float64 `(capacity,)`; a view, not to be written to."""
        return self._sums[self._first_leaf : self._first_leaf + self.capacity]

    def set(self, indices: np.ndarray, weights: np.ndarray) -> None:
        """Set the weights of leaves, both `(n,)`. For duplicate indices, the last weight counts.

        Sums are recomputed along the path to the root, so that no error accumulates.
        """
        nodes = indices + self._first_leaf
        self._sums[nodes] = weights
        for _ in range(self._depth):
            nodes = nodes >> 1
            left = nodes << 1
            self._sums[nodes] = self._sums[left] + self._sums[left + 1]

    def fill(self, weights: np.ndarray) -> None:
        """Set the first leaves to weights `(n,)`, and all others to 0."""
        level = self._first_leaf
        self._sums[level : level + len(weights)] = weights
        self._sums[level + len(weights) :] = 0
        while level > 1:
            children = self._sums[level : 2 * level]
            level >>= 1
            self._sums[level : 2 * level] = children[::2] + children[1::2]

    def sum_before(self, index: int) -> float:
        """Return the sum of the leaves 0 to `index - 1`."""
        if index >= self._first_leaf:
            return self.total
        node, total = index + self._first_leaf, 0.0
        while node > 1:
            if node & 1:
                total += float(self._sums[node - 1])
            node >>= 1
        return total

    def find(self, mass: np.ndarray) -> np.ndarray:
        """Return the leaf of each cumulative sum: `(n,)` in [0, total) -> `(n,)`.

        A leaf of weight 0 is never found, not even by rounding, unless all are 0.
        """
        nodes, mass = np.ones(len(mass), np.int64), mass.copy()
        for _ in range(self._depth):
            nodes = nodes << 1
            left = self._sums[nodes]
            right = (mass >= left) & (self._sums[nodes + 1] > 0)
            mass -= np.where(right, left, 0.0)
            nodes += right
        return nodes - self._first_leaf
