"""The cores on which a process may run, and those that the quota of its container pays for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from Common import cores, openmp
from Common.cores import available_cores, default_threads, has_quota

V1_GROUPS = "9:name=systemd:/job\n2:cpu,cpuacct:/docker/abc\n1:memory:/job\n"


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def version_2(root: Path, limits: dict[str, str], group: str = "/") -> Path:
    """Return a root with the limits of groups, as Linux writes `cpu.max`."""
    files = {f"sys/fs/cgroup/{name}/cpu.max": f"{limit}\n" for name, limit in limits.items()}
    return written(root, files | {"proc/self/cgroup": f"0::{group}\n"})


def version_1(root: Path, folder: str, quota: int, period: int = 100_000) -> Path:
    group = f"sys/fs/cgroup/cpu,cpuacct/{folder}"
    limits = {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}
    files = {f"{group}/{name}": text for name, text in limits.items()}
    return written(root, files | {"proc/self/cgroup": V1_GROUPS})


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("200000 100000", 2),  # docker run --cpus 2
        ("250000 100000", 2),  # half a core would stop three threads half of the time
        ("50000 100000", 1),
        ("6400000 100000", 16),  # more than there are
        ("100000 50000", 2),
        ("max 100000", 16),
    ],
)
def test_quota_of_a_container(limit: str, expected: int, tmp_path: Path) -> None:
    root = version_2(tmp_path, {"": limit})
    assert available_cores(root) == expected
    assert has_quota(root) == (expected < 16)


def test_the_smallest_quota_of_all_groups_around_a_process(tmp_path: Path) -> None:
    limits = {"a": "300000 100000", "a/b": "max 100000", "a/b/c": "800000 100000"}
    assert available_cores(version_2(tmp_path, limits, group="/a/b/c")) == 3


@pytest.mark.parametrize("group", ["/kubepods/pod1", "/../../kubepods/pod1"])
def test_a_container_that_sees_the_path_of_its_host(group: str, tmp_path: Path) -> None:
    assert available_cores(version_2(tmp_path, {"": "400000 100000"}, group)) == 4


@pytest.mark.parametrize("folder", ["docker/abc", ""])
def test_version_1(folder: str, tmp_path: Path) -> None:
    assert available_cores(version_1(tmp_path, folder, 350_000)) == 3


def test_version_1_without_a_quota(tmp_path: Path) -> None:
    assert available_cores(version_1(tmp_path, "docker/abc", -1)) == 16


@pytest.mark.parametrize("text", ["", "0", "x y", "100000 0", "1 2 3", "-100000 100000"])
def test_files_of_other_shapes_are_no_quota(text: str, tmp_path: Path) -> None:
    assert available_cores(version_2(tmp_path, {"": text})) == 16


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 16
    assert not has_quota(tmp_path)


def test_other_systems_count_all_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """macOS has no affinity of processes."""
    monkeypatch.setattr(cores.sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores(tmp_path) == 16


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("1", 1), ("24", 24), ("3,2", 3), ("0", 2), ("many", 2), ("", 2), (None, 2)],
)
def test_threads_follow_the_variable_of_openmp(
    variable: str | None, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert default_threads(version_2(tmp_path, {"": "200000 100000"})) == expected


@pytest.mark.parametrize(
    ("before", "quota", "after"),
    [
        ({}, 2, {"OMP_NUM_THREADS": "2"}),
        ({}, 16, {}),
        ({"OMP_NUM_THREADS": "5"}, 2, {"OMP_NUM_THREADS": "5"}),
    ],
)
def test_commands_start_as_many_threads_as_the_quota_pays_for(
    before: dict[str, str], quota: int, after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(before)
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(openmp, "has_quota", lambda: quota < 16)
    monkeypatch.setattr(openmp, "available_cores", lambda: quota)
    openmp.prepare_openmp()
    assert {k: v for k, v in environment.items() if k == "OMP_NUM_THREADS"} == after
