"""Write static pages of every public class and function: `make docs`.

pdoc (https://pdoc.dev) reads the docstrings. Open `docs/api/index.html`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "vision_distillation", "Enviroment", "Models", "Algorithm", "Evaluation", "Distillation",
    "Train_Teacher", "Sharing", "Common",
)  # fmt: skip


# Names that are imported for type checkers alone are written as in the source.
_TYPES_ALONE = ("Failed to run TYPE_CHECKING code", "Error parsing type annotation")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0, or 1 if a page has a fault, such as a module that cannot be imported."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="install/api_pages.py", description=about)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "api", help="their folder")
    parser.add_argument("--packages", nargs="+", default=PACKAGES, help="which packages or modules")
    flags = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    # Before pdoc, which lets no import start a process: GLFW's asks a second Python.
    import gymnasium.envs.mujoco.mujoco_rendering  # noqa: F401
    import pdoc
    import pdoc.render

    pdoc.render.configure(docformat="google", math=False, search=True, footer_text="")
    # A command does its work on import: its package documents it.
    modules = [f"!{name}.*__main__" for name in PACKAGES]
    for name in flags.packages:
        modules += [name, *_resolve(importlib.import_module(name))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pdoc.pdoc(*modules, output_directory=flags.output)
    told = [str(w.message) for w in caught if "/pdoc/" in w.filename.replace(os.sep, "/")]
    faults = [text for text in told if not text.startswith(_TYPES_ALONE)]
    print(f"{flags.output / 'index.html'}", *faults, sep="\n")
    return 1 if faults else 0


def _resolve(package: ModuleType) -> list[str]:
    """Import what a package and those within it name in `__all__`, which pdoc does not do.

    Returns:
        the names of all modules within: pdoc leaves out those that `__all__` does not name.
    """
    for name in getattr(package, "__all__", ()):
        setattr(package, name, getattr(package, name))
    modules = []
    for found in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            modules.append(found.name)
        if found.ispkg:
            modules += _resolve(importlib.import_module(found.name))
    return modules


if __name__ == "__main__":
    sys.exit(main())
