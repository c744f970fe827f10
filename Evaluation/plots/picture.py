"""Write figures to files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from Common.files.durable import write_file

DARK_COLOURS = ("#1c1e21", "#ececea")  # of ground and text, as in the report on dark screens


def write_picture(figure: Figure, path: Path, dpi: int = 150) -> Path:
    """Write a figure atomically, in the format of the file's suffix.

    Text is not parsed as formulas, since "$" in names would raise; only the ticks of logarithmic
    axes are.

    Raises:
        UserError: the file cannot be written.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                for label in axis.get_ticklabels(which="both"):
                    label.set_parse_math(True)
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix[1:].lower(), dpi=dpi)
    write_file(path, image.getvalue())
    return path
