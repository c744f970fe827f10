"""Sequences of whole episodes for recurrent students, in place of single samples.

A batch holds the next steps of S streams, each of which plays one episode after the other from its
first step to its last. The hidden state at the end of a batch is carried on to the next one, so
that it holds the whole episode and is only one gradient step old; gradients end at the batch
(stateful truncated backpropagation in time). Drawing sequences anywhere would need a burn-in from
the beginning of their episodes, which costs more than the training, or a stored hidden state of an
epoch ago.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.replay import (
    Draw,
    Epochs,
    PrioritisedReplay,
    ReplayConfig,
    new_of_batch,
)
from Algorithm.cloning.samples.data import Samples, in_episodes
from Algorithm.sequences import check_uniform, check_whole_sequences
from Models.student.policy import StudentPolicy


class EpisodeStreams:
    """Draws the next env steps of several streams of episodes, in shuffled epochs.

    It has the interface of `PrioritisedReplay`. New and old samples are played by separate
    streams.

    Args:
        data: the samples, which may grow; `add` counts the new ones.
        length: env steps per stream and batch.
        seed: seed of the order of episodes.

    Raises:
        UserError: `config` sets priorities, or the episodes of the samples are unknown.
    """

    prioritised = False

    def __init__(self, data: Samples, length: int, config: ReplayConfig, seed: int) -> None:
        check_uniform(config.alpha)
        self.config, self.length = config, length
        self.size = self.n_new = 0
        self._data, self._rng = in_episodes(data), np.random.default_rng(seed)
        self._epochs = [Epochs(), Epochs()]  # of the old episodes, or of all; of the new ones
        self._episode = np.zeros(0, np.int64)  # of each stream; -1: none yet
        self._next = np.zeros(0, np.int64)  # next step in its episode
        self._indexed = 0  # samples in `_steps`
        self._n_old = 0  # episodes in `_steps` that are not new
        self._steps: list[np.ndarray] = []  # samples of each episode

    def add(self, count: int, *, new: bool) -> None:
        """Add the next `count` samples, whole episodes (see `PrioritisedReplay.add`)."""
        self.size += count
        self.n_new = count if new else 0
        self._indexed = 0

    def anneal(self, progress: float) -> None:
        """Do nothing: there are no priorities."""

    def update(self, indices: np.ndarray, losses: np.ndarray) -> None:
        """Do nothing: there are no priorities."""

    def statistics(self) -> dict[str, float]:
        """Return sizes for the log."""
        return {"size": float(self.size), "new": float(self.n_new)}

    def draw(self, batch_size: int, new_share: float | None = None) -> Draw:
        """Return the next steps of all streams.

        Args:
            batch_size: samples; a multiple of `length`.
            new_share: share of streams of new samples; None, or too few streams for it: each plays
                all samples.

        Returns:
            indices time-major `(length * streams,)`, and where episodes begin.
        """
        self._index()
        n_streams = batch_size // self.length
        if len(self._episode) != n_streams:
            self._episode, self._next = np.full(n_streams, -1), np.zeros(n_streams, np.int64)
        n_old = self._n_old
        n_new = new_of_batch(n_streams, new_share)
        apart = n_new is not None and 0 < n_old < len(self._steps)
        indices = np.empty((self.length, n_streams), np.int64)
        starts = np.zeros((self.length, n_streams), bool)
        for stream in range(n_streams):
            is_new = apart and n_new is not None and stream >= n_streams - n_new
            first, stop = (n_old, len(self._steps)) if is_new else (0, n_old if apart else None)
            self._play(stream, is_new, first, stop, indices[:, stream], starts[:, stream])
        return Draw(indices.reshape(-1), None, starts)

    def _play(
        self,
        stream: int,
        is_new: bool,
        first: int,
        stop: int | None,
        indices: np.ndarray,
        starts: np.ndarray,
    ) -> None:
        """Fill in the next steps of a stream of the episodes `first` to `stop - 1`."""
        stop = len(self._steps) if stop is None else stop
        episode, step, filled = int(self._episode[stream]), int(self._next[stream]), 0
        while filled < self.length:
            if not first <= episode < stop or step == len(self._steps[episode]):
                episode = int(self._epochs[is_new].draw(self._rng, first, stop, 1)[0])
                step, starts[filled] = 0, True
            part = self._steps[episode][step : step + self.length - filled]
            indices[filled : filled + len(part)] = part
            step, filled = step + len(part), filled + len(part)
        self._episode[stream], self._next[stream] = episode, step

    def _index(self) -> None:
        """Find the episodes of samples that were added."""
        if self._indexed < self.size:
            self._steps = episodes_of(self._data.episode_numbers()[: self.size])
            self._n_old = sum(int(steps[0] < self.size - self.n_new) for steps in self._steps)
            self._indexed = self.size

    def capture(self) -> dict[str, Any]:
        """Return the complete state for `Common.runs.packing`."""
        return {
            "size": self.size,
            "n_new": self.n_new,
            "generator": self._rng.bit_generator.state,
            "epochs": [epochs.capture() for epochs in self._epochs],
            "episode": self._episode,
            "next": self._next,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of `capture` with the same data."""
        self.size, self.n_new, self._indexed = state["size"], state["n_new"], 0
        self._rng.bit_generator.state = state["generator"]
        for epochs, inner in zip(self._epochs, state["epochs"], strict=True):
            epochs.restore(inner)
        self._episode, self._next = state["episode"].copy(), state["next"].copy()


def episodes_of(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the samples of each episode, in the order of time and of their first samples.

    Args:
        numbers: the episode of each sample, `(N,)`.
    """
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    return sorted(parts, key=lambda samples: int(samples[0]))


def make_replay(
    policy: StudentPolicy,
    data: Samples,
    capacity: int,
    config: CloningConfig,
    replay: ReplayConfig,
    seed: int,
) -> PrioritisedReplay | EpisodeStreams:
    """Return what draws batches: of single samples, or of sequences for a recurrent student.

    Args:
        capacity: maximum size of the data.

    Raises:
        UserError: batches are not of whole sequences, or see `EpisodeStreams`.
    """
    if not policy.config.is_recurrent:
        return PrioritisedReplay(capacity, replay, seed)
    check_whole_sequences(config.batch_size, config.sequence_length)
    return EpisodeStreams(data, config.sequence_length, replay, seed)
