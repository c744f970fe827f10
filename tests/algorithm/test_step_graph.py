"""Batches of a captured step: their tensors, and copies of them."""

from __future__ import annotations

import torch

from Algorithm.on_policy.rollout import Minibatch
from Algorithm.step_graph import StepGraph, copy_of, tensors_of
from Models.distributions import DiagGaussian


def minibatch() -> Minibatch:
    return Minibatch(
        obs={"frame": torch.ones(2, 4, 8, 8, dtype=torch.uint8), "proprio": torch.rand(2, 3)},
        raw_actions=torch.rand(2, 7),
        old_log_prob=torch.rand(2),
        old_values=torch.rand(2),
        advantages=torch.rand(2),
        returns=torch.rand(2),
        teacher=DiagGaussian(torch.rand(2, 7), torch.rand(2, 7)),
    )


def test_all_tensors_of_a_minibatch_are_found_and_copied() -> None:
    batch = minibatch()
    copy = copy_of(batch)
    assert isinstance(copy, Minibatch)
    assert isinstance(copy.teacher, DiagGaussian)
    assert copy.past is None
    tensors, copies = tensors_of(batch), tensors_of(copy)
    assert len(tensors) == 2 + 5 + 2
    for tensor, other in zip(tensors, copies, strict=True):
        assert torch.equal(tensor, other)
        assert tensor.data_ptr() != other.data_ptr()
    copies[0].zero_()
    assert isinstance(copy.obs, dict)
    assert not copy.obs["frame"].any()


def test_without_a_gpu_steps_are_taken_one_by_one() -> None:
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)

    def step(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weight.grad = batch["gradient"].mean()
        optimizer.step()
        return {"weight": weight.detach().clone()}

    graph = StepGraph(step, optimizer, enabled=False)
    graph.begin_update(20)
    found = [graph({"gradient": torch.full((4,), float(i))})["weight"].item() for i in range(20)]
    assert found == [-float(sum(range(i + 1))) for i in range(20)]
