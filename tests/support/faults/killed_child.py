"""Code in a child process that is killed, or that has no room on its disk."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable

_WRITES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def run_child(work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> int:
    """Runs `prepare`, then `work`, in a forked child.

    Returns: its exit code: 0; 1 after an exception; minus the signal that ended it.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            work()
            code = 0
        except BaseException as error:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # stderr may be a file
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_write(k: int) -> Callable[[], None]:
    """For `prepare`: SIGKILL just before the k-th change to the file system, counted from 0."""

    def prepare() -> None:
        left = k

        def count() -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        on_write(count)

    return prepare


def on_write(call: Callable[[], None]) -> None:
    """From now on, calls it just before each change to the file system by this process."""

    def audit(event: str, arguments: tuple) -> None:
        if event in _WRITES and not (event == "open" and not arguments[2] & _WRITE_FLAGS):
            call()

    fsync = os.fsync

    def counted_fsync(descriptor: int) -> None:
        call()
        fsync(descriptor)

    os.fsync = counted_fsync
    sys.addaudithook(audit)


def largest_file(n_bytes: int, *, kill: bool = False) -> Callable[[], None]:
    """For `prepare`: a write beyond so many bytes of a file fails, as on a full disk.

    Args:
        kill: or ends the process, in the middle of the write.
    """

    def prepare() -> None:
        if kill:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))

    return prepare
