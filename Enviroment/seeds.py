"""Every random seed of the project, in ranges that never overlap.

An environment's episode k of worker i is reset with `first + k * n_envs + i`, so each episode
that was ever trained on has a seed that can be named, and repeated alone.
"""

from __future__ import annotations

from Common.errors import UserError

MAX_RUN_INDEX = 5
EPISODES_PER_RUN = 2_000_000

DATASET = range(10_000_000, 20_000_000)  # one seed an episode of a teacher dataset
TRAINING = range(20_000_000, 40_000_000)  # `EPISODES_PER_RUN` for each run_index
TEACHER_TRAINING = range(40_000_000, 60_000_000)  # likewise, for Train_Teacher
MODEL = range(60_000_000, 60_001_000)  # network initialisation, action sampling, minibatches
VALIDATION = range(70_000_000, 80_000_000)  # choosing checkpoints and settings
EVALUATION = range(80_000_000, 90_000_000)  # out of distribution (OD): reported, never chosen on


def _nth_block(block: range, run_index: int) -> range:
    if not 0 <= run_index <= MAX_RUN_INDEX:
        raise UserError(f"`run_index` {run_index} is outside 0 to {MAX_RUN_INDEX}.")
    start = block.start + run_index * EPISODES_PER_RUN
    return range(start, start + EPISODES_PER_RUN)


def training(run_index: int) -> range:
    """Episode seeds of the training environments of a student's run."""
    return _nth_block(TRAINING, run_index)


def teacher_training(run_index: int) -> range:
    """Episode seeds of the training environments of a teacher's run."""
    return _nth_block(TEACHER_TRAINING, run_index)


def further(seed: int, n: int) -> int:
    """Return the seed `n` places after `seed`, in the same range: after a range's last seed comes
    its first one again, so that a long run never takes the seeds of another. Seeds outside all
    ranges are simply counted on.
    """
    block = _range_of(seed)
    return seed + n if block is None else block.start + (seed - block.start + n) % len(block)


def _range_of(seed: int) -> range | None:
    for block in (DATASET, TRAINING, TEACHER_TRAINING, VALIDATION, EVALUATION):
        if seed in block:
            if block not in (TRAINING, TEACHER_TRAINING):
                return block
            start = seed - (seed - block.start) % EPISODES_PER_RUN
            return range(start, start + EPISODES_PER_RUN)
    return None


def model(run_index: int) -> int:
    """Seed of Python, NumPy and torch for a run."""
    _nth_block(TRAINING, run_index)  # the same bounds
    return MODEL.start + run_index
