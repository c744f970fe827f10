"""How many processor cores this process may use, and how many threads it starts with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("sys/fs/cgroup")  # where Linux shows its control groups, relative to the root


def available_cores(root: Path = Path("/")) -> int:
    """Return the cores that this process may use, often fewer than the machine has.

    A scheduler such as SLURM restricts a job to some of the cores. A container (`docker run
    --cpus 2`, the `limits` of Kubernetes) sees all cores, but has a quota of processor time. When
    it is used up, every thread of the container stops until the next period. More threads than the
    quota pays for are therefore slower than fewer, so a fraction of a core does not count.

    Args:
        root: of the file system that holds `proc` and `sys`.
    """
    return max(1, min([_permitted_cores(), *(int(quota) for quota in _quotas(root))]))


def default_threads(root: Path = Path("/")) -> int:
    """Return the number of threads to compute with unless a flag names one.

    It is the number of OMP_NUM_THREADS if the user or a scheduler has set it, as everywhere in
    torch, and the number of available cores otherwise.
    """
    chosen = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # of the outermost level
    return int(chosen) if chosen.isdecimal() and int(chosen) > 0 else available_cores(root)


def has_quota(root: Path = Path("/")) -> bool:
    """Return whether a quota allows fewer cores than those on which this process may run."""
    return available_cores(root) < _permitted_cores()


def _permitted_cores() -> int:
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota of each control group around this process, in cores.

    Each line of /proc/self/cgroup is `ID:controllers:path`; version 2 has no controllers there. A
    container may see the path on its host, which does not exist in it, and has its own group at
    the top of the folder. So all groups up to the top are read.
    """
    for line in _words(root / "proc/self/cgroup", "\n"):
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / _GROUPS / controllers
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            words = _limit_v1(folder) if controllers else _words(folder / "cpu.max")
            if len(words) == 2 and all(word.isdecimal() for word in words) and words[1] != "0":
                yield int(words[0]) / int(words[1])
            if folder == top:
                break


def _limit_v1(group: Path) -> list[str]:
    """Return the quota (-1: none) and the period, as `cpu.max` of version 2 holds them."""
    return [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]


def _words(path: Path, separator: str | None = None) -> list[str]:
    try:
        return path.read_text().split(separator)
    except (OSError, UnicodeDecodeError):  # another system, or hidden from this process
        return []
