"""The IMPALA-CNN against its definition in plain operations: outputs and all gradients."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from Models.networks.cnn import ImpalaCNN
from Models.networks.encoders import FILTERS
from Models.networks.impala import ImpalaEncoder, ResidualBlock

FRAMES = torch.randint(
    0, 256, (3, 4, 20, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def plain_block(block: ResidualBlock, x: Tensor) -> Tensor:
    """Figure 3 of the IMPALA paper, with nothing in place."""
    inner = F.conv2d(torch.relu(x), block.conv1.weight, block.conv1.bias, padding=1)
    return x + F.conv2d(torch.relu(inner), block.conv2.weight, block.conv2.bias, padding=1)


def plain_sequences(sequences: torch.nn.Sequential, x: Tensor) -> Tensor:
    """All sequences, contiguous, then the last ReLU."""
    for conv, _, *blocks in sequences:  # pyright: ignore[reportGeneralTypeIssues]
        x = F.conv2d(x, conv.weight, conv.bias, padding=1)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for block in blocks:
            x = plain_block(block, x)
    return torch.relu(x)


@pytest.mark.parametrize("mode", FILTERS)
def test_outputs_and_gradients_are_those_of_the_definition(mode: str) -> None:
    """The reference has contiguous tensors, and float64."""
    torch.manual_seed(0)
    encoder = ImpalaEncoder(4, FILTERS[mode], 3, "float32")
    reference = copy.deepcopy(encoder).to(memory_format=torch.contiguous_format).double()  # pyright: ignore[reportCallIssue]
    x = plain_sequences(reference.sequences, FRAMES.double() / 255)
    expected = F.adaptive_avg_pool2d(x, 3).flatten(1)
    features = encoder(FRAMES)
    torch.testing.assert_close(features.double(), expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(expected.shape)
    (features * weights).sum().backward()
    (expected * weights).sum().backward()
    for (name, ours), theirs in zip(
        encoder.named_parameters(), reference.parameters(), strict=True
    ):
        assert ours.grad is not None and theirs.grad is not None, name
        size = theirs.grad.abs().max().item()
        torch.testing.assert_close(
            ours.grad.double(), theirs.grad, rtol=1e-5, atol=1e-5 * size, msg=name
        )


def test_the_block_has_the_gradients_of_finite_differences() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(2).double()
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: block(x), (x, *block.parameters()))


@pytest.mark.parametrize("grad", [True, False], ids=["train", "act"])
def test_a_block_leaves_its_input_unchanged(grad: bool) -> None:
    """Saliency and hooks read the input of a block after it has run."""
    torch.manual_seed(0)
    block, x = ResidualBlock(2), torch.randn(1, 2, 4, 4)
    before = x.clone()
    with torch.set_grad_enabled(grad):
        block(x)
    assert torch.equal(x, before)


def test_names_of_parameters_are_those_of_earlier_bundles() -> None:
    names = set(ImpalaCNN((4, 16, 16), (16,), 8).state_dict())
    layers = {"0", *(f"{block}.conv{i}" for block in (2, 3) for i in (1, 2))}
    expected = {f"sequences.0.{layer}" for layer in layers} | {"linear.0"}
    assert names == {f"{layer}.{kind}" for layer in expected for kind in ("weight", "bias")}
