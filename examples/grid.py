"""Compare two methods over three seeds each by a grid, which continues where it was stopped."""

import subprocess
import sys
from pathlib import Path

GRID = """
tasks: Reacher
methods: [PPD, Sdistillation]
modes: ImpaalaSmall
seeds: [0, 1, 2]
output: my_grid
flags: {total_timesteps: 50_000}
"""


def command(*words: str) -> None:
    """Run a command of the toolkit: `vision-distillation WORDS`."""
    subprocess.run([sys.executable, "-m", "vision_distillation", *words], check=True)


def main(*changes: str) -> None:
    """Run the grid, with changes such as `seeds=0`, and print the runs side by side."""
    Path("my_grid.yaml").write_text(GRID)
    command("sweep", "my_grid.yaml", *(("--set", *changes) if changes else ()))
    command("table", "my_grid")
    command("plots", "my_grid", "--x", "env_steps", "--metric", "return", "--output", "my_grid.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
