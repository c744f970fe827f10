"""Augmentation of what the student sees in an update: shifted frames, a modality left out.

Random shift: Kostrikov et al., "Image Augmentation Is All You Need" (DrQ), 2020 (arXiv
2004.13649); Laskin et al., "Reinforcement Learning with Augmented Data" (RAD), 2020 (arXiv
2004.14990).

An on-policy rollout is collected without augmentation, so that the student acts on what it will
see when it is deployed. An update that sees augmented observations then asks for the
log-probability of an action under another input than the one that it was drawn from: in PPO and
PPD the ratio at the first minibatch is no longer exactly 1, and some samples are clipped from the
start.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from Algorithm.on_policy.rollout import TensorObs
from Common.device import upload
from Common.errors import UserError
from Enviroment.observations import FRAME, PROPRIO
from Models.student.policy import FrozenNormaliser, StudentPolicy


@dataclass(frozen=True)
class AugmentationConfig:
    """What an update changes of the student's observations; the default is nothing."""

    random_shift: int = 0  # pixels, each way (DrQ: 4 of 84)
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


class Augmenter:
    """Augments batches of observations; what it is given stays as it is.

    It draws from torch's global generator on the CPU, whatever the observations' device, so that
    a run which restores that generator goes on with the same shifts.

    Args:
        policy: whose frames and proprioception these are.

    Raises:
        UserError: there is something to augment, and the policy does not read frames and
            proprioception.
    """

    def __init__(self, config: AugmentationConfig, policy: ActorCriticPolicy) -> None:
        self.config = config
        if not config.is_active:
            return
        if not isinstance(policy, StudentPolicy):
            raise UserError(
                f"{config} is for a StudentPolicy, which reads frames and proprioception, not for "
                f"{type(policy).__name__}."
            )
        if policy.config.mode == "State":
            raise UserError(
                f"{config} is not for mode State: it has no frames to shift, and one modality "
                "alone, which cannot be left out. Choose an Impaala mode."
            )
        if not config.modality_dropout:
            return
        if PROPRIO not in policy.config.groups:
            raise UserError(
                f"`modality_dropout` {config.modality_dropout} is not for a student of frames "
                "alone: they are the one modality it has. Leave it out; `random_shift` works."
            )
        normaliser = policy.normalisers[PROPRIO]
        assert isinstance(normaliser, FrozenNormaliser)
        self._proprio = normaliser

    def __call__(self, obs: TensorObs) -> TensorObs:
        """Return the observations, `frame` uint8 `(B, stack, H, W)` shifted and one of `frame` and
        `proprio` `(B, n)` blanked in some samples; the very same object where nothing is to do.
        """
        if not self.config.is_active:
            return obs
        assert isinstance(obs, dict)  # a StudentPolicy's observations are
        frames = obs[FRAME]
        if self.config.random_shift:
            frames = random_shift(frames, self.config.random_shift)
        if not self.config.modality_dropout:
            return {**obs, FRAME: frames}
        frames, proprio = self._drop(frames, obs[PROPRIO])
        return {**obs, FRAME: frames, PROPRIO: proprio}

    def _drop(self, frames: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """Frames to black, or proprioception to its mean: 0 once the student normalises it."""
        drawn = torch.rand(2, len(frames), device="cpu")
        chance, coin = upload(drawn.numpy(), frames.device)  # (B,), (B,)
        dropped, is_frame = chance < self.config.modality_dropout, coin < 0.5
        # A product: `masked_fill` with a mask that broadcasts takes longer than the shift itself.
        kept = (~(dropped & is_frame)).to(frames.dtype).view(-1, 1, 1, 1)
        mean = self._proprio.mean.to(proprio.dtype)
        return frames * kept, torch.where((dropped & ~is_frame).unsqueeze(-1), mean, proprio)


def random_shift(frames: Tensor, pixels: int) -> Tensor:
    """Each sample moved by up to `pixels` in both directions, its border repeated.

    As padding by replication and cropping at a random offset, one of `(2 pixels + 1)^2`, the same
    for all frames of a stack. Pixels are looked up, not padded: about one percent of an update.

    Args:
        frames: `(B, stack, H, W)`, of any type.
    """
    n, stack, height, width = frames.shape
    drawn = torch.randint(-pixels, pixels + 1, (2, n, 1), device="cpu")
    offsets = upload(drawn.numpy(), frames.device)
    rows = (torch.arange(height, device=frames.device) + offsets[0]).clamp(0, height - 1)  # (B, H)
    columns = (torch.arange(width, device=frames.device) + offsets[1]).clamp(0, width - 1)  # (B, W)
    source = rows.unsqueeze(2) * width + columns.unsqueeze(1)  # (B, H, W): which pixel of a frame
    source = source.view(n, 1, -1).expand(-1, stack, -1)  # (B, stack, H * W), without a copy
    return frames.flatten(2).gather(2, source).view_as(frames)
