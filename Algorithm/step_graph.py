"""Replay the gradient steps of an update on a GPU as one CUDA graph.

A step on a small minibatch consists of some 400 kernels of a few microseconds, and the processor
takes longer to launch them than the GPU to run them. A graph launches all of them at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from Common.commands.exits import print_once

_SMALLEST_UPDATE = 8  # gradient steps; a capture takes about as long as two of them

Figures = dict[str, Tensor]  # scalars by name


class StepGraph:
    """Takes gradient steps one after another, as a graph from the second step of an update on.

    The first one is taken without a graph: it makes what all others use again, such as the moments
    of the optimizer, which a graph would make again in every step.

    A graph repeats the kernels of the step that it captured, with the numbers of that moment (only
    tensors may change), so each update captures another one. A batch with other shapes than the
    captured one, such as a smaller last minibatch, is computed without the graph.

    Args:
        step: takes a gradient step on a batch and returns its figures; its second argument says
            whether it is the first of an update. Others must not wait for the GPU.
        optimizer: the optimizer of that step.
        enabled: whether graphs are used at all.
    """

    def __init__(
        self,
        step: Callable[[Any, bool], Figures],
        optimizer: torch.optim.Optimizer,
        *,
        enabled: bool,
    ) -> None:
        self._step, self._optimizer, self.enabled = step, optimizer, enabled
        self._stream = torch.cuda.Stream() if enabled else None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._is_first, self._left = True, 0  # gradient steps of this update
        self._inputs: list[Tensor] = []  # of this update's graph; empty until it is captured
        self._names: list[str] = []
        self._outputs = torch.zeros(())  # of the graph, (figures,)

    def begin_update(self, n_steps: int) -> None:
        """Begin an update of at most `n_steps` gradient steps."""
        self._is_first, self._left, self._inputs = True, n_steps, []

    def __call__(self, batch: Any) -> Figures:
        """Take a gradient step; return its figures."""
        self._left -= 1
        is_first, self._is_first = self._is_first, False
        if is_first or not self.enabled:
            return self._step(batch, is_first)
        if not self._inputs and self._left >= _SMALLEST_UPDATE:
            self._capture(batch)
        given = tensors_of(batch)
        if not _alike(given, self._inputs):
            return self._step(batch, False)
        for static, tensor in zip(self._inputs, given, strict=True):
            static.copy_(tensor)
        assert self._graph is not None
        self._graph.replay()
        return dict(zip(self._names, self._outputs.clone().unbind(), strict=True))

    def _capture(self, batch: Any) -> None:
        """Capture a step, without taking it."""
        static = copy_of(batch)
        graph, previous = torch.cuda.CUDAGraph(), self._graph
        pool = () if previous is None else (previous.pool(),)
        stream, current = self._stream, torch.cuda.current_stream()
        assert stream is not None
        stream.wait_stream(current)
        try:
            with torch.cuda.stream(stream), _capturable(self._optimizer):
                # Other threads, which prefetch or draw, may use the GPU meanwhile.
                graph.capture_begin(*pool, capture_error_mode="thread_local")
                try:
                    figures = self._step(static, False)
                    self._names = list(figures)
                    self._outputs = torch.stack([f.detach().float() for f in figures.values()])
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            self.enabled = False
            cause = error.__context__ or error  # the end of a failed capture raises too
            print_once(
                "Note: gradient steps run without CUDA graphs, so more slowly, because a step "
                f"could not be captured: {str(cause).partition(chr(10))[0]}"
            )
            return
        current.wait_stream(stream)
        self._graph, self._inputs = graph, tensors_of(static)


def tensors_of(batch: Any) -> list[Tensor]:
    """Return all tensors in nested dataclasses and mappings, in a fixed order."""
    if isinstance(batch, Tensor):
        return [batch]
    return [tensor for part in _parts(batch).values() for tensor in tensors_of(part)]


def copy_of(batch: Any) -> Any:
    """Return the same nested dataclasses and mappings with copies of their tensors."""
    if isinstance(batch, Tensor):
        return batch.clone()
    parts = {name: copy_of(part) for name, part in _parts(batch).items()}
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(batch, **parts)
    return parts if isinstance(batch, Mapping) else batch


def _parts(batch: Any) -> Mapping[str, Any]:
    if isinstance(batch, Mapping):
        return batch
    if dataclasses.is_dataclass(batch):
        return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {}


def _alike(some: list[Tensor], others: list[Tensor]) -> bool:
    return [(t.shape, t.dtype) for t in some] == [(t.shape, t.dtype) for t in others]


@contextlib.contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let a fused optimizer be captured, whose step count is on the GPU in any case."""
    before = [group.get("capturable") for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(optimizer.param_groups, before, strict=True):
            group["capturable"] = value
