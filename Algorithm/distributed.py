"""One run on several processes (ranks), each with environments of its own, started by torchrun.

What the ranks tell each other, so that together they learn what one process with all of their
environments would: the mean gradient, the advantages that normalise a minibatch, and decisions
that all of them must take alike. In a run of one process every function here gives back what it
was given, at once.

A gradient is averaged by one all-reduce of one flat tensor after `backward`, as
`DistributedDataParallel` does with its buckets. Its wrapper itself would not fit: it follows the
gradients of the module's `forward` alone, and the loop asks the policy for distributions, values
and predictions by methods of their own; while the critic warms up, most parameters have none. With
a million parameters a student is one bucket there too, so nothing could be sent any earlier.

Losses are means over minibatches, and all ranks have minibatches of one size. So the mean of their
gradients is the gradient of the mean over all samples.
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

# How long rank 0 may evaluate while the others wait. It does not delay the news of a rank that has
# ended: its connections close with it.
_PATIENCE = timedelta(minutes=30)


class RankLostError(UserError):
    """Another rank of the run has ended, or cannot be reached; standard error says so already."""


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """A block in which this process is one rank of its run, where torchrun has started it.

    Tensors on the CPU travel by gloo. Those on GPUs travel by NCCL where each rank of the machine
    has a GPU of its own, and else over the CPU.

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
        complain(f"The ranks of this run do not find each other: {error}")
        raise RankLostError(str(error)) from error
    yield
    # Not after an error: where a rank is gone, this might wait for it.
    dist.destroy_process_group()


def world_size() -> int:
    """How many ranks the run has: 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which one this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this rank evaluates, logs and writes for all."""
    return rank() == 0


def tell(message: object) -> None:
    """A line on standard error that all ranks would say: rank 0 does."""
    if is_first():
        print(message, file=sys.stderr)


def complain(message: object) -> None:
    """A line on standard error of one rank, which names itself."""
    print(f"[rank {rank()}] {message}" if world_size() > 1 else message, file=sys.stderr)


def share_of(total: int, flag: str) -> range:
    """This rank's part of `total` things that are dealt out evenly.

    Raises:
        UserError: they cannot be; names the flag.
    """
    n_ranks = world_size()
    if total % n_ranks:
        raise UserError(
            f"{flag} {total} is of all ranks together, and cannot be dealt out evenly to "
            f"{n_ranks}. Give a multiple of {n_ranks}."
        )
    each = total // n_ranks
    return range(rank() * each, (rank() + 1) * each)


def device_of_rank(name: str) -> str:
    """The `--device` of this rank: of GPUs each rank of a machine takes the next one.

    Raises:
        UserError: one GPU is named for all.
    """
    if world_size() == 1 or name == "cpu" or not torch.cuda.is_available():
        return name
    if name not in ("auto", "cuda"):
        raise UserError(f"`device` {name} is one GPU for all ranks. Give auto: each takes its own.")
    index = int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count()
    torch.cuda.set_device(index)
    return f"cuda:{index}"


def threads_of_rank(cores: int) -> int:
    """How many of this machine's cores are this rank's, of a run that has several."""
    return max(1, cores // _ranks_here())


# -- before and beside the gradient ---------------------------------------------------------------


def seed_apart(seed: int | None) -> None:
    """Gives each rank random numbers of its own; those of one process stay as they are."""
    if world_size() > 1 and seed is not None:
        own = np.random.SeedSequence((seed, rank())).generate_state(1)
        set_random_seed(int(own[0]))


def share_weights(policy: nn.Module) -> None:
    """Rank 0's parameters and buffers on every rank."""
    if world_size() > 1:
        for tensor in policy.state_dict().values():
            with _exchange():
                tensor.copy_(_sent(tensor, lambda wire: dist.broadcast(wire, 0)))


def average_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Makes each gradient the mean of all ranks'. Parameters without one are left out, on all
    ranks alike.

    Returns:
        The mean loss, a scalar, so that one that is not finite is so on every rank.
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
    """`(B, ...)` of each rank -> `(ranks * B, ...)`, rank 0's first; without a gradient."""
    if world_size() == 1:
        return tensor
    joint = tensor.new_zeros(world_size(), *tensor.shape)
    joint[rank()] = tensor.detach()
    with _exchange():
        # A sum with zeros: of all-gather, gloo has no form that takes tensors on a GPU.
        return _sent(joint, dist.all_reduce).flatten(0, 1)


# -- plain values ---------------------------------------------------------------------------------


def everyones(value: Any) -> list[Any]:
    """What each rank calls this with, in their order; it has to be JSON."""
    if world_size() == 1:
        return [value]
    return [json.loads(text) for text in everyones_bytes(json.dumps(value, default=float).encode())]


def everyones_bytes(content: bytes) -> list[bytes]:
    """As `everyones`, of any bytes."""
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
    """Each value's mean over the ranks; all have the same names."""
    if world_size() == 1:
        return dict(values)
    each = everyones(dict(values))
    return {name: float(np.mean([of_rank[name] for of_rank in each])) for name in values}


# -- sending --------------------------------------------------------------------------------------


def _ranks_here() -> int:
    """Ranks on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"])


def _sent(tensor: Tensor, send: Any) -> Tensor:
    """The tensor after an exchange in place, over the CPU where GPUs have no way of their own."""
    over_cpu = tensor.is_cuda and "nccl" not in str(dist.get_backend_config())
    wire = tensor.cpu() if over_cpu else tensor.contiguous()
    send(wire)
    return wire.to(tensor.device)


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """Raises RankLostError for what goes wrong between ranks."""
    try:
        yield
    except RuntimeError as error:
        # gloo begins with its source file, and ends with advice.
        reason = re.sub(r"^\[\S+\] ", "", str(error)).partition(". ")[0]
        # At once: torchrun is about to stop this process too.
        complain(
            f"Another rank has ended, so this one does too ({reason}). Its own message, or "
            "torchrun's list of failures, says which one and why. The same command with --resume "
            "goes on from the last checkpoint."
        )
        raise RankLostError(reason) from error
