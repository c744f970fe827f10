"""Show how close the update of a student comes to what its convolutions alone need.

Usage: python benchmarks/roofline.py [--mode ImpaalaSmall] [--frame-size 64 64] [--batch-size 128]

Each convolution runs alone, forward and backward, in the precision and memory layout of the
encoder, on tensors that are in memory already. Their sum is a lower bound of a gradient step with
these convolutions. The peak is that of a product of two large matrices. It uses MKL, which ignores
`ONEDNN_MAX_CPU_ISA`: also set `MKL_ENABLE_INSTRUCTIONS=AVX2` to measure as on such a processor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor, nn

from Common.cores import available_cores
from Common.device import fastest_precision, precision_on
from Common.memory import keep_freed_memory
from Models.networks.encoders import ENCODERS, EncoderSettings
from Models.networks.impala import Encoder

_REPEATS = 7
_MATRIX = 2048  # side of the matrices that measure the peak


@dataclass(frozen=True)
class Layer:
    """A convolution of a step, alone."""

    name: str
    flop: float  # of the forward pass of a batch
    forward: float  # seconds
    backward: float  # seconds
    passes: int  # of the same number of operations in the backward pass: 1 without input gradient


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark."""

    mode: str = "ImpaalaSmall"
    frame_size: tuple[int, int] = (64, 64)  # pixels, height and width
    batch_size: int = 128  # samples
    precision: str = fastest_precision(torch.device("cpu"))
    threads: int = available_cores()


def seconds(run: Callable[[], object]) -> float:
    """Return the median time of a call in processor time per thread, after one for warm-up.

    Unlike the time of the clock, it does not include the waiting of a busy machine.
    """
    run()
    times = []
    for _ in range(_REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times) / torch.get_num_threads()


def peak(dtype: torch.dtype) -> float:
    """Return the floating point operations per second of a large matrix product."""
    matrix = torch.randn(_MATRIX, _MATRIX).to(dtype)
    return 2 * _MATRIX**3 / seconds(lambda: matrix @ matrix)


def measure_layers(encoder: Encoder, frames: Tensor) -> list[Layer]:
    """Measure each convolution of the encoder alone, with the inputs of these frames."""
    seen: list[tuple[nn.Conv2d, Tensor]] = []
    convolutions = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: seen.append((layer, inputs[0])))  # pyright: ignore[reportArgumentType]
        for layer in convolutions
    ]
    encoder(frames)
    for hook in hooks:
        hook.remove()
    return [_measure(layer, x, needs_input=i > 0) for i, (layer, x) in enumerate(seen)]


def _measure(layer: nn.Conv2d, x: Tensor, needs_input: bool) -> Layer:
    x = x.detach().requires_grad_(needs_input)
    is_half = x.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
        y = layer(x)
        forward = seconds(lambda: layer(x))
    wanted = [*layer.parameters(), *([x] if needs_input else [])]
    gradient = torch.randn_like(y)  # of the same layout
    backward = seconds(lambda: torch.autograd.grad(y, wanted, gradient, retain_graph=True))
    name = f"{layer.in_channels} -> {layer.out_channels}, {x.shape[2]}x{x.shape[3]}"
    flop = 2.0 * y.numel() * layer.weight[0].numel()
    return Layer(name, flop, forward, backward, passes=2 if needs_input else 1)


def print_roofline(encoder: Encoder, frames: Tensor, ratio: float | None = None) -> None:
    """Print the speed of each convolution, and the share of all of them in the encoder.

    Args:
        frames: a batch, uint8 `(B, channels, H, W)`.
        ratio: speed of the loop relative to a plain one.
    """
    precision = precision_on(frames.device, encoder.precision)
    top = peak(torch.bfloat16 if precision == "bfloat16" else torch.float32)
    print(f"\nroofline of {precision}: a matrix product reaches {top / 1e9:.0f} GFLOP/s")
    layers = measure_layers(encoder, frames)
    for layer in layers:
        speeds = layer.flop / layer.forward, layer.passes * layer.flop / layer.backward
        shares = ", ".join(f"{speed / 1e9:6.0f} ({speed / top:4.0%})" for speed in speeds)
        print(f"  {layer.name:20} GFLOP/s (of peak) forward, backward: {shares}")
    limit = sum(layer.forward + layer.backward for layer in layers)
    whole = seconds(lambda: encoder(frames).square().mean().backward())
    micro = 1e6 / len(frames)
    print(f"convolutions alone     {limit * micro:8.0f} us per sample")
    print(f"encoder, both passes   {whole * micro:8.0f}; convolutions are {limit / whole:.0%}")
    if ratio is not None:
        print(f"limit of the ratio, if only convolutions took time: {ratio * whole / limit:.2f}")


def main(settings: Settings) -> None:
    """Measure an encoder with random weights on random frames."""
    torch.set_num_threads(settings.threads)
    keep_freed_memory()  # as the commands do
    shape = (4, *settings.frame_size)
    encoder = ENCODERS[settings.mode].make(shape, EncoderSettings(3, 0, settings.precision))
    print_roofline(encoder, torch.randint(0, 256, (settings.batch_size, *shape), dtype=torch.uint8))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
