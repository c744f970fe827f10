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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol

from Common.errors import UserError

_HELP = """\
Frames cannot be drawn: MuJoCo opens no OpenGL context with MUJOCO_GL={backend!r} ({reason}).
Set MUJOCO_GL to a backend that this machine has: egl (GPU or software, needs no display), \
osmesa (software) or glfw (needs a display).
On Debian or Ubuntu, this installs egl: apt-get install libegl1 libgl1-mesa-dri libgl1"""
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")  # in a renderer's name, lower case
_HEADLESS = ("egl", "osmesa")  # on Linux, each a module of MuJoCo's


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
    context_class = _context_class()
    if (
        "glfw" in context_class.__module__
        and threading.current_thread() is not threading.main_thread()
    ):
        # GLFW would hang in any other thread.
        raise RuntimeError("GLFW draws in the main thread only, and environments have others")
    context = context_class(width, height)
    context.make_current()
    return context


def _context_class() -> Callable[[int, int], Context]:
    """The class of the backend that MUJOCO_GL names now.

    `mujoco.GLContext` is that of MuJoCo's first import. A script that imports MuJoCo before this
    package has GLFW there, which needs a display.
    """
    backend = os.environ.get("MUJOCO_GL", "").lower().strip()
    if _import_error is None and sys.platform.startswith("linux") and backend in _HEADLESS:
        return importlib.import_module(f"mujoco.{backend}").GLContext
    return sys.modules["mujoco"].GLContext


@cache
def renderer_name() -> str:
    """Return what OpenGL calls the device that draws, such as "llvmpipe (LLVM 15.0.6, 256 bits)";
    "" where it does not say.

    Raises:
        UserError: there is no usable OpenGL.
    """
    with gl_errors():
        context = open_context(1, 1)
        try:
            gl = importlib.import_module("OpenGL.GL")
            return (gl.glGetString(gl.GL_RENDERER) or b"").decode(errors="replace")
        finally:
            context.free()


def draws_on_gpu() -> bool:
    """Return whether a GPU draws, and not a software rasteriser."""
    name = renderer_name().lower()
    return bool(name) and not any(software in name for software in _SOFTWARE)
