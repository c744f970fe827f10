"""A sweep's pool on Ray: addresses that do not answer, and a node that dies midway."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from pathlib import Path

import pytest

from Common.commands.jobs import Ended, Job, run_jobs
from Common.commands.ray_jobs import RayWorkers, check_answers
from Common.errors import UserError
from Distillation.sweeps.command import main


class Record:
    def __init__(self) -> None:
        self.ends: list[tuple[str, str | None, bool, bool]] = []

    def started(self, job: Job) -> None: ...

    def ended(self, ended: Ended, *, again: bool, stopped: bool) -> None:
        self.ends.append((ended.job.name, ended.failure, ended.lost, again))


def job(folder: Path, name: str, code: str) -> Job:
    command = (sys.executable, "-S", "-c", code, str(folder))
    return Job(name, command, folder / f"{name}.log", folder, {"NAME": name})


# -- addresses ------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_an_address_where_nothing_is():
    with pytest.raises(UserError, match=r"does not answer: .*refused.*`ray start --head`"):
        check_answers(f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize("address", ["head", "auto", "ray://head:10001", ":6379", "head:x"])
def test_what_is_no_address(address):
    with pytest.raises(UserError, match="is not HOST:PORT"):
        check_answers(address)


def test_an_address_where_a_server_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_answers(f"127.0.0.1:{server.getsockname()[1]}")


def test_without_ray_the_message_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[cluster\]'"):
        RayWorkers.begin(None, cpus=1, gpus=0)


def test_the_command_refuses_it_with_exit_code_2(tmp_path, teacher, capsys):
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    path = tmp_path / "g.yaml"
    path.write_text(f"{{tasks: Pusher, methods: PPO, teachers: {teacher}}}")
    where = ["--output", str(tmp_path / "out"), "--ray_address", f"127.0.0.1:{free_port()}"]
    with pytest.raises(SystemExit) as exit_:
        main([str(path), *where])
    assert exit_.value.code == 2
    assert "does not answer" in capsys.readouterr().err


# -- clusters -------------------------------------------------------------------------------------

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}

# Tells its node and process, then waits for `go`; what finds `go` there ends at once.
WAIT_FOR_GO = """
import os, sys, time
here, name = sys.argv[1], os.environ["NAME"]
open(f"{here}/{name}.up", "a").write(f"{os.getpid()} {os.environ['RAY_RAYLET_PID']}\\n")
while not os.path.exists(f"{here}/go"):
    time.sleep(0.05)
"""


@pytest.mark.slow
def test_the_runs_of_a_node_that_dies_go_on_on_another(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    over = threading.Event()
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        lost = cluster.add_node(**NODE)
        workers = RayWorkers.begin(cluster.address, cpus=1, gpus=0)
        assert workers.room() == 2
        jobs = [job(tmp_path, name, WAIT_FOR_GO) for name in ("a", "b", "c")]

        processes: list[int] = []
        dead: list[bool] = []

        def kill_one_node() -> None:
            marks = [tmp_path / "a.up", tmp_path / "b.up"]
            while not all(mark.exists() and mark.read_text() for mark in marks):
                if over.wait(0.1):
                    return
            processes.extend(os.pidfd_open(int(mark.read_text().split()[0])) for mark in marks)
            cluster.remove_node(lost, allow_graceful=False)

        class Going(Record):
            """Lets the jobs end once one was lost."""

            def ended(self, ended: Ended, *, again: bool, stopped: bool) -> None:
                super().ended(ended, again=again, stopped=stopped)
                if ended.lost:
                    process = processes["ab".index(ended.job.name)]
                    dead.append(bool(select.select([process], [], [], 60)[0]))
                (tmp_path / "go").touch()

        killer = threading.Thread(target=kill_one_node, daemon=True)
        killer.start()
        record = Going()
        run_jobs(jobs, workers, record, retries=0)
        killer.join()
    finally:
        over.set()
        cluster.shutdown()
    for process in processes:
        os.close(process)
    name, _, lost, again = record.ends[0]
    assert (name in ("a", "b"), lost, again) == (True, True, True)
    assert sorted(end[:3] for end in record.ends[1:]) == [(n, None, False) for n in "abc"]
    first, second = (line.split() for line in (tmp_path / f"{name}.up").read_text().splitlines())
    assert first[1] != second[1], "both attempts were on the same node"
    assert dead == [True], "a job outlived its node"


@pytest.mark.slow
def test_ray_on_this_machine(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    import ray  # pyright: ignore[reportMissingImports]

    with pytest.raises(UserError, match="No node of the cluster has 1 CPU and 64 GPU"):
        RayWorkers.begin(None, cpus=1, gpus=64)
    workers = RayWorkers.begin(None, cpus=0.5, gpus=0, most=3)
    assert workers.room() == 3
    # Fails once, then ends; and one that saves when it is asked to end.
    once = "import os, sys; os.path.exists('seen') or sys.exit(open('seen', 'w') and 3)"
    saves = """
import signal, sys, threading
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
open("up", "w")
while not end.wait(0.05): pass
print("saved", flush=True)
sys.exit(143)
"""
    record = Record()
    jobs = [job(tmp_path, "once", once), job(tmp_path, "saves", saves)]
    stops = lambda: (tmp_path / "up").exists() and any(e[1] is None for e in record.ends)  # noqa: E731
    run_jobs(jobs, workers, record, retries=1, stops=stops)
    assert record.ends == [
        ("once", "exit code 3", False, True),
        ("once", None, False, False),
        ("saves", "exit code 143", False, False),
    ]
    assert jobs[1].last_line() == "saved"
    assert not ray.is_initialized()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
