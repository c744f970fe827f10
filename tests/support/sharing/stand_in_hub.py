"""A stand-in for the Hugging Face Hub on loopback: as much of its API as push and pull call.

It keeps repositories in memory. Small text is sent with a commit, other files by git LFS before it,
as at the Hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_ThisIsTheTokenOfTheStandIn0000000"
_BY_LFS = (".safetensors", ".mp4", ".png", ".pkl")


@dataclass
class Repo:
    """A repository: its files at each commit, the newest last."""

    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"* text"}])
    private: bool = False

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    def sha(self, index: int = -1) -> str:
        place = index % len(self.commits)
        return hashlib.sha1(f"{place} {sorted(self.commits[place])}".encode()).hexdigest()

    def at(self, revision: str | None) -> int | None:
        """Return the index of a commit; None if there is none."""
        if revision in (None, "main"):
            return len(self.commits) - 1
        found = [i for i in range(len(self.commits)) if self.sha(i) == revision]
        return found[0] if found else None


@dataclass
class StandIn:
    """What the stand-in holds and has seen."""

    url: str = ""
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  # method and path of each request
    cards: list[str] = field(default_factory=list)  # that were validated

    def repo(self, name: str, kind: str = "model") -> Repo:
        return self.repos[(kind, name)]

    def add(self, name: str, files: dict[str, bytes], kind: str = "model") -> Repo:
        """Put a repository there, as others might have made it."""
        repo = Repo([{**files}])
        self.repos[(kind, name)] = repo
        return repo


@contextmanager
def stand_in_hub() -> Iterator[StandIn]:
    """Serve a stand-in on a free port of loopback."""
    state = StandIn()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_INFO = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/revision/([^/]+))?")
_PREUPLOAD = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)/preupload/[^/]+")
_COMMIT = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)/commit/[^/]+")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LFS = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


class _Handler(BaseHTTPRequestHandler):
    state: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _answer(self, value: Any, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fail(self, status: int, code: str, message: str) -> None:
        self._answer({"error": message}, status, X_Error_Code=code, X_Error_Message=message)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    @property
    def _path(self) -> str:
        return unquote(urlsplit(self.path).path)

    @property
    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _find(self, kind: str, name: str) -> Repo | None:
        """Return a repository that the request may see; else answer that there is none."""
        repo = self.state.repos.get((kind, name))
        if repo is None or (repo.private and not self._has_token):
            self._fail(401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def do_GET(self) -> None:
        self.state.asked.append((self.command, self._path))
        if found := _INFO.fullmatch(self._path):
            self._info(*found.groups())
        elif found := _RESOLVE.fullmatch(self._path):
            self._resolve(*found.groups())
        else:
            self._fail(404, "", f"nothing at {self._path}")

    do_HEAD = do_GET  # noqa: N815

    def _info(self, kind: str, name: str, revision: str | None) -> None:
        repo = self._find(kind, name)
        if repo is None:
            return
        index = repo.at(revision)
        if index is None:
            self._fail(404, "RevisionNotFound", "Invalid rev id")
            return
        with_sizes = "blobs" in parse_qs(urlsplit(self.path).query)
        siblings = [
            {"rfilename": path, **({"size": len(content)} if with_sizes else {})}
            for path, content in repo.commits[index].items()
        ]
        self._answer(
            {"_id": "0", "id": name, "private": repo.private, "tags": [], "downloads": 0}
            | {"sha": repo.sha(index), "siblings": siblings}
        )

    def _resolve(self, prefix: str | None, name: str, revision: str, path: str) -> None:
        repo = self._find("dataset" if prefix else "model", name)
        if repo is None:
            return
        index = repo.at(revision)
        if index is None or path not in repo.commits[index]:
            self._fail(404, "EntryNotFound", "Entry not found")
            return
        content = repo.commits[index][path]
        etag = hashlib.sha256(content).hexdigest()
        self._answer(content, ETag=f'"{etag}"', X_Repo_Commit=repo.sha(index))

    def do_PUT(self) -> None:
        self.state.asked.append((self.command, self._path))
        content = self._body()
        oid = self._path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != oid:
            self._fail(400, "", "wrong hash")
            return
        self.state.blobs[oid] = content
        self._answer({})

    def do_POST(self) -> None:
        self.state.asked.append((self.command, self._path))
        body = self._body()
        if not self._has_token:
            self._fail(401, "", "Invalid username or password.")
        elif self._path == "/api/repos/create":
            self._create(json.loads(body))
        elif self._path == "/api/validate-yaml":
            self.state.cards.append(json.loads(body)["content"])
            self._answer({"errors": [], "warnings": []})
        elif _PREUPLOAD.fullmatch(self._path):
            files = json.loads(body)["files"]
            self._answer(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False}
                        for f in files
                    ]
                }
            )
        elif _LFS.fullmatch(self._path):
            self._lfs(json.loads(body)["objects"])
        elif found := _COMMIT.fullmatch(self._path):
            self._commit(found[1], found[2], body)
        else:
            self._fail(404, "", f"nothing at {self._path}")

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        key = (asked.get("type", "model"), name)
        prefix = "datasets/" if key[0] == "dataset" else ""
        url = f"{self.state.url}/{prefix}{name}"
        if key in self.state.repos:
            self._answer({"error": "You already created this repo", "url": url}, 409)
            return
        self.state.repos[key] = Repo(private=asked.get("visibility") == "private")
        self._answer({"url": url, "name": name, "id": "0"})

    def _lfs(self, objects: list[dict[str, Any]]) -> None:
        answers = [
            {**given, "actions": {"upload": {"href": f"{self.state.url}/upload/{given['oid']}"}}}
            for given in objects
        ]
        self._answer({"transfer": "basic", "objects": answers})

    def _commit(self, kind: str, name: str, body: bytes) -> None:
        repo = self._find(kind, name)
        if repo is None:
            return
        files = dict(repo.files)
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.state.blobs[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        repo.commits.append(files)
        url = f"{self.state.url}/{name}/commit/{repo.sha()}"
        self._answer({"success": True, "commitOid": repo.sha(), "commitUrl": url})


def _mode(path: str) -> str:
    return "lfs" if path.endswith(_BY_LFS) else "regular"
