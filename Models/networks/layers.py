"""Layers that teachers and students share."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from Common.errors import UserError

_ACTIVATIONS = {
    "ELU": nn.ELU,
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "Tanh": nn.Tanh,
    "SiLU": nn.SiLU,
    "GELU": nn.GELU,
    "SELU": nn.SELU,
    "Mish": nn.Mish,
    "Sigmoid": nn.Sigmoid,
    "Softplus": nn.Softplus,
    "ReLU6": nn.ReLU6,
}
# Upper bounds for any teacher or student; a wrong number would build networks for hours.
_MAX_LAYERS, _MAX_UNITS = 64, 2**16
_Layer = TypeVar("_Layer", bound=nn.Linear | nn.Conv2d)


def activation_class(name: str) -> type[nn.Module]:
    """Return an activation by its name in bundles.

    Raises:
        UserError: the name is unknown.
    """
    if name not in _ACTIVATIONS:
        raise UserError(f"Activation {name!r} is not one of {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[name]


def check_layers(*layers: tuple[int, ...]) -> None:
    """Raise UserError for sizes of hidden layers that exceed the limits of this toolkit.

    Raises:
        UserError: a list is too long, or holds an invalid number of units.
    """
    for units in layers:
        if len(units) > _MAX_LAYERS:
            raise UserError(f"{len(units)} layers are more than {_MAX_LAYERS}.")
        if not all(type(n) is int and 0 < n <= _MAX_UNITS for n in units):
            raise UserError(f"the sizes {units} must be whole, above 0 and up to {_MAX_UNITS}.")


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
