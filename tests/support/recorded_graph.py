"""A CUDA graph on the processor: it records operations on tensors, and repeats them.

As on a GPU, a captured step is not taken, and a replay sees only what is in the same tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RecordedGraph(TorchDispatchMode):
    """Stands in for `torch.cuda.CUDAGraph`."""

    made: ClassVar[list[RecordedGraph]] = []

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, list[Any]]] = []
        self._before: list[tuple[Tensor, Tensor]] = []  # tensors that the capture wrote to
        self.n_replays, self._is_open = 0, False
        RecordedGraph.made.append(self)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._before += [(t, t.clone()) for t in tree_leaves(value)]
        out = func(*args, **kwargs)
        self._calls.append((func, args, kwargs, tree_leaves(out)))
        return out

    def capture_begin(self, *pool: Any, capture_error_mode: str) -> None:
        self._is_open = True
        self.__enter__()

    def capture_end(self) -> None:
        self._is_open = False
        self.__exit__(None, None, None)
        with torch.no_grad():
            for tensor, value in reversed(self._before):
                tensor.copy_(value)

    def pool(self) -> None:
        """Return nothing: memory is not shared."""

    @torch.no_grad()
    def replay(self) -> None:
        self.n_replays += 1
        for func, args, kwargs, outputs in self._calls:
            for old, new in zip(outputs, tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextlib.contextmanager
def recorded_graphs() -> Iterator[list[RecordedGraph]]:
    """Let `StepGraph` capture on the processor, and return the graphs that it makes."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    RecordedGraph.made = []
    with (
        patch("torch.cuda.CUDAGraph", RecordedGraph),
        patch("torch.cuda.Stream", lambda: stream),
        patch("torch.cuda.current_stream", lambda: stream),
        patch("torch.cuda.stream", lambda of: contextlib.nullcontext()),
    ):
        yield RecordedGraph.made
