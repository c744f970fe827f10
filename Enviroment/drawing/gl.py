"""Open MuJoCo's OpenGL contexts, with one clear error if there is no OpenGL.

MuJoCo loads its OpenGL backend on import, and the import fails if the backend's library is missing.
Only rendering needs OpenGL, so MuJoCo is then imported without it: physics and state-only training
still work; the first renderer reports the reason.
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
Frames cannot be rendered: MuJoCo opens no OpenGL context with MUJOCO_GL={backend!r} ({reason}).
Set MUJOCO_GL to a backend that this machine has: egl (GPU or software, needs no display), \
osmesa (software) or glfw (needs a display).
On Debian or Ubuntu, this installs egl: apt-get install libegl1 libgl1-mesa-dri libgl1"""
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")  # in a renderer's name, lower case
_HEADLESS = ("egl", "osmesa")  # on Linux; each is a module of MuJoCo


class Context(Protocol):
    """The interface of all MuJoCo backends."""

    def make_current(self) -> None: ...

    def free(self) -> None: ...


def _import_mujoco() -> Exception | None:
    """Import MuJoCo, without OpenGL if necessary. Return the error of OpenGL, or None."""
    backend = os.environ.get("MUJOCO_GL")
    try:
        importlib.import_module("mujoco")
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        for name in [name for name in sys.modules if name.startswith("OpenGL")]:
            del sys.modules[name]  # partly imported, for a missing platform
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
        except Exception as error:  # each backend has its own exception types
            reason = _import_error or error
            backend = os.environ.get("MUJOCO_GL", "")
            raise UserError(_HELP.format(backend=backend, reason=reason)) from error


def open_context(height: int, width: int) -> Context:
    """Return an offscreen OpenGL context, current in the calling thread. Call within `gl_errors`.

    Args:
        height, width: size in pixels.
    """
    context_class = _context_class()
    if (
        "glfw" in context_class.__module__
        and threading.current_thread() is not threading.main_thread()
    ):
        # GLFW would hang in any other thread.
        raise RuntimeError("GLFW renders in the main thread only, but environments use others")
    context = context_class(width, height)
    context.make_current()
    return context


def _context_class() -> Callable[[int, int], Context]:
    """Return the class of the backend that MUJOCO_GL names now.

    `mujoco.GLContext` is that of MuJoCo's first import. In a script that imports MuJoCo before
    this package it is GLFW, which needs a display.
    """
    backend = os.environ.get("MUJOCO_GL", "").lower().strip()
    if _import_error is None and sys.platform.startswith("linux") and backend in _HEADLESS:
        return importlib.import_module(f"mujoco.{backend}").GLContext
    return sys.modules["mujoco"].GLContext


@cache
def renderer_name() -> str:
    """Return OpenGL's name of the rendering device, such as "llvmpipe (LLVM 15.0.6, 256 bits)".

    Return "" if it is unknown.

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
    """Return whether a GPU renders, instead of a software rasteriser."""
    name = renderer_name().lower()
    return bool(name) and not any(software in name for software in _SOFTWARE)
