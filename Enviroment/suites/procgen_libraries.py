"""Load Qt, with which Procgen renders, from the wheel `PyQt5-Qt5` where the system has none."""

from __future__ import annotations

import ctypes
import functools
from importlib import metadata
from pathlib import Path

from Common.errors import UserError

_WHEEL = "PyQt5-Qt5"
# Each needs those before it, and finds them only among loaded libraries.
_LIBRARIES = (
    "libicudata.so.56",
    "libicuuc.so.56",
    "libicui18n.so.56",
    "libQt5Core.so.5",
    "libQt5Gui.so.5",
)


@functools.cache
def load_qt() -> None:
    """Load Qt into this process, where EnvPool's Procgen finds it. A second call does nothing.

    Raises:
        UserError: the wheel is not installed, or damaged.
    """
    for name in _LIBRARIES:
        library = _folder() / name
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise UserError(
                f"Procgen needs {name} of the package {_WHEEL}, which cannot be loaded: {error}. "
                "Reinstall it: pip install --force-reinstall '.[suites]'"
            ) from error


def _folder() -> Path:
    try:
        wheel = metadata.distribution(_WHEEL)
    except metadata.PackageNotFoundError as error:
        raise UserError(
            f"Procgen renders with Qt, but the package {_WHEEL} is not installed. "
            "Install it: pip install '.[suites]'"
        ) from error
    return Path(str(wheel.locate_file("PyQt5/Qt5/lib")))
