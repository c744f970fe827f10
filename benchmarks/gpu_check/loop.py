"""Measure the minibatch loop on a GPU: synchronisations, transfers and time per step."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.rollout import Minibatch
from benchmarks.gpu_check.equality import exact_float32
from benchmarks.gpu_check.outcome import SkippedError
from benchmarks.gpu_check.setting import MODES, Setting, recorded, wait
from Models.sb3.policies import distribution_and_value

_WAITS = "synchronizing CUDA operation"  # in the warnings of torch's debug mode
_EPOCHS = (1, 5)  # the difference between the two is the cost of minibatches


def check(setting: Setting) -> None:
    """Count waits and transfers of an update of PPD with one epoch and with five."""
    if not setting.is_cuda:
        raise SkippedError("a CPU does not wait for itself")
    env = setting.env()
    try:
        model = setting.model(env, setting.device, precision="bfloat16", batch_size=128)
        recorded(model)
        model.learn(2 * model.n_steps * env.num_envs)
        n_minibatches = -(-model.n_steps * env.num_envs // 128)
        waits, copies = {}, {}
        for epochs in _EPOCHS:
            model.n_epochs = epochs
            waits[epochs] = waits_of(model.train)
            copies[epochs] = copies_of(model.train)
        more_epochs = _EPOCHS[1] - _EPOCHS[0]
        more = more_epochs * n_minibatches
        for epochs in _EPOCHS:
            name = f"{epochs} epochs of {n_minibatches} minibatches"
            setting.findings.fact(f"waits in an update of {name}", dict(waits[epochs]))
            setting.findings.fact(f"copies and kernels in an update of {name}", copies[epochs])
        per_minibatch = (waits[_EPOCHS[1]].total() - waits[_EPOCHS[0]].total()) / more
        setting.findings.fact("waits per minibatch", per_minibatch)
        setting.findings.expect(per_minibatch == 0, f"{per_minibatch:.3g} waits per minibatch")
        for kind in ("HtoD", "DtoH"):
            first, last = (copies[epochs].get(kind, 0) for epochs in _EPOCHS)
            per_epoch = (last - first) / more_epochs
            setting.findings.fact(f"{kind} copies per epoch", per_epoch)
            what = f"{kind}: {per_epoch:.3g} copies per epoch of {n_minibatches} minibatches"
            setting.findings.expect(per_epoch < n_minibatches, what)
    finally:
        env.close()


@contextmanager
def debugged() -> Iterator[list[warnings.WarningMessage]]:
    """Record warnings of waits for the GPU."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield caught
        finally:
            torch.cuda.set_sync_debug_mode("default")


def waits_of(run: Callable[[], object]) -> Counter[str]:
    """Count the waits for the GPU by line of code."""
    with debugged() as caught:
        run()
    found = [w for w in caught if _WAITS in str(w.message)]
    return Counter(f"{'/'.join(w.filename.split('/')[-2:])}:{w.lineno}" for w in found)


def copies_of(run: Callable[[], object]) -> dict[str, float]:
    """Count copies by direction and kernels, and measure the share of time the GPU is busy."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    counts: Counter[str] = Counter()
    busy = 0.0
    for event in profiler.events() or ():
        if not str(event.device_type).endswith("CUDA"):
            continue
        busy += event.time_range.elapsed_us()
        kind = next((k for k in ("HtoD", "DtoH", "DtoD") if k in event.name), None)
        counts[kind or ("memset" if "Memset" in event.name else "kernels")] += 1
    return {**counts, "seconds": seconds, "busy": busy / 1e6 / seconds}


def check_graphs(setting: Setting) -> None:
    """Time updates of PPD whose gradient steps are a CUDA graph, and the same one by one."""
    env = setting.env()
    try:
        for batch_size in (8,) if setting.quick else (32, 128, 512):
            row: dict[str, Any] = {"samples": batch_size}
            for name, captures in (("one by one, ms", False), ("as a graph, ms", True)):
                model = setting.model(
                    env,
                    setting.device,
                    precision="auto" if setting.is_cuda else "float32",
                    batch_size=batch_size,
                )
                recorded(model)
                model._graph.enabled = captures and setting.is_cuda
                model.learn(model.n_steps * env.num_envs)
                before = model.gradient_steps
                seconds = [_timed(setting, model.train) for _ in range(3)]
                n_steps = (model.gradient_steps - before) // 3
                row[name] = 1e3 * sorted(seconds)[1] / n_steps
            setting.findings.row(**row, **{"steps of an update": n_steps})
    finally:
        env.close()


def _timed(setting: Setting, run: Callable[[], object]) -> float:
    wait(setting.device)
    started = time.perf_counter()
    run()
    wait(setting.device)
    return time.perf_counter() - started


def check_step_times(setting: Setting) -> None:
    """Measure milliseconds per minibatch of PPD by network, batch size and variant."""
    with torch.device("cpu"):
        env = setting.env()
    try:
        for mode in MODES[:1] if setting.quick else MODES:
            for batch_size in (8,) if setting.quick else (256, 2048):
                row = {"network": mode, "samples": batch_size}
                for name, variant in _VARIANTS.items():
                    try:
                        row[f"{name}, ms"] = variant(setting, env, mode, batch_size)
                    except Exception as error:
                        setting.findings.expect(False, f"{mode}, {name}: {error!r:.300}")
                setting.findings.row(**row)
    finally:
        env.close()


def _prepared(
    setting: Setting, env: Any, mode: str, batch_size: int, precision: str
) -> tuple[OnPolicyStudent, Minibatch]:
    """Return a model, and a minibatch of its first rollout, repeated to the batch size."""
    model = setting.model(env, setting.device, mode, precision, n_steps=8)
    recorded(model)
    model.learn(8 * env.num_envs)
    (whole,) = model.rollout_buffer.minibatches(None)
    rows = torch.arange(batch_size, device=setting.device) % len(whole.raw_actions)
    assert isinstance(whole.obs, dict) and whole.teacher is not None
    return model, Minibatch(
        obs={name: group[rows] for name, group in whole.obs.items()},
        teacher=whole.teacher[rows],
        **{
            name: getattr(whole, name)[rows]
            for name in ("raw_actions", "old_log_prob", "old_values", "advantages", "returns")
        },
    )


def _milliseconds(setting: Setting, step: Callable[[], object]) -> float:
    """Return the median milliseconds per step of five times ten steps."""
    n_steps = 2 if setting.quick else 10

    def steps() -> None:
        for _ in range(n_steps):
            step()

    steps()
    return 1e3 * sorted(_timed(setting, steps) for _ in range(5))[2] / n_steps


def _step(model: OnPolicyStudent, batch: Minibatch) -> Tensor:
    student, values = distribution_and_value(model.policy, batch.obs)
    losses = model.minibatch_losses(student, values, batch)
    return model._gradient_step(losses)


def _plain(precision: str) -> Callable[..., float]:
    def variant(setting: Setting, env: Any, mode: str, batch_size: int) -> float:
        model, batch = _prepared(setting, env, mode, batch_size, precision)
        return _milliseconds(setting, lambda: _step(model, batch))

    return variant


def _without_tf32(setting: Setting, env: Any, mode: str, batch_size: int) -> float:
    with exact_float32():
        return _plain("float32")(setting, env, mode, batch_size)


def _searching(setting: Setting, env: Any, mode: str, batch_size: int) -> float:
    torch.backends.cudnn.benchmark = True
    try:
        return _plain("bfloat16")(setting, env, mode, batch_size)
    finally:
        torch.backends.cudnn.benchmark = False


def _padded(setting: Setting, env: Any, mode: str, batch_size: int) -> float:
    """Measure a first convolution with 8 channels of input, 4 of them 0, which fit matrix units."""
    model, batch = _prepared(setting, env, mode, batch_size, "bfloat16")
    first: Any = model.policy.encoder.sequences[0][0]  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]

    def eight(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, 8 - x.shape[1]))

    first.forward = lambda x: F.conv2d(eight(x), eight(first.weight), first.bias, padding=1)
    return _milliseconds(setting, lambda: _step(model, batch))


def _graph(setting: Setting, env: Any, mode: str, batch_size: int) -> float:
    """Measure the whole step as one CUDA graph, to show the potential gain."""
    model, batch = _prepared(setting, env, mode, batch_size, "bfloat16")
    if not setting.is_cuda:
        return _milliseconds(setting, lambda: _step(model, batch))
    for group in model.policy.optimizer.param_groups:
        group["capturable"] = True
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            _step(model, batch)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        _step(model, batch)
    return _milliseconds(setting, graph.replay)


_VARIANTS: dict[str, Callable[..., float]] = {
    "bfloat16": _plain("bfloat16"),
    "float32 by TF32": _plain("float32"),
    "float32": _without_tf32,
    "bfloat16, cuDNN searches": _searching,
    "bfloat16, padded to 8 channels": _padded,
    "bfloat16, CUDA graph": _graph,
}
