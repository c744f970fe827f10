"""Import names when they are first used, so that flags are parsed without torch and SB3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def import_name(path: str) -> Any:
    """Return the object of "package.module:name"."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def lazy(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that imports its public names lazily.

    Args:
        package: `__name__` of the package.
        modules: public names by their module, relative to the package.
    """
    return lazy_paths(package, {f"{package}.{module}": names for module, names in modules.items()})


def lazy_paths(package: str, modules: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package, as `lazy`, for modules by their full names."""
    paths = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in paths:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(paths[name]), name)

    return get
