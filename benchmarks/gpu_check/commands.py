"""Check the command lines: trainings, a run that is killed and resumed, and two ranks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_check.outcome import SkippedError
from benchmarks.gpu_check.setting import N_CORES, Setting
from Common.runs.checkpoint import Checkpoint
from Common.runs.files import read_metrics

# The command with deterministic algorithms, where torch has them.
_DETERMINISTIC = (
    "import sys, torch; torch.use_deterministic_algorithms(True, warn_only=True); "
    "from Distillation.command import main; main('Pusher', sys.argv[1:])"
)
_EVALUATION = ("--eval_every", "1000000", "--eval_episodes", "5", "--final_episodes", "5")


def run_tests(setting: Setting) -> None:
    """Run the quick tests marked `cuda`."""
    if not setting.is_cuda:
        raise SkippedError("the tests need a GPU")
    # Not the whole folder, since a fresh machine may lack packages that other tests import.
    marked = [p for p in Path("tests").rglob("*.py") if "mark.cuda" in p.read_text()]
    # A fixture of a conftest.py marks tests of its folder.
    paths = sorted({str(p.parent if p.name == "conftest.py" else p) for p in marked})
    flags = ["-m", "cuda and not slow", "-q", "-p", "no:cacheprovider", "-rfE", *paths]
    done = finished(setting, [sys.executable, "-m", "pytest", *flags], setting.seconds)
    setting.findings.fact("pytest", done.stdout.strip().splitlines()[-1])
    setting.findings.expect(done.returncode == 0, done.stdout[-4000:])


def check(setting: Setting) -> None:
    """Run the commands of PPD, student-distill, BC and DAgger with few steps."""
    data, bc = setting.work / "data", setting.work / "bc"
    n_data = "400" if setting.quick else "4000"
    steps = "60" if setting.quick else "400"
    dataset = ("--dataset", str(data), "--optimization_steps", steps)
    round_ = ("--rounds", "1", "--round_gradient_steps", steps, "--round_env_steps")
    runs: dict[str, Sequence[str]] = {
        "C_data": ("--C_data", "--num_data", n_data),
        "PPD": ("--PPD", *_on_policy(setting, 4)),
        "Sdistillation": ("--Sdistillation", *_on_policy(setting, 2)),
        "BC": ("--BC_phase", *dataset),
        "DAgger": ("--Dagger_phase", "--folder_Dagger", str(bc), *round_, "400"),
    }
    folders = {"C_data": data, "BC": bc}
    for name, flags in runs.items():
        folder = folders.get(name, setting.work / name)
        learns = name != "C_data"
        more = (*_common(setting), *_EVALUATION) if learns else ()
        command = [sys.executable, *pusher(setting, folder), *flags, *more]
        started = time.perf_counter()
        done = finished(setting, command, setting.seconds)
        row: dict[str, Any] = {"method": name, "seconds": time.perf_counter() - started}
        if learns and done.returncode == 0:
            row |= _last_figures(folder)
        setting.findings.row(**row, exit=done.returncode)
        setting.findings.expect(done.returncode == 0, f"{name}: {done.stderr[-3000:]}")


def check_resume(setting: Setting) -> None:
    """Compare two uninterrupted runs and one that is killed and resumed, with the same seeds."""
    flags = [*_on_policy(setting, 6), *_common(setting), *_EVALUATION]
    flags += ["--PPD", "--checkpoint_every", str(_rollout(setting))]
    whole, again, killed = (setting.work / name for name in ("whole", "again", "killed"))
    runs = [_deterministic(setting, folder, flags) for folder in (whole, again, killed)]
    deadline = time.monotonic() + setting.seconds / 2
    while len(list((killed / "checkpoints").glob("step_*"))) < 2 and runs[2].poll() is None:
        if time.monotonic() > deadline:
            raise TimeoutError("No second checkpoint appeared.")
        time.sleep(0.05)
    runs[2].send_signal(signal.SIGKILL)
    runs[2].communicate()
    newest = max((killed / "checkpoints").glob("step_*"), default=None)
    setting.findings.fact("killed after", newest and newest.name)
    resumed = _deterministic(setting, killed, [*flags, "--resume"])
    for name, run in (("whole", runs[0]), ("again", runs[1]), ("resumed", resumed)):
        errors = run.communicate(timeout=setting.seconds)[1]
        setting.findings.expect(run.returncode == 0, f"{name}: {errors[-3000:]}")
        unsure = sorted(set(re.findall(r"(\w+) does not have a deterministic", errors)))
        if unsure and name == "whole":
            setting.findings.fact("has no deterministic form", unsure)
    repeated = _apart(whole, again)
    after_kill = _apart(whole, killed)
    setting.findings.fact("a run and its repetition", repeated)
    setting.findings.fact("a run and one that was killed and resumed", after_kill)
    bitwise = not any(repeated.values())
    setting.findings.fact("resume is", "bitwise" if not any(after_kill.values()) else "statistical")
    if bitwise:
        what = f"runs repeat bit-for-bit, but not after a resume: {after_kill}"
        setting.findings.expect(not any(after_kill.values()), what)
    # If runs are not reproducible, a resumed one must not differ more than two runs do.
    bound = 10 * repeated["weights, relative"] + 1e-6
    what = f"a resumed run differs: {after_kill}, two uninterrupted ones: {repeated}"
    setting.findings.expect(after_kill["weights, relative"] <= max(bound, 0.05), what)


def check_ranks(setting: Setting) -> None:
    """Run PPD on two ranks, by NCCL with two cards, else by gloo over the CPU with one card."""
    n_cards = torch.cuda.device_count() if setting.is_cuda else 0
    by = "NCCL, a card each" if n_cards >= 2 else "gloo over the CPU, one card for both"
    setting.findings.fact("ranks talk by", by)
    if n_cards < 2:
        setting.findings.fact("NCCL", f"not tried: {n_cards} card")
    folder = setting.work / "ranks"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    flags = ["--PPD", *_on_policy(setting, 4), *_common(setting, "auto"), *_EVALUATION]
    command = [sys.executable, *torchrun, *pusher(setting, folder), *flags]
    done = finished(setting, command, setting.seconds)
    setting.findings.expect(done.returncode == 0, done.stderr[-4000:])
    if done.returncode == 0:
        for name, value in _last_figures(folder).items():
            setting.findings.fact(name, value)


# -- running ---------------------------------------------------------------------------------------


def _rollout(setting: Setting) -> int:
    return setting.n_envs * (8 if setting.quick else 64)


def _on_policy(setting: Setting, n_rollouts: int) -> tuple[str, ...]:
    steps = n_rollouts * _rollout(setting)
    quick = ("--num_steps", "8") if setting.quick else ()
    return ("--total_timesteps", str(steps), "--num_envs", str(setting.n_envs), *quick)


def pusher(setting: Setting, folder: Path) -> tuple[str, ...]:
    """Return the script of Pusher with its folder and the size of frames."""
    size = "x".join(map(str, setting.task().frame_size))
    return ("Distillation/Pusher.py", "--output", str(folder), "--frame_size", size)


def _common(setting: Setting, device: str | None = None) -> tuple[str, ...]:
    where = device if device and setting.is_cuda else str(setting.device)
    threads = ("--threads", "1") if setting.quick else ()
    return (
        *("--mode", "ImpaalaSmall", "--device", where, "--no_video", "--wandb", "disabled"),
        *threads,
    )


def _environment() -> dict[str, str]:
    """Return the environment variables with the project's root on Python's path."""
    paths = [os.getcwd(), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def finished(
    setting: Setting, command: Sequence[str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    print(f"  $ {' '.join(command)}", flush=True)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, env=_environment(), check=False
    )


def _deterministic(setting: Setting, folder: Path, flags: Sequence[str]) -> subprocess.Popen[str]:
    threads = () if setting.quick else ("--threads", str(max(1, N_CORES // 3)))
    return subprocess.Popen(
        [sys.executable, "-c", _DETERMINISTIC, *pusher(setting, folder)[1:], *flags, *threads],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**_environment(), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
    )


# -- reading ---------------------------------------------------------------------------------------


def _last_figures(folder: Path) -> dict[str, float]:
    """Return the last value of some metrics, and the return of the finished student."""
    points = read_metrics(folder)
    names = ("train/kl", "train/loss", "time/steps_per_second", "time/samples_per_second")
    figures = {name: p[name] for name in names for p in points if name in p}
    evaluation = json.loads((folder / "evaluation.json").read_text())
    return figures | {k: v for k, v in evaluation.items() if k == "return"}


def _apart(one: Path, other: Path) -> dict[str, float]:
    """Return the deviation of the last checkpoints of two runs; 0 if equal bit-for-bit."""
    states = []
    for folder in (one, other):
        checkpoint = Checkpoint.open(max((folder / "checkpoints").glob("step_*")))
        states.append({name: checkpoint.tensors(name) for name in checkpoint.parts})
    first, second = ({f"{p}.{n}": t for p in s for n, t in s[p].items()} for s in states)
    unequal = sum(not torch.equal(t, second[name]) for name, t in first.items())
    weights = [name for name in first if ".policy." in name and first[name].is_floating_point()]
    ours, theirs = (torch.cat([s[n].flatten().double() for n in weights]) for s in (first, second))
    return {
        "unequal tensors": unequal,
        "weights, relative": float((ours - theirs).norm() / ours.norm()),
    }


def remove(folder: Path) -> None:
    """Delete the output of the commands."""
    shutil.rmtree(folder, ignore_errors=True)
