"""Augment the student's observations in updates: shifted frames, a dropped modality.

Random shift: Kostrikov et al., "Image Augmentation Is All You Need" (DrQ), 2020 (arXiv
2004.13649); Laskin et al., "Reinforcement Learning with Augmented Data" (RAD), 2020 (arXiv
2004.14990).

On-policy rollouts are collected without augmentation, so that the student acts on the observations
of deployment. An update on augmented observations then computes the log-probability of an action
under another input than the one it was drawn from: in PPO and PPD the ratio at the first minibatch
is no longer exactly 1, and some samples are clipped from the start.
"""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.on_policy.rollout import TensorObs
from Common.device import upload
from Common.errors import UserError
from Enviroment.observations import FRAME, PROPRIO
from Models.student.normaliser import FrozenNormaliser
from Models.student.policy import StudentPolicy


class Augmenter:
    """Augments batches of observations, without changing its input.

    It draws from torch's global generator on the CPU, whatever the observations' device, so that
    a run that restores that generator continues with the same shifts.

    Args:
        policy: the policy that observes frames and proprioception.

    Raises:
        UserError: augmentation is active, but the policy does not observe frames and
            proprioception.
    """

    def __init__(self, config: AugmentationConfig, policy: ActorCriticPolicy) -> None:
        self.config = config
        if not config.is_active:
            return
        if not isinstance(policy, StudentPolicy):
            raise UserError(
                f"{config} needs a StudentPolicy, which observes frames and proprioception, not "
                f"{type(policy).__name__}."
            )
        if policy.config.mode == "State":
            raise UserError(
                f"{config} does not work in mode State, which has no frames to shift and only one "
                "modality. Choose an Impaala mode."
            )
        if not config.modality_dropout:
            return
        if PROPRIO not in policy.config.groups:
            raise UserError(
                f"`modality_dropout` {config.modality_dropout} does not work for a student of "
                "frames only, its single modality. Leave it out; `random_shift` works."
            )
        normaliser = policy.normalisers[PROPRIO]
        assert isinstance(normaliser, FrozenNormaliser)
        self._proprio = normaliser

    def __call__(self, obs: TensorObs) -> TensorObs:
        """Return augmented observations, or the same object if augmentation is inactive.

        `frame`, uint8 `(B, stack, H, W)`, is shifted. In some samples, either `frame` is set to
        black or `proprio`, `(B, n)`, to its mean.
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
        """Set frames to black, or proprioception to its mean, which is 0 after normalisation."""
        drawn = torch.rand(2, len(frames), device="cpu")
        chance, coin = upload(drawn.numpy(), frames.device)  # (B,), (B,)
        dropped, is_frame = chance < self.config.modality_dropout, coin < 0.5
        # A product, because `masked_fill` with a broadcast mask takes longer than the shift itself.
        kept = (~(dropped & is_frame)).to(frames.dtype).view(-1, 1, 1, 1)
        mean = self._proprio.mean.to(proprio.dtype)
        return frames * kept, torch.where((dropped & ~is_frame).unsqueeze(-1), mean, proprio)


def random_shift(frames: Tensor, pixels: int) -> Tensor:
    """Shift each sample by up to `pixels` in both directions, repeating its border.

    Equivalent to padding by replication and cropping at a random offset, one of
    `(2 pixels + 1)^2`, the same for all frames of a stack. Pixels are gathered instead of padded,
    which takes about one percent of an update.

    Args:
        frames: `(B, stack, H, W)`, of any type.
    """
    n, stack, height, width = frames.shape
    drawn = torch.randint(-pixels, pixels + 1, (2, n, 1), device="cpu")
    offsets = upload(drawn.numpy(), frames.device)
    rows = (torch.arange(height, device=frames.device) + offsets[0]).clamp(0, height - 1)  # (B, H)
    columns = (torch.arange(width, device=frames.device) + offsets[1]).clamp(0, width - 1)  # (B, W)
    source = rows.unsqueeze(2) * width + columns.unsqueeze(1)  # (B, H, W): index of a pixel
    source = source.view(n, 1, -1).expand(-1, stack, -1)  # (B, stack, H * W), without a copy
    return frames.flatten(2).gather(2, source).view_as(frames)
