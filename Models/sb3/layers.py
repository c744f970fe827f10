"""Read linear layers from an SB3 agent's tensors, with normalisations folded in."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Layer = tuple[Tensor, Tensor]  # weight (outputs, inputs), bias (outputs,)
Affine = tuple[Tensor, Tensor]  # scale, shift


def layer(state: Mapping[str, Tensor], at: str) -> Layer:
    """Return the layer of a prefix. Raise KeyError if there is none."""
    return state[f"{at}weight"], state[f"{at}bias"]


def folded(
    state: Mapping[str, Tensor], prefix: str, eps: float
) -> tuple[list[Layer], Affine | None]:
    """Return the linear layers of a Sequential with normalisations folded in.

    A normalisation is folded into the next layer; one after the last layer is returned separately.

    Args:
        eps: added to the variance of a normalisation.
    """
    names = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
    layers, pending = [], None
    for index in sorted({int(name.split(".")[0]) for name in names}):
        at = f"{prefix}{index}."
        if f"{at}ra_mean" in state:
            pending = _affine(state, at, eps)
        else:
            layers.append(fold(layer(state, at), pending))
            pending = None
    return layers, pending


def _affine(state: Mapping[str, Tensor], at: str, eps: float) -> Affine:
    """Return batch renormalisation outside training, scale (x - mean) / sqrt(var + eps) + bias."""
    mean, var = state[f"{at}ra_mean"].double(), state[f"{at}ra_var"].double()
    scale = state[f"{at}scale"].double() / (var + eps).sqrt()
    return scale, state[f"{at}bias"].double() - scale * mean


def fold(after: Layer, before: Affine | None) -> Layer:
    """Fold an affine map: W (scale x + shift) + b = (W scale) x + (W shift + b)."""
    if before is None:
        return after
    (weight, bias), (scale, shift) = after, before
    whole = weight.double() * scale, bias.double() + weight.double() @ shift
    return whole[0].to(weight.dtype), whole[1].to(bias.dtype)


def numbered(prefix: str, layers: list[Layer]) -> dict[str, Tensor]:
    """Return the tensors named as in a Sequential with an activation after each layer."""
    return {
        f"{prefix}{2 * i}.{name}": tensor
        for i, pair in enumerate(layers)
        for name, tensor in zip(("weight", "bias"), pair, strict=True)
    }
