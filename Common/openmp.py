"""How many threads OpenMP starts, and how long they wait actively for their next work."""

from __future__ import annotations

import os

from Common.cores import available_cores, has_quota

SPIN_COUNT = 10_000  # iterations of the waiting loop, well below a millisecond


def prepare_openmp() -> None:
    """Set what OpenMP reads when it is loaded, unless the user has set it.

    Call this before the first import of torch, which loads OpenMP.

    **Waiting.** Threads that have waited for some microseconds sleep, instead of several
    milliseconds. An update of a student starts thousands of short parallel loops. If threads sleep
    at once, it takes twice as long on idle cores. If they wait for milliseconds, which is the
    default of GNU's OpenMP, they keep the cores from the thread that has work as soon as another
    program runs there. This has no effect on other implementations of OpenMP.

    **Number.** In a container with a quota of processor time, one thread per core of the quota.
    Torch would start one per core of the machine.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
    if has_quota():
        os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))
