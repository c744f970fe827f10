"""Measure env steps per second and peak memory of PPD by environments and networks."""

from __future__ import annotations

import time
from typing import Any, get_args

import torch

from Algorithm.on_policy.ppd import PPDConfig
from benchmarks.gpu_check.setting import MODES, N_CORES, Setting, recorded, wait
from Enviroment.drawing.gl import renderer_name
from Enviroment.make import make_env
from Enviroment.simulation.workers import WorkerKind

_ENVS = (18, 64, 128, 512)
_WORKER_ENVS, _WORKERS, _WORKER_STEPS = (18, 64), (1, 2, 4, 16), 2_048
_SAMPLES = 8_192  # timed env steps, at least one rollout


def check(setting: Setting) -> None:
    """Time rollouts and updates on the GPU and, for comparison, on this machine's CPU."""
    setting.findings.fact("cores", N_CORES)
    for n_envs in (2, 3) if setting.quick else _ENVS:
        env = setting.env(n_envs)
        try:
            setting.findings.row(**_stepping(setting, env))
            for mode in MODES[:1] if setting.quick or n_envs > _ENVS[0] else MODES:
                what = f"{mode}, {n_envs} environments"
                setting.findings.attempt(
                    what, lambda mode=mode, env=env: _training(setting, env, mode)
                )
            if n_envs == max(_ENVS):  # few large minibatches, which suit a GPU
                what = f"{n_envs} environments, minibatches of 2,048"
                setting.findings.attempt(
                    what, lambda env=env: _training(setting, env, MODES[0], batch_size=2048)
                )
        finally:
            env.close()
    if setting.is_cuda and not setting.quick:
        env = setting.env(_ENVS[0])
        try:
            _training(setting, env, MODES[0], device=torch.device("cpu"))
        finally:
            env.close()


def check_workers(setting: Setting) -> None:
    """Time stepping and rendering by threads and by processes, without a network."""
    setting.findings.fact("OpenGL renderer", renderer_name())
    for n_envs in (2,) if setting.quick else _WORKER_ENVS:
        for kind in get_args(WorkerKind):
            for n_workers in (1,) if kind == "serial" or setting.quick else _WORKERS:
                env = make_env(setting.task(), n_envs, 0, workers=kind, n_workers=n_workers)
                try:
                    row = _stepping(setting, env, _WORKER_STEPS)
                    setting.findings.row(workers=f"{n_workers} {kind}", **row)
                finally:
                    env.close()


def _stepping(setting: Setting, env: Any, n_samples: int = 4_096) -> dict[str, Any]:
    """Time only stepping and rendering, with zero actions."""
    n_steps = max(3, (100 if setting.quick else n_samples) // env.num_envs)
    env.reset()
    actions = torch.zeros(env.num_envs, *env.action_space.shape).numpy()
    env.step(actions)
    started = time.perf_counter()
    for _ in range(n_steps):
        env.step(actions)
    rate = n_steps * env.num_envs / (time.perf_counter() - started)
    return {"network": "none", "environments": env.num_envs, "env steps per s": rate}


def _training(
    setting: Setting,
    env: Any,
    mode: str,
    batch_size: int | None = PPDConfig.batch_size,
    device: torch.device | None = None,
) -> None:
    """Time rollouts after one for warm-up."""
    device = device or setting.device
    n_steps = 8 if setting.quick else max(16, min(64, _SAMPLES // env.num_envs))
    size = n_steps * env.num_envs
    precision = "auto" if device.type == "cuda" else "float32"
    model = setting.model(env, device, mode, precision, n_steps=n_steps, batch_size=batch_size)
    recorded(model)
    model.learn(size)
    wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    n_rollouts = 1 if setting.quick or device.type == "cpu" else max(1, _SAMPLES // size // 2)
    started, rollout, update = time.perf_counter(), 0.0, 0.0
    for _ in range(n_rollouts):
        model.learn(size, reset_num_timesteps=False)
        rollout += model._rollout_seconds
        update += model._update_seconds
    wait(device)
    seconds = time.perf_counter() - started
    memory = {}
    if device.type == "cuda":
        memory = {"peak MiB": torch.cuda.max_memory_allocated(device) / 2**20}
    setting.findings.row(
        network=f"{mode}{'' if device == setting.device else ' on the processor'}",
        environments=env.num_envs,
        **{
            "minibatch": batch_size,
            "env steps per s": n_rollouts * size / seconds,
            "rollout, share": rollout / seconds,
            "update, share": update / seconds,
            **memory,
        },
    )
