"""All random seeds of the project, in ranges that never overlap.

Episode k of environment i is reset with `first + k * n_envs + i`, so every training episode has a
known seed and can be repeated by itself.
"""

from __future__ import annotations

from Common.errors import UserError

MAX_RUN_INDEX = 255
EPISODES_PER_RUN = 2_000_000

DATASET = range(10_000_000, 20_000_000)  # one seed per episode of a teacher dataset
TRAINING = range(20_000_000, 40_000_000)  # `EPISODES_PER_RUN` per run_index
TEACHER_TRAINING = range(40_000_000, 60_000_000)  # likewise, for Train_Teacher
MODEL = range(60_000_000, 60_001_000)  # network initialisation, action sampling, minibatches
VALIDATION = range(70_000_000, 80_000_000)  # choosing checkpoints and settings
EVALUATION = range(80_000_000, 90_000_000)  # out of distribution (OD): for reports only
# For a run_index beyond those of the first ranges. Games take seeds below 2**31.
MORE_TRAINING = range(1_000_000_000, 1_500_000_000)
MORE_TEACHER_TRAINING = range(1_500_000_000, 2_000_000_000)


def _check(run_index: int) -> None:
    if not 0 <= run_index <= MAX_RUN_INDEX:
        raise UserError(f"`run_index` {run_index} is outside 0 to {MAX_RUN_INDEX}.")


def _nth_block(first: range, more: range, run_index: int) -> range:
    _check(run_index)
    n_first = len(first) // EPISODES_PER_RUN
    in_first = run_index < n_first
    block, place = (first, run_index) if in_first else (more, run_index - n_first)
    start = block.start + place * EPISODES_PER_RUN
    return range(start, start + EPISODES_PER_RUN)


def training(run_index: int) -> range:
    """Return the episode seeds of a student's training environments."""
    return _nth_block(TRAINING, MORE_TRAINING, run_index)


def teacher_training(run_index: int) -> range:
    """Return the episode seeds of a teacher's training environments."""
    return _nth_block(TEACHER_TRAINING, MORE_TEACHER_TRAINING, run_index)


def further(seed: int, n: int) -> int:
    """Return the seed `n` places after `seed`, within the same range.

    Wrap around at the end of a range, so that a long run never uses the seeds of another. Outside
    all ranges, return `seed + n`.
    """
    block = _range_of(seed)
    return seed + n if block is None else block.start + (seed - block.start + n) % len(block)


def _range_of(seed: int) -> range | None:
    of_runs = (TRAINING, TEACHER_TRAINING, MORE_TRAINING, MORE_TEACHER_TRAINING)
    for block in (DATASET, *of_runs, VALIDATION, EVALUATION):
        if seed in block:
            if block not in of_runs:
                return block
            start = seed - (seed - block.start) % EPISODES_PER_RUN
            return range(start, start + EPISODES_PER_RUN)
    return None


def model(run_index: int) -> int:
    """Return the seed of Python, NumPy and torch for a run."""
    _check(run_index)
    return MODEL.start + run_index
