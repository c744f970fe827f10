"""A network that swallows what is sent to W&B: one warning, and the run goes on and ends."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest
import wandb

from Common.runs import wandb_run
from Common.runs.files import read_metrics
from Common.runs.tracking import RunTracker
from Common.runs.wandb_run import WandbLabels
from tests.common.test_tracking import TWO_POINTS, log_two_points, wandb_history

KEY = "0123456789" * 4  # no account has it


class Server(http.server.ThreadingHTTPServer):
    """What W&B's client needs to begin a run. Once `swallows` is set, it never answers again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.swallows, self.gone = threading.Event(), threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.swallows.is_set():
            self.server.gone.wait()
            return
        answer = json.dumps({"data": self._data(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    @staticmethod
    def _data(body: bytes) -> dict:
        if b"mutation UpsertBucket" in body:
            project = {"id": "p", "name": "tests", "entity": {"id": "e", "name": "me"}}
            run = {"id": "r", "name": "abc", "displayName": "abc", "project": project}
            return {"upsertBucket": {"bucket": run, "inserted": True}}
        if b"query Viewer" in body:
            user = {"id": "v", "entity": "me", "username": "me", "flags": "{}"}
            return {"viewer": {**user, "teams": {"edges": []}}}
        return {}

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def use(monkeypatch, tmp_path) -> Iterator:
    """Points W&B at a port of this machine."""
    wandb.teardown()  # its process knows the environment of its start

    def at(port: int) -> None:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "1")  # s, of its log-in
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))

    yield at
    wandb.teardown()


def online(tmp_path) -> RunTracker:
    folder = tmp_path / "run"
    return RunTracker(
        folder, wandb_mode="online", labels=WandbLabels("run", project="tests"), config={}
    )


def test_swallowed_from_the_start_the_run_goes_on_offline(use, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as hole:  # connects, and is never read
        use(hole.getsockname()[1])
        with pytest.warns(RuntimeWarning, match="cannot be used online") as warned:
            tracker = online(tmp_path)
        log_two_points(tracker)
        assert len([w for w in warned if w.category is RuntimeWarning]) == 1
        assert wandb_history(tmp_path / "run") == TWO_POINTS
    assert read_metrics(tmp_path / "run") == TWO_POINTS


def test_swallowed_later_the_run_ends_all_the_same(use, tmp_path, monkeypatch):
    """W&B alone would wait for the network without an end."""
    monkeypatch.setattr(wandb_run, "_FINISH_TIMEOUT", 2.0)
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(server.server_port)
    tracker = online(tmp_path)
    assert tracker.url is not None
    server.swallows.set()
    with pytest.warns(RuntimeWarning, match="could not finish") as warned:
        log_two_points(tracker)
    assert len([w for w in warned if w.category is RuntimeWarning]) == 1
    assert read_metrics(tmp_path / "run") == TWO_POINTS
    server.gone.set()
    server.shutdown()
    server.server_close()
