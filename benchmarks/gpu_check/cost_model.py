"""Predict the speed of `--simulator warp` on an H100 from launches, pixels and samples.

The figures of the card are measured (`Results/GPU`), published by others, or assumed; each says
which. The model adds times, so it is pessimistic where the processor and the GPU overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

# Kernels of one env step (of all substeps) and of drawing, counted (`test_cost_model`).
KERNELS = {"Pusher": 505, "Reacher": 708, "Hopper": 1416, "HalfCheetah": 490}
_DRAWING_KERNELS = 2
_SMALL_64 = 52.2e6  # FLOP of a forward pass of ImpaalaSmall at 64x64


@dataclass(frozen=True)
class Card:
    """The figures of a GPU and its processor."""

    kernel: float = 5e-6  # s per kernel of a graph at about 1,000 worlds; assumed
    frames: float = 1.5e6  # frames of 64x64 of primitives per s; published: 1 to 2 million
    # s per sample, forward and backward, of ImpaalaSmall at 64x64 in bfloat16: the slope between
    # minibatches of 256 and 2,048; measured on an H100
    sample: float = 7.5e-6
    # s per minibatch besides that; measured on an H100, 8.4 ms for 256 samples
    minibatch: float = 6.4e-3
    bandwidth: float = 3.35e12  # bytes of memory per s; the maker's
    python: float = 1e-3  # s per step of all worlds that Python takes; assumed
    world: float = 1e-6  # s per world and step for rewards, infos and the like; assumed
    beginning: float = 6e-5  # s of the processor per initial state; measured, AMD Zen 4


@dataclass(frozen=True)
class Work:
    """What is simulated and learned."""

    task: str = "Pusher"
    worlds: int = 1_024
    size: tuple[int, int] = (64, 64)
    time_limit: int = 100  # env steps
    epochs: int = 4
    batch_size: int = 2_048
    world_bytes: int = 24_188  # of mujoco-warp's arrays, each touched about once per substep
    substeps: int = 5
    flop: float = _SMALL_64  # of a forward pass


def stepping_seconds(work: Work, card: Card) -> float:
    """Return the seconds in which all worlds take and draw an env step, without Python."""
    kernels = (KERNELS[work.task] + _DRAWING_KERNELS) * card.kernel
    memory = work.worlds * work.world_bytes * work.substeps / card.bandwidth
    pixels = work.size[0] * work.size[1] / 64**2
    return kernels + memory + work.worlds * pixels / card.frames


def environment_seconds(work: Work, card: Card) -> float:
    """Return the seconds of a step of `WorldsVecEnv`, with the beginnings of episodes."""
    begin = work.worlds / work.time_limit * card.beginning
    return stepping_seconds(work, card) + card.python + work.worlds * card.world + begin


def training_seconds(work: Work, card: Card) -> float:
    """Return the seconds of PPD per env step of all worlds: acting, epochs and stepping."""
    sample = card.sample * work.flop / _SMALL_64
    acting = work.worlds * sample / 3  # a forward pass is a third of forward and backward
    update = work.epochs * work.worlds * (sample + card.minibatch / work.batch_size)
    return environment_seconds(work, card) + acting + update


def predictions(work: Work, card: Card | None = None) -> dict[str, float]:
    """Return the predicted env steps per second."""
    card = card or Card()
    return {
        "stepping and drawing": work.worlds / stepping_seconds(work, card),
        "environments": work.worlds / environment_seconds(work, card),
        "PPD": work.worlds / training_seconds(work, card),
    }
