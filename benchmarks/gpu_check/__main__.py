"""Check and measure the toolkit on a GPU, on a fresh machine, within minutes.

Usage: python -m benchmarks.gpu_check [--budget 480] [--output Results/GPU]

Each part runs in a separate process, so that if one fails, hangs or corrupts the GPU's state, it is
recorded and the others still run. `<card>.json` and `<card>.md` are updated after each part. Use
`--device cpu --quick` to test the script itself.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.gpu_check import commands, equality, loop, speed, worlds
from benchmarks.gpu_check.outcome import (
    FAILED,
    PASSED,
    SKIPPED,
    Findings,
    SkippedError,
    read_json,
    write_json,
    write_report,
)
from benchmarks.gpu_check.setting import N_CORES, Setting
from Common.device import resolve_device

_RESERVE = 5.0  # s, kept for the report


@dataclass(frozen=True)
class Part:
    """A part of the check."""

    title: str
    seconds: float  # limit for a budget of 480
    run: Callable[[Setting], None]


PARTS = {
    "tests": Part("The tests marked cuda", 120, commands.run_tests),
    "equality": Part("Losses as on the processor", 90, equality.check),
    "worlds": Part("Worlds of mujoco-warp", 120, worlds.check),
    "skill": Part("From the teacher to a skill of 0.95", 90, worlds.check_skill),
    "loop": Part("Waits and transfers of an update", 60, loop.check),
    "graphs": Part("Gradient steps as a CUDA graph", 45, loop.check_graphs),
    "bf16": Part("bfloat16", 45, equality.check_bf16),
    "commands": Part("Command lines", 150, commands.check),
    "speed": Part("Env steps per second and memory", 150, speed.check),
    "workers": Part("Env steps per second by workers", 60, speed.check_workers),
    "resume": Part("Resume", 90, commands.check_resume),
    "ranks": Part("Two ranks", 75, commands.check_ranks),
    "steps": Part("Time of a minibatch", 90, loop.check_step_times),
}


@dataclass(frozen=True)
class Arguments:
    """Arguments of the check."""

    budget: float = 480.0  # s, for all parts
    output: Path = Path("Results/GPU")
    device: str = "cuda"
    parts: tuple[str, ...] = tuple(PARTS)  # in this order
    quick: bool = False  # the smallest sizes
    result: Path | None = None  # result of the single part of this process; internal


def main(arguments: Arguments) -> int:
    """Run each part in a process, and return 1 if one failed."""
    device = resolve_device(arguments.device)
    if arguments.result is not None:
        return _part(arguments, device)
    deadline = time.monotonic() + arguments.budget - _RESERVE
    scale = max(1.0, arguments.budget / Arguments.budget)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    report: dict[str, Any] = {"card": card, "machine": _machine(device), "parts": {}}
    for name, value in report["machine"].items():
        print(f"{name}: {value}")
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as work:
        for name in arguments.parts:
            part, left = PARTS[name], deadline - time.monotonic()
            print(f"\n[{arguments.budget - left:4.0f} s] {part.title}", flush=True)
            report["parts"][part.title] = _supervised(
                arguments, name, min(part.seconds * scale, left), Path(work) / name
            )
            path = write_report(arguments.output, card, report)
    print(f"\n{path.read_text()}\n{path}")
    return int(any(part["status"] == FAILED for part in report["parts"].values()))


def _machine(device: torch.device) -> dict[str, Any]:
    facts = {
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "processor cores": N_CORES,
        "bfloat16 on the processor": torch.cpu._is_avx512_bf16_supported(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "cards": torch.cuda.device_count(),
            "memory, GiB": properties.total_memory / 2**30,
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "MUJOCO_GL": os.environ.get("MUJOCO_GL", "not set"),
        }
    return facts


def _supervised(arguments: Arguments, name: str, seconds: float, work: Path) -> dict[str, Any]:
    """Run a part in a process with a time limit, and return its outcome."""
    if seconds < _RESERVE:
        return {"status": SKIPPED, "why": "no time left", "seconds": 0.0}
    work.mkdir()
    result = work / "result.json"
    flags = ["--parts", name, "--device", arguments.device, "--budget", str(seconds)]
    flags += ["--result", str(result), *(["--quick"] if arguments.quick else [])]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu_check", *flags], start_new_session=True
    )
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    outcome = {"seconds": time.perf_counter() - started, **read_json(result)}
    if code is None:
        outcome |= {"status": FAILED, "why": f"terminated after {seconds:.0f} s"}
    elif "status" not in outcome:
        outcome |= {"status": FAILED, "why": f"the process exited with {code}"}
    print(f"  {outcome['status']} {outcome.get('why', '')}", flush=True)
    return outcome


def _part(arguments: Arguments, device: torch.device) -> int:
    """Run the single part of this process, and write its outcome to the file."""
    assert arguments.result is not None
    (name,) = arguments.parts
    findings = Findings(arguments.result)
    setting = Setting(device, arguments.quick, arguments.budget, arguments.result.parent, findings)
    outcome: dict[str, Any] = {"status": PASSED}
    try:
        torch.set_num_threads(1 if arguments.quick else N_CORES)
        PARTS[name].run(setting)
    except SkippedError as error:
        outcome = {"status": SKIPPED, "why": str(error)}
    except Exception:
        outcome = {"status": FAILED, "traceback": traceback.format_exc()}
        print(outcome["traceback"], flush=True)
    if findings.failures:
        outcome["status"] = FAILED
    findings.write()
    write_json(arguments.result, {**read_json(arguments.result), **outcome})
    return int(outcome["status"] == FAILED)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
