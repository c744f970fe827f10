"""The Dockerfile: what it copies is there, and its steps install what the pins say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from Common.places import ROOT

SCRIPT = ROOT / "install" / "image.sh"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their words, lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A copy of the script as in the image, and a Python that notes what it is asked."""
    (tmp_path / "image.sh").write_bytes(SCRIPT.read_bytes())
    (tmp_path / "requirements.txt").write_bytes((ROOT / "requirements.txt").read_bytes())
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nfor word; do last=$word; done\n'
        f'[ -f "$last" ] && cp "$last" {tmp_path}/pins || true\n'
    )
    python.chmod(0o755)
    return tmp_path


def run(image: Path, *words: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHON": str(image / "python"), "PATH": f"{image}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", image / "image.sh", *words],
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_it_copies_is_there_and_not_ignored() -> None:
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    assert all(list(ROOT.glob(pattern)) for pattern in kept)
    copied = [words for name, words in instructions() if name == "COPY"]
    files = [word for words in copied for word in words.split()[:-1] if word != "."]
    assert files
    assert all((ROOT / file).is_file() and file in kept for file in files)


def test_the_context_has_every_package() -> None:
    found = re.search(r"include = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert found is not None
    packages = {name.strip("*") for name in re.findall(r'"(\w+\*)"', found[1])}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert len(packages) == 9
    assert {f"!{name}" for name in packages} <= set(ignored)


def test_it_has_the_python_and_the_libraries_of_the_other_ways_to_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tested = re.search(
        r"tested together on Python (\S+)\.", (ROOT / "requirements.txt").read_text()
    )
    assert tested is not None
    assert ("ARG", f"PYTHON={tested[1]}") in instructions()
    assert f"Programming Language :: Python :: {tested[1]}" in project["classifiers"]
    assert ("FROM", "python:${PYTHON}-slim-bookworm") in instructions()
    packages = re.search(r'^packages="(.*)"$', (ROOT / "install/gl.sh").read_text(), re.MULTILINE)
    assert packages is not None
    (fetched,) = [words for name, words in instructions() if name == "RUN" and "apt-get" in words]
    assert f"--no-install-recommends {packages[1]} " in fetched


def context(folder: Path) -> Path:
    """What the daemon would be sent: .dockerignore leaves out all but what it names."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    for pattern in (line[1:] for line in lines if line[0] == "!"):
        for path in ROOT.glob(pattern):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(path, target)
    return folder


@pytest.mark.slow
def test_the_context_builds_the_wheel_of_the_checkout(tmp_path: Path) -> None:
    """With the setuptools that is here, since tests do without a network."""
    pytest.importorskip("setuptools", minversion="77")
    made = []
    for name, source in (("context", context(tmp_path / "context")), ("whole", checkout(tmp_path))):
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "-w", tmp_path / name, source], check=True, capture_output=True)
        (wheel,) = (tmp_path / name).glob("*.whl")
        with zipfile.ZipFile(wheel) as file:
            made.append({entry: file.read(entry) for entry in file.namelist()})
    assert made[0] == made[1]


def checkout(folder: Path) -> Path:
    """A copy of the files that git knows."""
    known = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(known, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "all" / name)
    return folder / "all"


def test_its_steps_call_the_script_and_the_console_command() -> None:
    runs = [words for name, words in instructions() if name == "RUN"]
    calls = [shlex.split(words)[1:] for words in runs if words.startswith("sh ")]
    assert calls == [
        ["/source/image.sh", "libraries", "$DEVICE"],
        ["/source/install/image.sh", "toolkit"],
    ]
    assert ("ENTRYPOINT", '["vision-distillation"]') in instructions()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_libraries_are_those_of_the_pins(image: Path, device: str) -> None:
    done = run(image, "libraries", device)
    assert done.returncode == 0, done.stderr
    asked = (image / "asked").read_text()
    assert ("download.pytorch.org/whl/cpu" in asked) == (device == "cpu")
    pins = (ROOT / "requirements.txt").read_text().splitlines()
    assert (image / "pins").read_text().splitlines() == [pin for pin in pins if pin != "-e ."]


def test_another_device_is_refused(image: Path) -> None:
    for words in (["libraries", "tpu"], ["libraries"], []):
        done = run(image, *words)
        assert done.returncode == 2
        assert "give `libraries cpu`, `libraries cuda` or `toolkit`" in done.stderr
    assert not (image / "asked").exists()
