"""Settings of augmentation."""

from __future__ import annotations

from dataclasses import dataclass

from Common.errors import UserError


@dataclass(frozen=True)
class AugmentationConfig:
    """Settings of augmentation; none by default."""

    random_shift: int = 0  # pixels in each direction (DrQ: 4 of 84)
    modality_dropout: float = 0.0  # probability that a sample loses one of its modalities

    def __post_init__(self) -> None:
        if self.random_shift < 0:
            raise UserError(f"`random_shift` {self.random_shift} must be 0 pixels or more.")
        if not 0 <= self.modality_dropout < 1:
            raise UserError(
                f"`modality_dropout` {self.modality_dropout} must be 0 or more, and below 1."
            )

    @property
    def is_active(self) -> bool:
        return self.random_shift > 0 or self.modality_dropout > 0
