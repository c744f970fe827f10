"""Build a release, and try its wheel as strangers would: `python install/release.py`.

For each Python of `VERSIONS` that is on this machine: a new environment outside the repository, the
wheel and its dependencies from the package index, then the console command and the demo in an empty
folder with an empty home. The files of the release are left in `dist/`.

Torch of the package index brings gigabytes of CUDA; as for `make`, PIP_INSTALL_FLAGS are flags for
`pip install`. Versions are those of requirements.txt. The standard library suffices.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
NAME = "vision-distillation"
_SHIPPED = ("teachers/*/teacher", "students/*/student")  # bundles, below Results/<Task>
_TYPED = "vision_distillation/py.typed"  # tells type checkers that the package has types
_DEMO = ("demo", "--episodes", "2")
_FILM = "Results/Pusher/demo/demo.mp4"


class ReleaseError(Exception):
    """The repository is not ready for a release, or the release does not work."""


@dataclass(frozen=True)
class Tried:
    """What came out of a Python: its version, and the last words of the demo."""

    python: str
    said: str


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command: 0 if the release works, 1 with one message on stderr if not."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="install/release.py", description=about)
    parser.add_argument("--check", action="store_true", help="only check that all is ready")
    parser.add_argument("--all", action="store_true", help="refuse to leave a Python out")
    parser.add_argument("--python", nargs="+", default=VERSIONS, metavar="X.Y", help="which to try")
    flags = parser.parse_args(arguments)
    try:
        version = ready(root)
        pythons = found(flags.python, needs_all=flags.all)
        left_out = ", ".join(name for name in VERSIONS if name not in pythons) or "none"
        print(
            f"{NAME} {version}: ready; Python {', '.join(pythons)}; left out: {left_out}",
            flush=True,
        )
        if flags.check:
            return 0
        wheel = build(root, version)
        for name, program in pythons.items():
            print(f"Python {name} ...", flush=True)
            tried = try_wheel(wheel, program, root / "requirements.txt", version)
            print(f"Python {tried.python}: works\n{tried.said}", flush=True)
        print(f"{wheel}\nNot tried: {left_out}. To publish it:")
        print(f"  git tag v{version} && git push origin v{version}")
    except ReleaseError as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


def ready(root: Path) -> str:
    """Return the version of a repository that is ready for a release.

    Raises:
        ReleaseError: files are not committed; the version is tagged already, or is not that of
            CITATION.cff; or CHANGELOG.md has no dated section of it, or lines of no version.
    """
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    if changed := _git(root, "status", "--porcelain"):
        raise ReleaseError(f"These files are not committed:\n{changed}\nCommit or remove them.")
    if _git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"v{version} is tagged already. Raise `version` in pyproject.toml.")
    if f"\nversion: {version}\n" not in (root / "CITATION.cff").read_text():
        raise ReleaseError(
            f"CITATION.cff does not have `version: {version}`, as pyproject.toml has."
        )
    sections = _sections((root / "CHANGELOG.md").read_text())
    dated = [title for title in sections if title.startswith(f"[{version}] - ")]
    if not dated or not sections[dated[0]].strip():
        raise ReleaseError(
            f"CHANGELOG.md needs a section `## [{version}] - YYYY-MM-DD` with lines."
        )
    if not re.fullmatch(r"\[.*\] - \d{4}-\d\d-\d\d", dated[0]):
        raise ReleaseError(f"CHANGELOG.md: `## {dated[0]}` has no date, YYYY-MM-DD.")
    if sections.get("[Unreleased]", "").strip():
        raise ReleaseError(f"CHANGELOG.md has lines under [Unreleased]. Move them to [{version}].")
    return version


def _sections(changelog: str) -> dict[str, str]:
    """Return the text of each `## ` section by its title."""
    parts = re.split(r"^## (.*)$", changelog, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def found(wanted: Sequence[str], *, needs_all: bool) -> dict[str, str]:
    """Return the programs of the wanted Pythons that are on this machine.

    Those of pyenv are found as well, whether they are activated or not.

    Raises:
        ReleaseError: there is none; or one is missing and all are needed.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    programs = {}
    for name in wanted:
        paths = [*sorted(pyenv.glob(f"{name}.*/bin/python")), shutil.which(f"python{name}")]
        for program in filter(None, paths):
            if _runs(program, name):
                programs[name] = str(program)
                break
    missing = [name for name in wanted if name not in programs]
    if missing and (needs_all or not programs):
        raise ReleaseError(f"Python {', '.join(missing)} is not on this machine.")
    return programs


def _runs(program: str | Path, name: str) -> bool:
    code = "import sys, venv; print('.'.join(map(str, sys.version_info[:2])))"
    said = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    return said.stdout.strip() == name


def build(root: Path, version: str) -> Path:
    """Build the wheel and the source archive of HEAD in `dist/`, and return the wheel.

    Raises:
        ReleaseError: the build fails, or the wheel does not hold what it should.
    """
    dist = root / "dist"
    dist.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"vision_distillation-{version}"  # setuptools builds beside it
        archive = dist / f"vision_distillation-{version}.tar.gz"
        _git(root, "archive", f"--prefix={source.name}/", f"--output={archive}", "HEAD")
        shutil.unpack_archive(archive, folder, filter="data")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
        _run([*pip, "--wheel-dir", dist, source], Path(folder), os.environ)
        wheel = dist / f"vision_distillation-{version}-py3-none-any.whl"
        check_contents(wheel, source)
    return wheel


def check_contents(wheel: Path, source: Path) -> None:
    """Check that a wheel has the shipped bundles, the marker of types and the licence, no tests.

    Raises:
        ReleaseError: it has not, or there is no bundle in `source`.
    """
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [f"Results/*/{bundle}.{end}" for bundle in _SHIPPED for end in ("json", "safetensors")]
    shipped = [path for file in files for path in source.glob(file)]
    licence = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/licenses/LICENSE"
    needed = {*(path.relative_to(source).as_posix() for path in shipped), _TYPED, licence}
    if missing := sorted(needed - names):
        raise ReleaseError(f"{wheel} lacks {', '.join(missing)}.")
    if not shipped:
        raise ReleaseError(f"{source} has no bundle in Results.")
    if strangers := sorted(name for name in names if name.startswith(("tests/", "benchmarks/"))):
        raise ReleaseError(f"{wheel} should not hold {', '.join(strangers)}.")


def try_wheel(wheel: Path, program: str, pins: Path, version: str) -> Tried:
    """Install the wheel in a new environment, and run the demo as a stranger would.

    Raises:
        ReleaseError: a command fails, or leaves no film.
    """
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        place = Path(folder)
        home, work = place / "home", place / "work"
        home.mkdir()
        work.mkdir()
        constraints = place / "constraints.txt"
        kept = [line for line in pins.read_text().splitlines() if not line.startswith("-e")]
        # Constraints take no extras.
        constraints.write_text("\n".join(re.sub(r"\[.*\]", "", line) for line in kept))
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        _run([program, "-m", "venv", place / "venv"], place, env)
        binaries = place / "venv" / "bin"
        pip = [binaries / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        pip += ["--no-compile"]  # takes longer than the rest
        given = os.environ.get("PIP_INSTALL_FLAGS", "").split()
        _run([*pip, *given, "-c", constraints, wheel], place, env)
        env |= {"HOME": str(home), "PATH": f"{binaries}{os.pathsep}{env['PATH']}"}
        told = _run([NAME, "--version"], work, env)
        if told.split() != [NAME, version]:
            raise ReleaseError(f"`{NAME} --version` says {told.strip()!r}, not {version}.")
        said = _run([NAME, *_DEMO], work, env)
        if not (work / _FILM).is_file():
            raise ReleaseError(f"`{NAME} {' '.join(_DEMO)}` left no {_FILM}:\n{said}")
        asks = "import platform; print(platform.python_version())"
        python = _run([binaries / "python", "-c", asks], work, env)
        return Tried(python.strip(), said.strip())


def _git(root: Path, *arguments: str) -> str:
    return _run(["git", "-c", f"safe.directory={root}", "-C", root, *arguments], root, os.environ)


def _run(words: Sequence[str | Path], folder: Path, env: Mapping[str, str]) -> str:
    """Return what a command prints. Raises ReleaseError with all that it said if it fails."""
    texts = [str(word) for word in words]
    done = subprocess.run(
        texts, cwd=folder, env=env, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise ReleaseError(f"{' '.join(texts)}\nfailed:\n{done.stdout}{done.stderr}")
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
