"""The parts of a teacher's network, as SB3 makes them."""

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
    """(state - mean) / sqrt(var + epsilon), clipped: VecNormalize's, in its double precision."""

    mean: Tensor
    var: Tensor

    def __init__(self, state_dim: int, clip: float | None, epsilon: float) -> None:
        super().__init__()
        self.clip, self.epsilon = clip, epsilon
        self.register_buffer("mean", torch.zeros(state_dim, dtype=torch.float64))
        self.register_buffer("var", torch.ones(state_dim, dtype=torch.float64))

    def forward(self, state: Tensor) -> Tensor:
        """`(B, state_dim)` of any float type -> `(B, state_dim)` float32."""
        normalised = (state.double() - self.mean) / (self.var + self.epsilon).sqrt()
        if self.clip is not None:
            normalised = normalised.clamp(-self.clip, self.clip)
        return normalised.float()


def prepare(
    observation: Mapping[str, Tensor],
    groups: Sequence[ObservationGroup],
    normaliser: StateNormaliser,
) -> list[Tensor]:
    """What SB3 does to an observation before its networks: one float32 tensor a group.

    `(B, n_features)`, or `(B, C, H, W)` where a CNN reads the group.
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
    """A stack's states of zeros, before the episode's first, as they were: `(B, size)`."""
    if group.stack == 1:
        return normalised
    is_empty = (raw.flatten(1).unflatten(-1, (group.stack, -1)) == 0).all(-1)  # (B, stack)
    is_empty[:, -1] = False  # the newest is there
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
    """SB3's features extractors: images through its CNN, the rest flattened, all concatenated."""

    def __init__(self, groups: Sequence[ObservationGroup]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            make_cnn(group) if group.cnn_features else nn.Flatten() for group in groups
        )

    def forward(self, prepared: Sequence[Tensor]) -> Tensor:
        """The prepared groups -> `(B, n_features)`."""
        features = [
            # In chunks: a rollout's images at once would fill the memory with what lies between.
            torch.cat([part(images) for images in x.split(_CHUNK)])
            if isinstance(part, FlatCNN)
            else part(x)
            for part, x in zip(self.parts, prepared, strict=True)
        ]
        return features[0] if len(features) == 1 else torch.cat(features, dim=-1)


@dataclass(frozen=True)
class OwnExtractors:
    """A user's own features extractors, frozen copies: code, which no bundle can hold."""

    actor: nn.Module
    critic: nn.Module | None  # None: the actor's

    @property
    def n_features(self) -> int:
        """Outputs of each."""
        return int(self.actor.features_dim)  # pyright: ignore[reportArgumentType]


class OwnEncoder(nn.Module):
    """A user's own features extractor, given observations as SB3 gives them."""

    def __init__(self, module: nn.Module, groups: Sequence[ObservationGroup]) -> None:
        super().__init__()
        self.module = module
        self._names = [group.name for group in groups]

    def forward(self, prepared: Sequence[Tensor]) -> Tensor:
        """The prepared groups -> `(B, n_features)`."""
        chunks = zip(*(x.split(_CHUNK) for x in prepared), strict=True)
        return torch.cat([self.module(self._observation(parts)) for parts in chunks])

    def _observation(self, parts: Sequence[Tensor]) -> Tensor | dict[str, Tensor]:
        return dict(zip(self._names, parts, strict=True)) if self._names[0] else parts[0]


def make_cnn(group: ObservationGroup) -> FlatCNN:
    """The CNN that reads a group of images.

    Raises:
        UserError: the images are too small for it.
    """
    if group.cnn_filters:
        return ImpalaCNN(group.shape, group.cnn_filters, group.cnn_features)
    return NatureCNN(group.shape, group.cnn_features)


def hidden_layers(inputs: int, units: tuple[int, ...], activation: str) -> list[nn.Module]:
    """The hidden layers of SB3's MLPs."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip((inputs, *units), units, strict=False):
        layers += [nn.Linear(n_in, n_out), activation_class(activation)()]
    return layers
