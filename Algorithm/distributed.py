"""Train one run on several processes (ranks) started by torchrun, each with its own environments.

The ranks exchange what they need to learn the same as one process with all their environments: the
mean gradient, the advantages that normalise a minibatch, and decisions that all ranks must share.
In a run of one process every function here returns its argument at once.

Gradients are averaged by one all-reduce of one flat tensor after `backward`, as
`DistributedDataParallel` does with its buckets. Its wrapper does not fit here: it tracks gradients
of the module's `forward` only, but the loop calls other methods of the policy for distributions,
values and predictions; and during critic warm-up most parameters have no gradient. A student of a
million parameters would be one bucket there too, so no part could be sent earlier.

Losses are means over minibatches, and minibatches have the same size on all ranks. The mean of the
gradients is therefore the gradient of the mean over all samples.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from stable_baselines3.common.utils import set_random_seed
from torch import Tensor, nn

from Common.errors import UserError

# How long rank 0 may evaluate while the others wait. The end of a rank is noticed earlier, because
# its connections close.
_PATIENCE = timedelta(minutes=30)


class RankLostError(UserError):
    """Another rank of the run has ended or cannot be reached. The message is printed already."""


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the other ranks of the run inside the block, if torchrun has started this process.

    CPU tensors are sent by gloo. GPU tensors are sent by NCCL if every rank of the machine has a
    GPU of its own, else over the CPU.

    Raises:
        UserError: the other ranks cannot be reached.
    """
    if not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    has_own_gpu = torch.cuda.device_count() >= _ranks_here()
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_own_gpu else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        print_error(f"The ranks of this run do not find each other: {error}")
        raise RankLostError(str(error)) from error
    yield
    # Not after an error: this might wait for a rank that has ended.
    dist.destroy_process_group()


def world_size() -> int:
    """Return the number of ranks: 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this rank, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Return whether this is rank 0, which evaluates, logs and writes for all."""
    return rank() == 0


def print_line(message: object) -> None:
    """Print a line on standard error, on rank 0 only."""
    if is_first():
        print(message, file=sys.stderr)


def print_error(message: object) -> None:
    """Print a line on standard error, prefixed by the number of the rank."""
    print(f"[rank {rank()}] {message}" if world_size() > 1 else message, file=sys.stderr)


def share_of(total: int, flag: str) -> range:
    """Return this rank's part of `total` items that are divided evenly.

    Raises:
        UserError: they cannot be divided evenly. The message names the flag.
    """
    n_ranks = world_size()
    if total % n_ranks:
        raise UserError(
            f"{flag} {total} counts all ranks together, and cannot be divided evenly among "
            f"{n_ranks}. Give a multiple of {n_ranks}."
        )
    each = total // n_ranks
    return range(rank() * each, (rank() + 1) * each)


def device_of_rank(name: str) -> str:
    """Return the device of this rank: each rank of a machine takes the next GPU.

    Raises:
        UserError: the name is that of a single GPU.
    """
    if world_size() == 1 or name == "cpu" or not torch.cuda.is_available():
        return name
    if name not in ("auto", "cuda"):
        raise UserError(f"`device` {name} is one GPU for all ranks. Give auto: each takes its own.")
    index = int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count()
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def threads_of_rank(cores: int) -> int:
    """Return the number of this machine's cores that this rank may use."""
    return max(1, cores // _ranks_here())


# -- seeds, weights and gradients -----------------------------------------------------------------


def seed_apart(seed: int | None) -> None:
    """Seed each rank differently. A run of one process keeps its seed."""
    if world_size() > 1 and seed is not None:
        own = np.random.SeedSequence((seed, rank())).generate_state(1)
        set_random_seed(int(own[0]))


def share_weights(policy: nn.Module) -> None:
    """Copy rank 0's parameters and buffers to every rank."""
    if world_size() > 1:
        for tensor in policy.state_dict().values():
            with _exchange():
                tensor.copy_(_sent(tensor, lambda wire: dist.broadcast(wire, 0)))


def average_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Replace each gradient by its mean over all ranks.

    Parameters without a gradient, which are the same on all ranks, are left out.

    Returns:
        The mean loss, a scalar. If it is not finite on one rank, it is not on any.
    """
    if world_size() == 1:
        return loss
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([loss.detach().view(1), *(gradient.flatten() for gradient in gradients)])
    with _exchange():
        flat = _sent(flat, dist.all_reduce) / world_size()
    means = flat[1:].split([gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
    return flat[0]


def of_all_ranks(tensor: Tensor) -> Tensor:
    """Concatenate a tensor over ranks, `(B, ...)` -> `(ranks * B, ...)`, without a gradient."""
    if world_size() == 1:
        return tensor
    joint = tensor.new_zeros(world_size(), *tensor.shape)
    joint[rank()] = tensor.detach()
    with _exchange():
        # A sum with zeros, because gloo's all-gather does not support tensors on a GPU.
        return _sent(joint, dist.all_reduce).flatten(0, 1)


# -- plain values ---------------------------------------------------------------------------------


def gather(value: Any) -> list[Any]:
    """Return the values of all ranks in the order of the ranks. The values must be JSON."""
    if world_size() == 1:
        return [value]
    return [json.loads(text) for text in gather_bytes(json.dumps(value, default=float).encode())]


def gather_bytes(content: bytes) -> list[bytes]:
    """Return the bytes of all ranks in the order of the ranks."""
    if world_size() == 1:
        return [content]
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    with _exchange():
        dist.all_gather(sizes, torch.tensor([len(content)]))
        longest = max(int(size) for size in sizes)
        padded = torch.frombuffer(bytearray(content.ljust(longest, b"\0")), dtype=torch.uint8)
        contents = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(contents, padded)
    return [
        bytes(content[: int(size)].numpy()) for content, size in zip(contents, sizes, strict=True)
    ]


def means(values: Mapping[str, float]) -> dict[str, float]:
    """Return each value's mean over the ranks, which must all have the same names."""
    if world_size() == 1:
        return dict(values)
    each = gather(dict(values))
    return {name: float(np.mean([of_rank[name] for of_rank in each])) for name in values}


# -- sending --------------------------------------------------------------------------------------


def _ranks_here() -> int:
    """Return the number of ranks on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"])


def _sent(tensor: Tensor, send: Any) -> Tensor:
    """Send a tensor in place, over the CPU if there is no NCCL, and return it."""
    over_cpu = tensor.is_cuda and "nccl" not in str(dist.get_backend_config())
    wire = tensor.cpu() if over_cpu else tensor.contiguous()
    send(wire)
    return wire.to(tensor.device)


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """Raise RankLostError for an error of the communication between ranks."""
    try:
        yield
    except RuntimeError as error:
        # gloo's messages begin with its source file and end with advice.
        reason = re.sub(r"^\[\S+\] ", "", str(error)).partition(". ")[0]
        # Print at once: torchrun is about to stop this process too.
        print_error(
            f"Another rank has ended, so this one ends too ({reason}). Its own message or "
            "torchrun's list of failures gives the cause. The same command with --resume "
            "continues from the last checkpoint."
        )
        raise RankLostError(reason) from error
