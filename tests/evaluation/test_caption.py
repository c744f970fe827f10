"""Text on pictures: it is there, it fits, and the rest of the picture is untouched."""

from __future__ import annotations

import numpy as np
import pytest

from Evaluation.caption import captioned, draw_caption

LINES = ("PPD, ImpaalaSmall 64x64, 25.3k env steps", "return -29.6, no success (12.3 cm)")


@pytest.mark.parametrize("size", [(256, 256), (256, 512), (480, 480), (480, 960)])
def test_every_line_fits_and_is_legible(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 120, np.uint8)
    draw_caption(picture, LINES)
    height, width = size
    (rows,) = np.nonzero((picture[..., 0] != 120).any(axis=1))
    band = rows.max() + 1
    assert rows.tolist() == list(range(band))  # from the top
    assert band < height / 4
    assert (picture[band:] == 120).all()
    bright = picture[:band, :, 0] > 200
    columns = np.flatnonzero(bright.any(axis=0))
    assert columns.min() > 0 and columns.max() < width - 1  # nothing is cut off
    text_rows = np.flatnonzero(bright.any(axis=1))
    lines = np.split(text_rows, np.flatnonzero(np.diff(text_rows) > 1) + 1)
    # Two lines of letters, apart from each other; below 7 pixels nobody can read them.
    assert len(lines) == 2
    assert min(len(line) for line in lines) >= 7
    assert (picture[:band][~bright] <= 200).all()


def test_another_text_is_another_picture() -> None:
    one, other = (
        next(captioned([np.zeros((128, 240, 3), np.uint8)], [text]))
        for text in ("return 1", "return 2")
    )
    assert (one != other).any()
