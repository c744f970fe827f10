"""Settings of the sequences that recurrent students learn from. Needs no torch."""

from __future__ import annotations

from Common.errors import UserError

SEQUENCE_LENGTH = 16  # env steps through which gradients flow, by default
SEQUENCES = 4  # per minibatch, by default


def check_whole_sequences(batch_size: int, length: int) -> None:
    """Raise UserError for minibatches that are not of whole sequences.

    Args:
        batch_size: samples per minibatch.
        length: env steps per sequence.
    """
    if batch_size % length:
        raise UserError(
            f"`batch_size` {batch_size} must be a multiple of the {length} env steps of a sequence "
            f"(`sequence_length`), such as {length * max(1, round(batch_size / length))}."
        )


def check_uniform(alpha: float) -> None:
    """Raise UserError for a prioritised replay of a recurrent student's samples."""
    if alpha:
        raise UserError(
            f"`alpha` {alpha}: recurrent students learn episodes from beginning to end, so samples "
            "have no priorities. Leave it out."
        )


def check_sequences(length: int, n_steps: int, batch_size: int | None) -> int:
    """Return the env steps per sequence: `length`, at most a rollout.

    Args:
        n_steps: env steps per rollout and environment.
        batch_size: samples per minibatch; None: the whole rollout.

    Raises:
        UserError: sequences do not fill the rollout, or minibatches are not of whole sequences.
    """
    used = min(length, n_steps)
    if n_steps % used:
        divisors = [n for n in range(1, used) if n_steps % n == 0]
        raise UserError(
            f"`sequence_length` {length} does not divide the {n_steps} env steps of a rollout "
            f"(`n_steps`). Give another one, such as {divisors[-1]}."
        )
    if batch_size is not None:
        check_whole_sequences(batch_size, used)
    return used
