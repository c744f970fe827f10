"""A user's own encoder: a class of torch, named `package:Class`.

The class is called with the shape of the frames, `(channels, height, width)`, and maps uint8 frames
`(B, channels, height, width)` to float32 features `(B, n)`.

A file never imports a class: it is imported if the user names it (`--encoder`), or registered by
the user's own program. Bundles store its name.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from Common.errors import UserError
from Common.names import nearest
from Models.networks.encoders import OWN_ENCODERS, EncoderSettings, check_own, is_own
from Models.networks.impala import Encoder
from Models.networks.layers import channels_last

_BATCHES = (2, 3)  # of the trial; a batch of 1 hides wrong reshapes
_ClassT = TypeVar("_ClassT", bound=type[nn.Module])


class EncoderError(UserError):
    """A user's own encoder cannot be used: its package, its class or its output."""


class OwnEncoder(Encoder):
    """A module of the user, as an encoder in float32.

    Args:
        module: maps uint8 `(B, channels, H, W)` to float32 `(B, n)`.
        shape: `(channels, H, W)`.

    Raises:
        EncoderError: its output is not float32 `(B, n)`, or it fails.
    """

    precision = "float32"

    def __init__(self, module: nn.Module, shape: tuple[int, ...], name: str) -> None:
        super().__init__()
        self.module = module
        self.features_dim = self._tried(shape, name)  # before: it makes lazy modules
        channels_last(self)  # as bundles are loaded, so that a loaded student computes the same

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 `(B, channels, H, W)` to float32 `(B, features_dim)`."""
        return self.module(frames.contiguous())  # which `view` needs

    def _tried(self, shape: tuple[int, ...], name: str) -> int:
        """Return the number of features."""
        sizes = set()
        self.eval()  # statistics of batches stay as they are
        for batch in _BATCHES:
            frames = torch.zeros(batch, *shape, dtype=torch.uint8)
            what = f"{name} cannot read frames, uint8 {tuple(frames.shape)}"
            with _explained(what), torch.no_grad():
                features = self(frames)
            sizes.add(_n_features(features, batch, name))
        self.train()
        if len(sizes) > 1:
            raise EncoderError(
                f"`encoder` {name}: the number of its features depends on the size of the batch: "
                f"{sorted(sizes)}."
            )
        return sizes.pop()


def _n_features(features: object, batch: int, name: str) -> int:
    """Return the number of features of an output. Raise EncoderError unless it is `(batch, n)`."""
    returned = type(features).__name__
    if isinstance(features, Tensor):
        returned = f"{features.dtype} {tuple(features.shape)}"
        is_flat = features.dim() == 2 and len(features) == batch and features.shape[1] > 0
        if is_flat and features.dtype == torch.float32:
            return features.shape[1]
    raise EncoderError(
        f"`encoder` {name}: its output for {batch} frames is {returned}, not torch.float32 "
        f"({batch}, features)."
    )


def make_own(shape: tuple[int, ...], settings: EncoderSettings, name: str) -> Encoder:
    """Return a user's own encoder for frames `(channels, H, W)`.

    Raises:
        EncoderError: the class is not imported, cannot be made for these frames, or has another
            output.
    """
    del settings  # those of the toolkit's encoders
    cls = OWN_ENCODERS.get(name)
    if cls is None:
        raise EncoderError(
            f"its encoder {name} is not part of the toolkit, and a file never imports code. If you "
            f"trust it, give `encoder` {name}, or decorate the class with `register_encoder` in "
            "your own program."
        )
    with _on_processor(), _explained(f"{name} cannot be made for frames of {shape}"):
        return OwnEncoder(cls(shape), shape, name)


def register_encoder(cls: _ClassT, name: str | None = None) -> _ClassT:
    """Register a class as an encoder, by `module:Class`. Usable as a decorator.

    Usage::

        @register_encoder
        class TinyCNN(torch.nn.Module):
            def __init__(self, shape): ...  # of the frames: (channels, height, width)
            def forward(self, frames): ...  # uint8 (B, channels, H, W) -> float32 (B, n)

    Args:
        name: another `module:Class`, such as the one in a bundle.

    Raises:
        EncoderError: it is not a subclass of `torch.nn.Module`, or is defined in a function.
    """
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise EncoderError(f"`encoder` {cls!r:.80} is not a subclass of torch.nn.Module.")
    OWN_ENCODERS[check_own(name or encoder_name(cls))] = cls
    return cls


def encoder_name(cls: type[nn.Module]) -> str:
    """Return `module:Class`. A class of a script has the name of the script's file."""
    module = cls.__module__
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if module == "__main__" and script is not None:
        module = Path(script).stem
    return f"{module}:{cls.__name__}"


def given_encoder(encoder: str | type[nn.Module]) -> str:
    """Register an encoder that the user gives, and return its name.

    Args:
        encoder: a class, or `package:Class`, which is imported.

    Raises:
        EncoderError: the package cannot be imported, or has no such class.
    """
    if not isinstance(encoder, str):
        register_encoder(encoder)
        return encoder_name(encoder)
    if check_own(encoder) not in OWN_ENCODERS:
        register_encoder(_imported(encoder), encoder)
    return encoder


def admit_encoder(encoder: str | type[nn.Module], described: object) -> None:
    """Register the encoder of a bundle, because the user names a class that is trusted.

    The package may have another name than in training, but the class must have the same name.

    Args:
        encoder: as in `given_encoder`.
        described: the mode in the bundle.

    Raises:
        EncoderError: the student has another encoder; or as `given_encoder`.
    """
    given = given_encoder(encoder)
    if not (isinstance(described, str) and is_own(described)):
        raise EncoderError(
            f"`encoder` {given}: the student's encoder is the toolkit's {described!r:.80}. Leave "
            "it out."
        )
    if given.partition(":")[2] != described.partition(":")[2]:
        raise EncoderError(f"`encoder` {given} is not that of the student, {described}.")
    register_encoder(OWN_ENCODERS[given], described)


def _imported(name: str) -> type[nn.Module]:
    package, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        # Last, so that modules in the working directory do not shadow others.
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"`encoder` {name}: {error}. Install the package, or add its folder to PYTHONPATH."
        ) from error
    except Exception as error:  # the user's code may raise anything
        raise EncoderError(
            f"`encoder` {name}: {package} cannot be imported. Its error is:\n"
            f"  {type(error).__name__}: {error}"
        ) from error
    cls = getattr(module, attribute, None)
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        known = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, nn.Module)
        ]
        hint = f" Did you mean {nearest(attribute, known)}?" if known else ""
        raise EncoderError(
            f"`encoder` {name}: {package} has no subclass {attribute} of torch.nn.Module.{hint}"
        )
    return cls


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except UserError:  # of our own checks
        raise
    except Exception as error:  # the user's code may raise anything
        raise EncoderError(
            f"`encoder` {what}. Its error is:\n  {type(error).__name__}: {error}"
        ) from error


@contextlib.contextmanager
def _on_processor() -> Iterator[None]:
    """Build on the CPU even where a description is checked on the meta device.

    Buffers that are not in the bundle have their values there. Torch's generator is not advanced.
    """
    if torch.empty(0).device.type != "meta":  # get_default_device of torch 2.6 misses a `with`
        yield
        return
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        yield
