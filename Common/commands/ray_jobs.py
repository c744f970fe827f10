"""The jobs of `Common.commands.jobs` on a Ray cluster, with what each reserves of it.

The nodes share the folders that jobs write, and have this toolkit at the same path.
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
_ANSWER_SECONDS = 5.0  # of a cluster that lives; Ray itself waits for two minutes
_POLL_SECONDS = 0.5  # between two looks at which jobs have ended
_STORE_BYTES = 100_000_000  # of a cluster that is started here: jobs return a number
# What every HTTP/2 client says first, with an empty frame of settings; a server answers in kind.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_SETTINGS_FRAME = 4


class RayWorkers:
    """Jobs as Ray's tasks. They end with this process, however that ends.

    Args:
        cpus: that each job reserves; a share, or a whole number.
        gpus: likewise. Ray tells jobs by CUDA_VISIBLE_DEVICES which ones they have.
        most: jobs at the same time; None: as many as fit.
    """

    def __init__(self, ray: ModuleType, cpus: float, gpus: float, most: int | None) -> None:
        self._ray, self._cpus, self._gpus, self._most = ray, cpus, gpus, most
        self._jobs: dict[Any, Job] = {}  # by the reference to what the task returns
        # `run_jobs` starts them again itself, so that it knows of it.
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_attempt)
        if not self.room():
            ray.shutdown()
            raise UserError(
                f"No node of the cluster has {cpus:g} CPU and {gpus:g} GPU, which the grid asks "
                "for each run. Lower `resources` in the grid, or add a node."
            )

    @classmethod
    def begin(
        cls, address: str | None, *, cpus: float, gpus: float, most: int | None = None
    ) -> Self:
        """Joins the cluster at an address, or starts one on this machine if it is None.

        Raises:
            UserError: Ray is not installed, no cluster answers, or no node of it is large enough.
        """
        # Read by the processes that Ray starts too.
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
        """How many jobs the living nodes have room for."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(self._room_of(node) for node in nodes)
        return room if self._most is None else min(room, self._most)

    def _room_of(self, node: dict[str, float]) -> int:
        wanted = {"CPU": self._cpus, "GPU": self._gpus}
        fits = [int(node.get(what, 0) / each) for what, each in wanted.items() if each]
        return min(fits, default=sys.maxsize)

    def start(self, job: Job) -> None:
        """Starts an attempt, on any node."""
        self._jobs[self._task.remote(job)] = job

    def wait(self) -> list[Ended]:
        """What has ended in a moment."""
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
        """Asks all to end."""
        for reference in self._jobs:
            self._ray.cancel(reference, recursive=False)

    def close(self) -> None:
        """Leaves the cluster, which ends whatever still runs; ends it, if it was started here."""
        self._ray.shutdown()


def check_answers(address: str) -> None:
    """Asks whether a server of Ray's kind (gRPC) is at HOST:PORT, in seconds.

    Raises:
        UserError: no such server answers, or the address is no HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UserError(
            f"`ray_address` {address} is no HOST:PORT. `ray start --head` prints it: port 6379, if "
            "none was given."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS) as peer:
            if os.environ.get("RAY_USE_TLS", "0") == "1":
                return  # it says nothing before its certificate is checked
            peer.settimeout(_ANSWER_SECONDS)
            peer.sendall(_HELLO)
            answer = peer.recv(9)
    except (OSError, OverflowError) as error:
        reason = str(error)
    else:
        if len(answer) >= 4 and answer[3] == _SETTINGS_FRAME:
            return
        reason = "what is there is no Ray cluster"
    raise UserError(
        f"`ray_address` {address} does not answer: {reason}. Start a cluster by `ray start --head` "
        "on its first node, and give the address that it prints."
    )


def _attempt(job: Job) -> str | None:
    """On a node: runs the job to its end; returns what went wrong."""
    process = launch(job)
    try:
        return failure_of(_wait(process))
    except KeyboardInterrupt:  # how Ray cancels a task
        process.terminate()
        return failure_of(_wait(process))
    finally:
        kill(process)


def _wait(process: subprocess.Popen[bytes]) -> int:
    # In short turns: Ray's interrupt is seen only between two instructions of Python.
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_SECONDS)
