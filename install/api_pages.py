"""Write static pages of every public class and function: `make docs`.

pdoc (https://pdoc.dev) reads the docstrings. Open `docs/api/index.html`.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "vision_distillation", "Enviroment", "Models", "Algorithm", "Evaluation", "Distillation",
    "Train_Teacher", "Common",
)  # fmt: skip


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
    modules = [*flags.packages, *(f"!{name}.*__main__" for name in PACKAGES)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pdoc.pdoc(*modules, output_directory=flags.output)
    # Other warnings are those of libraries.
    faults = [str(w.message) for w in caught if "/pdoc/" in w.filename.replace(os.sep, "/")]
    print(f"{flags.output / 'index.html'}", *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
