"""TensorBoard's files of a run: the numbers of `metrics.jsonl`, with the same keys and steps."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from Common.errors import UserError
from Common.files.durable import remove

TENSORBOARD = "tensorboard"  # folder in a run folder, and the package
INSTALL = "pip install -e '.[tensorboard]'"
_FLUSH_EVERY = 10  # s; TensorBoard's default of 120 s is long to wait for a first curve


def check_tensorboard() -> None:
    """Check that the package is installed. It is optional.

    Raises:
        UserError: it is not. The message has the command to install it.
    """
    if importlib.util.find_spec(TENSORBOARD) is None:
        raise UserError(
            f"`tensorboard` needs the package {TENSORBOARD}, which is not installed. Install it "
            f"by `{INSTALL}`, or leave out `tensorboard`: metrics.jsonl has the same numbers."
        )


class TensorBoardFiles:
    """Writes logging points to `run_dir/tensorboard`. Its failure never stops a run.

    Args:
        written: the logging points so far. The files of earlier sessions are replaced by them, so
            that a resumed run has no point twice.
    """

    def __init__(self, run_dir: Path, written: Iterable[Mapping[str, Any]]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # imports the optional package

        remove(run_dir / TENSORBOARD)
        self._writer: SummaryWriter | None = SummaryWriter(
            str(run_dir / TENSORBOARD), flush_secs=_FLUSH_EVERY
        )
        for point in written:
            self.write(point)

    def write(self, point: Mapping[str, Any]) -> None:
        """Write the numbers of one logging point; TensorBoard has no place for text."""
        if self._writer is None:
            return
        try:
            for key, value in point.items():
                if key != "step" and isinstance(value, bool | int | float):
                    self._writer.add_scalar(key, float(value), point["step"])
        except OSError as error:
            warnings.warn(
                f"TensorBoard's files cannot be written ({error}); the run continues, and "
                "metrics.jsonl has every metric.",
                RuntimeWarning,
                stacklevel=2,
            )
            self._writer = None

    def close(self) -> None:
        """Write what is left and close the files. A second call does nothing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
