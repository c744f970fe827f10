"""Figures as files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from Common.files.durable import write_file


def write_picture(figure: Figure, path: Path, dpi: int = 150) -> Path:
    """Write a figure in the format that the file's name ends in, all or nothing.

    Names in it are drawn as they are: to matplotlib, "$" begins a formula, and a name that is no
    formula raises. The ticks of a logarithmic axis are formulas.

    Raises:
        UserError: it cannot be written.
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
