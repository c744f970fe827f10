"""MuJoCo's OpenGL contexts, with one clear error where there is no OpenGL.

MuJoCo loads its OpenGL backend when it is imported, and where the backend's library is missing the
import itself fails. Only drawing needs OpenGL, so MuJoCo is then imported without it: physics, and
everything that sees only the state, goes on; the first renderer reports the reason.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from Enviroment.errors import UserError

_HELP = """\
Frames cannot be drawn: MuJoCo opens no OpenGL context with MUJOCO_GL={backend!r} ({reason}).
Set MUJOCO_GL to a backend that this machine has: egl (GPU or software, needs no display), \
osmesa (software) or glfw (needs a display).
On Debian or Ubuntu, this installs egl: apt-get install libegl1 libgl1-mesa-dri libgl1"""


class Context(Protocol):
    """What every one of MuJoCo's backends offers."""

    def make_current(self) -> None: ...

    def free(self) -> None: ...


def _import_mujoco() -> Exception | None:
    """Import MuJoCo, if need be without OpenGL; return why OpenGL is not there."""
    backend = os.environ.get("MUJOCO_GL")
    try:
        importlib.import_module("mujoco")
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        for name in [name for name in sys.modules if name.startswith("OpenGL")]:
            del sys.modules[name]  # half imported, for a platform that is not there
        os.environ["MUJOCO_GL"] = "disable"
        try:
            importlib.import_module("mujoco")
        finally:
            if backend is None:
                del os.environ["MUJOCO_GL"]
            else:
                os.environ["MUJOCO_GL"] = backend
        return error
    return None


_import_error = _import_mujoco()

# Drivers fill process-wide tables of displays and entry points without a lock of their own.
_lock = threading.Lock()


@contextmanager
def gl_errors() -> Iterator[None]:
    """Serialise the opening and freeing of contexts, and turn their failures into `UserError`."""
    with _lock:
        try:
            yield
        except Exception as error:  # each backend has exception types of its own
            reason = _import_error or error
            backend = os.environ.get("MUJOCO_GL", "")
            raise UserError(_HELP.format(backend=backend, reason=reason)) from error


def open_context(height: int, width: int) -> Context:
    """An OpenGL context for offscreen drawing, current in the calling thread. Use in `gl_errors`.

    Args:
        height, width: pixels.
    """
    context_class = sys.modules["mujoco"].GLContext
    if (
        "glfw" in context_class.__module__
        and threading.current_thread() is not threading.main_thread()
    ):
        # GLFW would hang in any other thread.
        raise RuntimeError(
            "MuJoCo was imported before this package and took GLFW, which draws in the main "
            "thread only: import Enviroment first, or set MUJOCO_GL=egl"
        )
    context = context_class(width, height)
    context.make_current()
    return context
