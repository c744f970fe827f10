"""The parts of a teacher's network, as SB3 makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from Enviroment.errors import UserError
from Models.teacher_description import ObservationGroup, activation_class


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
        next(normalised).unflatten(-1, group.shape)
        if group.normalised
        else _raw_features(observation[group.name], group)
        for group in groups
    ]


def _raw_features(x: Tensor, group: ObservationGroup) -> Tensor:
    if group.choices:
        columns = x.long().reshape(len(x), -1).unbind(-1)  # (B,) each
        one_hot = [F.one_hot(c, n) for c, n in zip(columns, group.choices, strict=True)]
        return torch.cat(one_hot, dim=-1).float()
    return x.float() / 255 if group.is_image else x.float()


class Encoder(nn.Module):
    """SB3's features extractors: images through its CNN, the rest flattened, all concatenated."""

    def __init__(self, groups: Sequence[ObservationGroup]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            NatureCNN(group.shape, group.cnn_features) if group.cnn_features else nn.Flatten()
            for group in groups
        )

    def forward(self, prepared: Sequence[Tensor]) -> Tensor:
        """The prepared groups -> `(B, n_features)`."""
        features = [part(x) for part, x in zip(self.parts, prepared, strict=True)]
        return features[0] if len(features) == 1 else torch.cat(features, dim=-1)


class NatureCNN(nn.Module):
    """The network of Mnih et al., "Human-level control through deep RL", 2015, as SB3 has it."""

    def __init__(self, shape: tuple[int, ...], n_features: int) -> None:
        super().__init__()
        channels, *sides = shape
        for kernel, stride in ((8, 4), (4, 2), (3, 1)):
            sides = [(side - kernel) // stride + 1 for side in sides]
        if min(sides) < 1:
            raise UserError(f"images of {shape[1]}x{shape[2]} pixels are too small for the CNN.")
        self.cnn = nn.Sequential(
            *(nn.Conv2d(channels, 32, 8, stride=4), nn.ReLU()),
            *(nn.Conv2d(32, 64, 4, stride=2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, stride=1), nn.ReLU()),
            nn.Flatten(),
        )
        self.linear = nn.Sequential(nn.Linear(64 * sides[0] * sides[1], n_features), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        """`(B, C, H, W)` -> `(B, n_features)`."""
        return self.linear(self.cnn(image))


def hidden_layers(inputs: int, units: tuple[int, ...], activation: str) -> list[nn.Module]:
    """The hidden layers of SB3's MLPs."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip((inputs, *units), units, strict=False):
        layers += [nn.Linear(n_in, n_out), activation_class(activation)()]
    return layers
