"""The script of releases refuses what is not ready, and tells how a wheel fails."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import tyro

from Common.places import ROOT
from Evaluation.demo.__main__ import DemoFlags

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2030-01-31\n\n- It flies.\n"


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "install" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["release"] = module  # for its dataclass
    spec.loader.exec_module(module)
    return module


def git(folder: Path, *words: str) -> None:
    own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1.2.0"\n')
    (root / "CITATION.cff").write_text("title: A\nversion: 1.2.0\nlicense: MIT\n")
    (root / "CHANGELOG.md").write_text(CHANGELOG)
    git(root, "init", "-q")
    commit(root)
    return root


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")


def refusal_of(release: ModuleType, capsys: pytest.CaptureFixture[str], root: Path) -> str:
    assert release.main(["--check"], root) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_what_is_ready_is_told(
    release: ModuleType, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert release.main(["--check", "--python", here], repository) == 0
    others = ", ".join(name for name in release.VERSIONS if name != here)
    said = f"vision-distillation 1.2.0: ready; Python {here}; left out: {others}\n"
    assert capsys.readouterr().out == said
    assert release.found([here], needs_all=True)[here]


def test_this_repository_names_its_version(release: ModuleType) -> None:
    """The changelog of the checkout has a dated section of the version."""
    sections = release._sections((ROOT / "CHANGELOG.md").read_text())
    assert next(iter(sections)) == "[Unreleased]"
    versions = [title.partition("]")[0].removeprefix("[") for title in sections][1:]
    assert versions == sorted(versions, reverse=True)
    assert f'version = "{versions[0]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("CITATION.cff", "1.2.0", "1.1.0", "CITATION.cff does not have `version: 1.2.0`"),
        ("CHANGELOG.md", "[1.2.0]", "[1.1.0]", "needs a section `## [1.2.0] - YYYY-MM-DD`"),
        ("CHANGELOG.md", "- It flies.", "", "needs a section `## [1.2.0] - YYYY-MM-DD`"),
        ("CHANGELOG.md", "2030-01-31", "soon", "has no date"),
        ("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n- New.\n", "under [Unreleased]. Move"),
    ],
)
def test_a_repository_that_is_not_ready_is_refused(
    release: ModuleType, repository: Path, capsys: pytest.CaptureFixture[str],
    file: str, old: str, new: str, says: str,
) -> None:  # fmt: skip
    path = repository / file
    path.write_text(path.read_text().replace(old, new))
    commit(repository)
    assert says in refusal_of(release, capsys, repository)


def test_uncommitted_files_and_an_old_version_are_refused(
    release: ModuleType, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "new.txt").touch()
    assert "new.txt" in refusal_of(release, capsys, repository)
    (repository / "new.txt").unlink()
    git(repository, "tag", "v1.2.0")
    assert "v1.2.0 is tagged already. Raise `version`" in refusal_of(release, capsys, repository)


def test_a_python_that_is_missing_is_told(release: ModuleType) -> None:
    with pytest.raises(release.ReleaseError, match=r"Python 2\.9 is not on this machine"):
        release.found(["2.9"], needs_all=False)
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    with pytest.raises(release.ReleaseError, match=r"Python 2\.9 is not"):
        release.found([here, "2.9"], needs_all=True)


def test_a_build_that_fails_is_told(release: ModuleType, repository: Path) -> None:
    (repository / "setup.py").write_text("raise SystemExit('no build today')")
    commit(repository)
    with pytest.raises(release.ReleaseError, match="failed"):
        release.build(repository, "1.2.0")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"Results/Pusher/students/a/student.safetensors": False}, "lacks Results/Pusher/students"),
        ({"vision_distillation/py.typed": False}, "lacks vision_distillation/py.typed"),
        ({"tests/test_a.py": True}, "should not hold tests/test_a.py"),
    ],
)
def test_the_contents_of_the_wheel_are_checked(
    release: ModuleType, tmp_path: Path, changes: dict[str, bool], says: str
) -> None:
    bundles = (
        "Results/Pusher/students/a/student.json",
        "Results/Pusher/students/a/student.safetensors",
    )
    for name in bundles:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    licence = "vision_distillation-1.2.0.dist-info/licenses/LICENSE"
    held = dict.fromkeys((*bundles, "vision_distillation/py.typed", licence), True) | changes
    wheel = tmp_path / "vision_distillation-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name in (name for name, is_held in held.items() if is_held):
            file.writestr(name, "")
    with pytest.raises(release.ReleaseError, match=says) if says else contextlib.nullcontext():
        release.check_contents(wheel, tmp_path)


def test_the_demo_of_the_trial_has_flags_that_the_demo_knows(release: ModuleType) -> None:
    assert release._DEMO[0] == "demo"
    flags = tyro.cli(DemoFlags, args=release._DEMO[1:])
    assert flags.episodes == 2
    assert flags.output is None  # so that the film lies where the trial looks for it


def test_a_wheel_that_does_not_work_is_told(
    release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed in a new environment, as any wheel; but its command says another version."""
    wheel = tmp_path / "vision_distillation-1.2.0-py3-none-any.whl"
    info = "vision_distillation-1.2.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("stub.py", "def main():\n    print('vision-distillation 1.1.0')\n")
        about = "Metadata-Version: 2.1\nName: vision-distillation\nVersion: 1.2.0\n"
        file.writestr(f"{info}/METADATA", about)
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(
            f"{info}/entry_points.txt", "[console_scripts]\nvision-distillation=stub:main"
        )
        file.writestr(f"{info}/RECORD", "")
    pins = tmp_path / "requirements.txt"
    pins.write_text("gymnasium[mujoco]==1.4.0\n-e .\n")
    monkeypatch.setenv("PIP_INSTALL_FLAGS", "--no-index")
    with pytest.raises(
        release.ReleaseError, match=r"says 'vision-distillation 1\.1\.0', not 1\.2\.0"
    ):
        release.try_wheel(wheel, sys.executable, pins, "1.2.0")
    with pytest.raises(release.ReleaseError, match="left no Results/Pusher/demo"):
        release.try_wheel(wheel, sys.executable, pins, "1.1.0")
