"""A run on W&B or in W&B's offline files. Its failure never stops training."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import wandb
from wandb.errors import UsageError

from Common.files.durable import remove

WandbMode = Literal["offline", "online", "disabled"]

PROJECT = "vision-distillation"  # of students and teachers
COUNTERS = ("time/env_steps", "time/gradient_steps")  # the x axes, in every row

_INIT_TIMEOUT = 30.0  # s; W&B's default of 90 s is long for a machine without a network
_LONGEST_GROUP, _LONGEST_TAG = 128, 64  # characters
_FINISH_TIMEOUT = 60.0  # s to send the remaining rows; W&B's default is to wait forever


@dataclass(frozen=True)
class WandbLabels:
    """How W&B lists a run."""

    name: str
    kind: str = "student"  # or "teacher"; W&B's job type
    group: str = ""  # the same for runs that differ by their seeds only
    tags: tuple[str, ...] = ()
    project: str = PROJECT
    x_axis: str = COUNTERS[0]  # of charts at first; the others can be chosen there

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `wandb.init`."""
        return {
            "project": self.project,
            "name": self.name,
            "job_type": self.kind,
            "group": self.group[:_LONGEST_GROUP] or None,
            "tags": [tag[:_LONGEST_TAG] for tag in dict.fromkeys(self.tags) if tag] or None,
        }


def or_warn(what: str, call: Callable[[], object]) -> bool:
    """Call W&B; warn and return False if the call fails.

    W&B's service is a separate process, and its client raises a dozen unrelated exceptions when
    that process is gone. No such failure may end a training run.
    """
    try:
        call()
    except Exception as error:
        warnings.warn(
            f"W&B could not {what} ({type(error).__name__}: {error}); "
            f"the run continues, and metrics.jsonl has every metric.",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True


def start_wandb(
    run_dir: Path,
    mode: WandbMode,
    labels: WandbLabels,
    config: dict[str, Any],
    run_id: str | None = None,
) -> wandb.Run | None:
    """Start W&B. Return None if it is disabled, or, with a warning, if it cannot be used.

    Args:
        run_id: id of the run to resume. Online, W&B continues to count from the rows that it has.
            An offline run begins a new file of the same id at row 0.
    """
    if mode == "disabled":
        return None

    def start(mode: Literal["offline", "online"]) -> wandb.Run:
        run = wandb.init(
            **labels.arguments(),
            dir=run_dir,
            mode=mode,
            config=config,
            id=run_id,
            resume="allow" if run_id is not None and mode == "online" else None,
            settings=_wandb_settings(),
        )
        # W&B's built-in step must not decrease; a custom step metric may. A defined one is offered
        # as the x axis of all charts.
        for counter in (*COUNTERS, "step"):
            run.define_metric(counter)
        # Rows have it already; W&B would add 0 to those from before it was known.
        run.define_metric("*", step_metric=labels.x_axis, step_sync=False)
        return run

    if mode == "online":
        try:
            # `init` alone would prompt for a key at a terminal.
            if not wandb.login(prompt=False):
                raise UsageError("no API key is configured: `wandb login`")
            return start("online")
        except (wandb.Error, OSError) as error:
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"W&B cannot be used online ({reason}). The run continues offline; "
                f"`wandb sync {run_dir / 'wandb'}/offline-run-*` uploads it later.",
                RuntimeWarning,
                stacklevel=3,
            )
    started: list[wandb.Run] = []
    or_warn("be started", lambda: started.append(start("offline")))
    return started[0] if started else None


def _wandb_settings() -> wandb.Settings:
    return wandb.Settings(
        save_code=False,
        disable_code=True,
        disable_git=True,
        console="off",
        silent=True,
        init_timeout=_INIT_TIMEOUT,
        finish_timeout=_FINISH_TIMEOUT,
        finish_timeout_raises=True,
        x_disable_meta=True,  # the command line, user, host and directory
        x_disable_stats=False,  # the load of processor, memory, disk and GPU
        x_disable_machine_info=True,
        x_save_requirements=False,  # may hold URLs with credentials; config.json has the versions
    )


def remove_superseded(run_dir: Path, run: wandb.Run) -> None:
    """Remove older offline files of a run. The current file holds all their rows.

    Otherwise `wandb sync` would send each row twice.
    """
    if not run.offline:
        return
    present = Path(run.dir).parent.resolve()
    name = re.compile(rf"offline-run-\d+_\d+-{re.escape(run.id)}(-\d+)?")
    for folder in (run_dir / "wandb").glob("offline-run-*"):
        if name.fullmatch(folder.name) and folder.resolve() != present:
            remove(folder)
