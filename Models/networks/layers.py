"""Layers that teachers and students share."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from Models.networks.limits import check_activation

_Layer = TypeVar("_Layer", bound=nn.Linear | nn.Conv2d)


def activation_class(name: str) -> type[nn.Module]:
    """Return an activation by its name in bundles.

    Raises:
        UserError: the name is unknown.
    """
    check_activation(name)
    return getattr(nn, name)


def mlp(
    inputs: int, hidden: tuple[int, ...], outputs: int, activation: str, last_gain: float
) -> nn.Sequential:
    """Return linear layers with activations between them, initialised orthogonally as in SB3."""
    sizes, layers = (inputs, *hidden), []
    for i, o in zip(sizes, hidden, strict=False):
        layers += [orthogonal(nn.Linear(i, o), gain=2**0.5), activation_class(activation)()]
    return nn.Sequential(*layers, orthogonal(nn.Linear(sizes[-1], outputs), gain=last_gain))


def orthogonal(layer: _Layer, gain: float) -> _Layer:
    """Initialise a layer's weights orthogonally and its bias with 0, and return the layer."""
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def channels_last(module: nn.Module) -> None:
    """Store the weights of 2D convolutions channels-last, in which they are faster."""
    tensors = (*module.parameters(), *module.buffers())
    if all(tensor.dim() != 5 for tensor in tensors):
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return
    for tensor in tensors:  # `to` refuses modules with 3D convolutions
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
