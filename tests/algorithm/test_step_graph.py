"""Steps as graphs, on the processor: a stand-in records and repeats their operations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.step import Labelled
from Algorithm.finite import StepGuard
from Algorithm.on_policy.ppd import PPD
from Algorithm.on_policy.rollout import Minibatch
from Algorithm.step_graph import StepGraph, copy_of, tensors_of
from Common.errors import UserError
from Enviroment.make import make_state_env
from Models.distributions import DiagGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from tests.support.cloning_data import MemoryData, Recorder, student
from tests.support.recorded_graph import recorded_graphs
from tests.support.tiny_teacher import tiny_teacher


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

    def step(batch: dict[str, torch.Tensor], is_first: bool) -> dict[str, torch.Tensor]:
        weight.grad = batch["gradient"].mean()
        optimizer.step()
        return {"weight": weight.detach().clone()}

    graph = StepGraph(step, optimizer, enabled=False)
    graph.begin_update(20)
    found = [graph({"gradient": torch.full((4,), float(i))})["weight"].item() for i in range(20)]
    assert found == [-float(sum(range(i + 1))) for i in range(20)]


def ppd() -> PPD:
    """PPD on Pusher's state: rollouts of 8 steps of 6 environments, minibatches of 8 samples."""
    env = make_state_env("Pusher", 6, 0, grouped=True)
    config = StudentConfig(mode="State", family="gaussian", precision="float32")
    return PPD(
        StudentPolicy,
        env,
        tiny_teacher("gaussian", state_dim=23, action_dim=7),
        policy_kwargs={"config": config, "optimizer_kwargs": {"fused": True}},
        n_steps=8,
        batch_size=8,
        n_epochs=3,
        seed=0,
        device="cpu",
    )


def captures(graph: StepGraph, guard: StepGuard) -> None:
    """Let a learner on the processor capture its steps, and check them as on a GPU."""
    graph.enabled, graph._stream, guard._deferred = True, torch.cuda.Stream(), True


def test_graphs_of_cloning_take_the_same_steps() -> None:
    """Three logging intervals of 30 steps, the first with a new optimizer."""
    config = CloningConfig(batch_size=8, gradient_steps=90, log_every=30, validate_every=90)
    states, curves = [], []
    for is_captured in (True, False):
        recorder, policy = Recorder(), student("ImpaalaSmall")
        model = BehaviouralCloning(policy, MemoryData(), config)
        model.set_logger(Logger(None, [recorder]))
        with recorded_graphs() as graphs:
            if is_captured:
                captures(model._step._graph, model._step._guard)
            model.learn()
        # The first step of an interval is taken alone; the graph takes the others.
        assert [graph.n_replays for graph in graphs] == ([29] * 3 if is_captured else [])
        states.append(policy.state_dict())
        curves.append([recorder.curve(f"train/{name}") for name in ("loss", "kl", "grad_norm")])
    np.testing.assert_allclose(*curves, rtol=1e-4)
    # The learning rate of a graph is rounded to float32. Adam moves single weights whose gradient
    # is about 0 by more than that, on some processors, so the norm is compared.
    captured, plain = (torch.cat([t.flatten() for t in state.values()]) for state in states)
    assert (captured - plain).norm() < 1e-3 * plain.norm()


def test_graphs_of_ppd_take_the_same_steps_to_the_bit() -> None:
    states = []
    for is_captured in (True, False):
        model = ppd()
        with recorded_graphs() as graphs:
            if is_captured:
                captures(model._graph, model._guard)
            model.learn(3 * 8 * 6)
        # 6 minibatches of 8 samples in each of 3 epochs
        assert [graph.n_replays for graph in graphs] == ([17] * 3 if is_captured else [])
        assert model.gradient_steps == 3 * 18
        states.append(model.policy.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_a_graph_names_the_step_that_is_not_finite() -> None:
    errors, states = [], []
    for is_captured in (True, False):
        config = CloningConfig(batch_size=8, gradient_steps=30, log_every=30, validate_every=30)
        policy, data = student("ImpaalaSmall"), MemoryData()
        model = BehaviouralCloning(policy, data, config)
        model._step._guard._deferred = True
        with recorded_graphs():
            if is_captured:
                captures(model._step._graph, model._step._guard)
            take, n_taken = model._step._graph, 0

            def spoiled(batch: Labelled, graph: StepGraph = take) -> dict[str, torch.Tensor]:
                nonlocal n_taken
                n_taken += 1
                factor = torch.nan if n_taken == 12 else 1.0
                teacher = dataclasses.replace(batch.teacher, mean=batch.teacher.mean * factor)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
                return graph(dataclasses.replace(batch, teacher=teacher))

            spoiled.begin_update, spoiled.enabled = take.begin_update, take.enabled  # pyright: ignore[reportFunctionMemberAccess]
            model._step._graph = spoiled  # pyright: ignore[reportAttributeAccessIssue]
            with pytest.raises(UserError) as error:
                model.learn()
        errors.append(str(error.value))
        states.append(policy.state_dict())
    assert errors[0] == errors[1]
    assert "The loss is not finite at gradient step 11" in errors[0]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=1e-4, atol=1e-6)


def test_a_step_that_cannot_be_captured_is_taken_without_a_graph(
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken: list[float] = []

    def step(batch: torch.Tensor, is_first: bool) -> dict[str, torch.Tensor]:
        if graphs and graphs[0]._is_open:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        taken.append(batch.item())
        return {"loss": batch}

    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(()))])
    with recorded_graphs() as graphs:
        graph = StepGraph(step, optimizer, enabled=True)
        graph.begin_update(20)
        for number in range(20):
            graph(torch.tensor(float(number)))
    assert taken == list(range(20))
    assert len(graphs) == 1
    message = capsys.readouterr().err
    assert message.count("without CUDA graphs") == 1
    assert message.endswith("operation not permitted when stream is capturing\n")
