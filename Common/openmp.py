"""How long the threads of OpenMP wait actively for their next work."""

from __future__ import annotations

import os

SPIN_COUNT = 10_000  # iterations of the waiting loop, well below a millisecond


def wait_briefly() -> None:
    """Let threads that have waited for some microseconds sleep, instead of several milliseconds.

    An update of a student starts thousands of short parallel loops. If threads sleep at once, it
    takes twice as long on idle cores. If they wait for milliseconds, which is the default of GNU's
    OpenMP, they keep the cores from the thread that has work as soon as another program runs there.

    Call this before the first import of torch, which loads OpenMP. It has no effect on other
    implementations of OpenMP, and none if the user has chosen a way to wait by `OMP_WAIT_POLICY` or
    `GOMP_SPINCOUNT`.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
