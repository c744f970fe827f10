"""Run the jobs of `Common.commands.jobs` on a Ray cluster.

The nodes must share the folders that jobs write, and have this toolkit at the same path.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from types import ModuleType
from typing import Any, Self

from Common.commands.jobs import Ended, Job, failure_of, kill, launch
from Common.errors import UserError

INSTALL = "pip install -e '.[cluster]'"
_ANSWER_SECONDS = 5.0  # to connect to the cluster
_POLL_SECONDS = 0.5  # between two checks for ended jobs
_STORE_BYTES = 100_000_000  # object store of a cluster started here: jobs return only a number


class RayWorkers:
    """Jobs as Ray tasks. They end with this process, however it ends.

    Args:
        cpus: CPUs reserved per job; a fraction or a whole number.
        gpus: GPUs reserved per job. Ray assigns them by CUDA_VISIBLE_DEVICES.
        most: maximum number of jobs at the same time; None for as many as fit.
    """

    def __init__(self, ray: ModuleType, cpus: float, gpus: float, most: int | None) -> None:
        self._ray, self._cpus, self._gpus, self._most = ray, cpus, gpus, most
        self._jobs: dict[Any, Job] = {}  # by the reference to the task's result
        # No retries by Ray: `run_jobs` retries jobs itself and counts the attempts.
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_attempt)
        if not self.room():
            ray.shutdown()
            raise UserError(
                f"No node of the cluster has {cpus:g} CPU and {gpus:g} GPU, which the grid "
                "reserves per run. Lower `resources` in the grid, or add a node."
            )

    @classmethod
    def begin(
        cls, address: str | None, *, cpus: float, gpus: float, most: int | None = None
    ) -> Self:
        """Join the cluster at an address, or start one on this machine if it is None.

        Raises:
            UserError: Ray is not installed, no cluster answers, or no node is large enough.
        """
        # In the environment, because the processes that Ray starts read them too.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_gcs_server_request_timeout_seconds", "10")
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            raise UserError(f"A grid on Ray needs it installed: {INSTALL}") from error
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            ray.init("local", include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
        else:
            check_answers(address)
            try:
                ray.init(address, **quiet)
            except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
                raise UserError(
                    f"`ray_address` {address}: {error} Start the grid on a node of the cluster, "
                    "with the Python and the Ray that it has."
                ) from error
        return cls(ray, cpus, gpus, most)

    def room(self) -> int:
        """Return how many jobs fit on the nodes that are alive."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(self._room_of(node) for node in nodes)
        return room if self._most is None else min(room, self._most)

    def _room_of(self, node: dict[str, float]) -> int:
        wanted = {"CPU": self._cpus, "GPU": self._gpus}
        fits = [int(node.get(what, 0) / each) for what, each in wanted.items() if each]
        return min(fits, default=sys.maxsize)

    def start(self, job: Job) -> None:
        """Start an attempt on any node."""
        self._jobs[self._task.remote(job)] = job

    def wait(self) -> list[Ended]:
        """Return the attempts that have ended, after a moment at most."""
        if not self._jobs:  # no node has room
            time.sleep(_POLL_SECONDS)
            return []
        ready, _ = self._ray.wait(list(self._jobs), timeout=_POLL_SECONDS)
        return [self._ended(self._jobs.pop(reference), reference) for reference in ready]

    def _ended(self, job: Job, reference: Any) -> Ended:
        try:
            return Ended(job, self._ray.get(reference))
        except self._ray.exceptions.TaskCancelledError:
            return Ended(job, "stopped")
        except self._ray.exceptions.RayTaskError as error:
            return Ended(job, f"cannot be started: {error.cause}")
        except self._ray.exceptions.RayError as error:  # the worker's process, or its node, died
            reason = str(error).partition("\n")[0]
            return Ended(job, f"lost with its node or worker: {reason}", lost=True)

    def stop(self) -> None:
        """Cancel all jobs."""
        for reference in self._jobs:
            self._ray.cancel(reference, recursive=False)

    def close(self) -> None:
        """Leave the cluster, which kills running jobs. Shut it down if it was started here."""
        self._ray.shutdown()


def check_answers(address: str) -> None:
    """Check within seconds that a server listens at HOST:PORT; Ray itself waits for minutes.

    Raises:
        UserError: there is none, or the address is not of the form HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UserError(
            f"`ray_address` {address} is not HOST:PORT. `ray start --head` prints the address; "
            "the default port is 6379."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"`ray_address` {address} does not answer: {error}. Start a cluster with "
            "`ray start --head` on its first node, and pass the address that it prints."
        ) from error


def _attempt(job: Job) -> str | None:
    """Run the job on a node to its end; return the failure, or None for success."""
    process = launch(job)
    try:
        return failure_of(_wait(process))
    except KeyboardInterrupt:  # how Ray cancels a task
        process.terminate()
        return failure_of(_wait(process))
    finally:
        kill(process)


def _wait(process: subprocess.Popen[bytes]) -> int:
    # Wait in short steps: Ray's interrupt arrives only between two Python instructions.
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_SECONDS)
