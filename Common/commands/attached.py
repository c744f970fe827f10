"""`attached.py PARENT COMMAND...`: becomes the command, which ends at once when its parent does.

Run by itself, with nothing but the standard library: it is there before the command's first step.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of prctl(2): the signal that the kernel sends when the parent ends


def main() -> None:
    """Replaces this process; the exit code is the command's."""
    parent, *command = sys.argv[1:]
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the kernel knew
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
