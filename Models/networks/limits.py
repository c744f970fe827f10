"""What the networks of teachers and students may be, checked without torch."""

from __future__ import annotations

from Common.errors import UserError

ACTIVATIONS = (
    "ELU",
    "ReLU",
    "LeakyReLU",
    "Tanh",
    "SiLU",
    "GELU",
    "SELU",
    "Mish",
    "Sigmoid",
    "Softplus",
    "ReLU6",
)  # classes of torch.nn
# Upper bounds for any teacher or student; a wrong number would build networks for hours.
_MAX_LAYERS, _MAX_UNITS = 64, 2**16


def check_activation(name: str) -> None:
    """Raise UserError for an unknown activation."""
    if name not in ACTIVATIONS:
        raise UserError(f"Activation {name!r} is not one of {', '.join(ACTIVATIONS)}.")


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
