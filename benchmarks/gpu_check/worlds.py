"""Measure the worlds of mujoco-warp: stepping and drawing, PPD, and the time to a skill."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import torch

from Algorithm.on_policy.ppd import PPDConfig
from Algorithm.reward_normaliser import RewardNormaliser
from benchmarks.gpu_check.commands import finished
from benchmarks.gpu_check.cost_model import Work, predictions
from benchmarks.gpu_check.setting import MODES, Setting, recorded, wait
from Common.runs.files import read_metrics
from Enviroment.worlds.library import load_warp
from Enviroment.worlds.make import make_worlds
from Enviroment.worlds.memory import bytes_per_world, free_bytes
from Enviroment.worlds.model import read_model
from Enviroment.worlds.simulation import Simulation

_WORLDS = (256, 1_024, 4_096)
_STEPS = 100  # of all worlds, timed
_ROLLOUT = 16  # env steps per world
_BATCHES = (2_048, 8_192)
_BARS = {"stepping and drawing": 100_000, "PPD": 20_000}  # env steps per s at 1,024 worlds
_SKILL = 0.95


def check(setting: Setting) -> None:
    """Time stepping and drawing, then PPD, by the number of worlds."""
    warp, _ = load_warp()
    setting.findings.fact("warp-lang", warp.__version__)
    predicted = predictions(Work())
    setting.findings.fact("predicted for an H100, env steps per s at 1,024 worlds", predicted)
    setting.findings.fact("to be reached on an H100", _BARS)
    for n_worlds in (4,) if setting.quick else _WORLDS:
        setting.findings.attempt(
            f"{n_worlds} worlds, stepping", lambda n=n_worlds: _stepping(setting, n)
        )
        for batch_size in (16,) if setting.quick else _BATCHES:
            setting.findings.attempt(
                f"{n_worlds} worlds, PPD",
                lambda n=n_worlds, b=batch_size: _training(setting, n, b),
            )


def _stepping(setting: Setting, n_worlds: int) -> None:
    task, device = setting.task(), setting.device
    shared, before = read_model(task, draws=True), free_bytes(device)
    started = time.perf_counter()
    worlds = Simulation(shared, n_worlds, device, task.frame_size)

    def step(n_steps: int, *, draws: bool) -> float:
        begin = time.perf_counter()
        for _ in range(n_steps):
            worlds.step(2 * torch.rand(n_worlds, shared.model.nu, device=device) - 1)
            if draws:
                worlds.draw()
        wait(device)
        return time.perf_counter() - begin

    step(3, draws=True)
    first = time.perf_counter() - started
    n_steps = 5 if setting.quick else _STEPS
    plain, drawn = (step(n_steps, draws=draws) for draws in (False, True))
    taken = before - free_bytes(device)
    setting.findings.row(
        what="stepping",
        worlds=n_worlds,
        **{
            "env steps per s": n_worlds * n_steps / plain,
            "with frames": n_worlds * n_steps / drawn,
            "first step, s": first,
            "bytes per world, estimated": bytes_per_world(task, shared, draws=True, sees=False),
            **({"bytes per world, taken": taken / n_worlds} if setting.is_cuda else {}),
        },
    )


def _training(setting: Setting, n_worlds: int, batch_size: int) -> None:
    """Time rollouts and updates of PPD after one for warm-up."""
    device = setting.device
    worlds = make_worlds(setting.task(), n_worlds, 0, device, stagger=True, rollout=_ROLLOUT)
    env = RewardNormaliser(worlds, norm_reward=True, gamma=PPDConfig.gamma)
    try:
        precision = "auto" if setting.is_cuda else "float32"
        model = setting.model(
            *(env, device, MODES[0], precision), n_steps=_ROLLOUT, batch_size=batch_size
        )
        recorded(model)
        size = _ROLLOUT * n_worlds
        model.learn(size)
        wait(device)
        if setting.is_cuda:
            torch.cuda.reset_peak_memory_stats(device)
        n_rollouts = 1 if setting.quick else 4
        rollout = update = 0.0
        started = time.perf_counter()
        for _ in range(n_rollouts):
            model.learn(size, reset_num_timesteps=False)
            rollout += model._rollout_seconds
            update += model._update_seconds
        wait(device)
        seconds = time.perf_counter() - started
        memory: dict[str, Any] = {}
        if setting.is_cuda:
            memory = {"peak MiB of torch": torch.cuda.max_memory_allocated(device) / 2**20}
        setting.findings.row(
            what=f"PPD, {MODES[0]}",
            worlds=n_worlds,
            minibatch=batch_size,
            epochs=model.n_epochs,
            **{
                "env steps per s": n_rollouts * size / seconds,
                "rollout, share": rollout / seconds,
                "update, share": update / seconds,
                **memory,
            },
        )
    finally:
        env.close()


def check_skill(setting: Setting) -> None:
    """Run the command from the teacher to a skill of 0.95, and report its seconds."""
    folder = setting.work / "skill"
    quick = (
        *("--total_timesteps", "32", "--num_envs", "4", "--num_steps", "8", "--threads", "1"),
        *("--eval_episodes", "2"),
    )
    full = (
        *("--total_timesteps", "2000000", "--num_envs", "256", "--num_steps", str(_ROLLOUT)),
        *("--batch_size", "128", "--eval_every", "32768"),
    )
    flags = (
        *("--PPD", "--mode", MODES[0], "--simulator", "warp", "--device", str(setting.device)),
        *("--until_skill", str(_SKILL), "--final_episodes", "20", "--no_video"),
        *("--wandb", "disabled", *(quick if setting.quick else full)),
    )
    command = [sys.executable, "Distillation/Pusher.py", "--output", str(folder), *flags]
    started = time.perf_counter()
    try:
        done = finished(setting, command, setting.seconds - 10)
    except subprocess.TimeoutExpired:
        setting.findings.expect(False, f"no skill of {_SKILL} within {setting.seconds:.0f} s")
    else:
        setting.findings.fact("seconds of the command", time.perf_counter() - started)
        setting.findings.expect(done.returncode == 0, done.stderr[-3000:])
    for point in read_metrics(folder) if folder.is_dir() else []:
        if "eval/od_skill" in point:
            setting.findings.row(**{"env steps": point["step"], "skill": point["eval/od_skill"]})
