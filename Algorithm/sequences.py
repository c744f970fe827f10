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
