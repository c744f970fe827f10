"""Distil into a student that sees with a network of your own, and load it again."""

from typing import Any

import torch
from torch import Tensor, nn

from vision_distillation import Student, distil


class PatchEncoder(nn.Module):
    """Patches of 8x8 pixels, mixed by self-attention."""

    def __init__(self, shape: tuple[int, int, int], width: int = 32) -> None:
        super().__init__()
        channels, height, size = shape  # of the frames of all time steps
        self.patches = nn.Conv2d(channels, width, 8, stride=8)
        self.places = nn.Parameter(0.1 * torch.randn(height // 8 * (size // 8), width))
        self.mixed = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.features = nn.Linear(len(self.places) * width, 64)

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 `(B, channels, height, width)` to float32 `(B, 64)`."""
        patches = self.patches(frames / 255).flatten(2).transpose(1, 2)  # (B, patches, width)
        return self.features(self.mixed(patches + self.places).flatten(1))


def main(steps: int = 35_000, **settings: Any) -> None:
    """Train a student of Pusher; `settings` are further ones of `distil`."""
    distil("Pusher", encoder=PatchEncoder, total_timesteps=steps, output="my_patches", **settings)
    # Bundles never import code, so the class is given again.
    student = Student.load("my_patches", encoder=PatchEncoder)
    print(student.policy.config.mode, student.description["training"])


if __name__ == "__main__":
    main()
