"""The parts of a teacher's network, equal to those of SB3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Models.networks.cnn import FlatCNN, ImpalaCNN, NatureCNN
from Models.networks.layers import activation_class
from Models.teacher.description import ObservationGroup

_CHUNK = 256  # images


class StateNormaliser(nn.Module):
    """Normalises to (state - mean) / sqrt(var + epsilon), clipped, in float64 as VecNormalize."""

    mean: Tensor
    var: Tensor

    def __init__(self, state_dim: int, clip: float | None, epsilon: float) -> None:
        super().__init__()
        self.clip, self.epsilon = clip, epsilon
        self.register_buffer("mean", torch.zeros(state_dim, dtype=torch.float64))
        self.register_buffer("var", torch.ones(state_dim, dtype=torch.float64))

    def forward(self, state: Tensor) -> Tensor:
        """Map `(B, state_dim)` of any float type to `(B, state_dim)` float32."""
        normalised = (state.double() - self.mean) / (self.var + self.epsilon).sqrt()
        if self.clip is not None:
            normalised = normalised.clamp(-self.clip, self.clip)
        return normalised.float()


def prepare(
    observation: Mapping[str, Tensor],
    groups: Sequence[ObservationGroup],
    normaliser: StateNormaliser,
) -> list[Tensor]:
    """Preprocess an observation as SB3 does before its networks: one float32 tensor per group.

    Shapes are `(B, n_features)`, or `(B, C, H, W)` for groups with a CNN.
    """
    normalised = iter(())
    ours = [group for group in groups if group.normalised]
    if ours:
        flat = [observation[group.name].flatten(1).double() for group in ours]
        parts = normaliser(flat[0] if len(flat) == 1 else torch.cat(flat, dim=-1))
        normalised = iter(parts.split([group.size for group in ours], dim=-1))
    return [
        _keep_padding(observation[group.name], next(normalised), group).unflatten(-1, group.shape)
        if group.normalised
        else _raw_features(observation[group.name], group)
        for group in groups
    ]


def _keep_padding(raw: Tensor, normalised: Tensor, group: ObservationGroup) -> Tensor:
    """Keep the zero states of a stack before the first one of an episode at zero: `(B, size)`."""
    if group.stack == 1:
        return normalised
    is_empty = (raw.flatten(1).unflatten(-1, (group.stack, -1)) == 0).all(-1)  # (B, stack)
    is_empty[:, -1] = False  # the newest state is never padding
    padding = is_empty.long().cumprod(-1).bool()
    states = normalised.unflatten(-1, (group.stack, -1))
    return states.masked_fill(padding.unsqueeze(-1), 0.0).flatten(1)


def _raw_features(x: Tensor, group: ObservationGroup) -> Tensor:
    if group.choices:
        columns = x.long().reshape(len(x), -1).unbind(-1)  # (B,) each
        one_hot = [F.one_hot(c, n) for c, n in zip(columns, group.choices, strict=True)]
        return torch.cat(one_hot, dim=-1).float()
    return x.float() / 255 if group.is_image and not group.raw_pixels else x.float()


class Encoder(nn.Module):
    """SB3's features extractors: a CNN for images, the rest flattened, all concatenated."""

    def __init__(self, groups: Sequence[ObservationGroup]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            make_cnn(group) if group.cnn_features else nn.Flatten() for group in groups
        )

    def forward(self, prepared: Sequence[Tensor]) -> Tensor:
        """Return the prepared groups -> `(B, n_features)`."""
        features = [
            # In chunks, because intermediate results of a whole rollout would fill the memory.
            torch.cat([part(images) for images in x.split(_CHUNK)])
            if isinstance(part, FlatCNN)
            else part(x)
            for part, x in zip(self.parts, prepared, strict=True)
        ]
        return features[0] if len(features) == 1 else torch.cat(features, dim=-1)


@dataclass(frozen=True)
class OwnExtractors:
    """Frozen copies of a user's own features extractors, which a bundle cannot hold."""

    actor: nn.Module
    critic: nn.Module | None  # None: the actor's

    @property
    def n_features(self) -> int:
        """Number of outputs of each."""
        return int(self.actor.features_dim)  # pyright: ignore[reportArgumentType]


class OwnEncoder(nn.Module):
    """A user's own features extractor, called with observations as in SB3."""

    def __init__(self, module: nn.Module, groups: Sequence[ObservationGroup]) -> None:
        super().__init__()
        self.module = module
        self._names = [group.name for group in groups]

    def forward(self, prepared: Sequence[Tensor]) -> Tensor:
        """Return the prepared groups -> `(B, n_features)`."""
        chunks = zip(*(x.split(_CHUNK) for x in prepared), strict=True)
        return torch.cat([self.module(self._observation(parts)) for parts in chunks])

    def _observation(self, parts: Sequence[Tensor]) -> Tensor | dict[str, Tensor]:
        return dict(zip(self._names, parts, strict=True)) if self._names[0] else parts[0]


def make_cnn(group: ObservationGroup) -> FlatCNN:
    """Return the CNN of a group of images.

    Raises:
        UserError: the images are too small for the CNN.
    """
    if group.cnn_filters:
        return ImpalaCNN(group.shape, group.cnn_filters, group.cnn_features)
    return NatureCNN(group.shape, group.cnn_features)


def hidden_layers(inputs: int, units: tuple[int, ...], activation: str) -> list[nn.Module]:
    """Return the hidden layers of SB3's MLPs."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip((inputs, *units), units, strict=False):
        layers += [nn.Linear(n_in, n_out), activation_class(activation)()]
    return layers
