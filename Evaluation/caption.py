"""Write lines of text across the top of a video's pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_HEIGHT_SHARE = 30  # the letters' height is this part of the picture's
_LETTERS = 21  # height in pixels of capital letters of this font at scale 1
_SMALLEST = 9  # pixels of the letters' height, below which they are not legible
_DIM = 3  # the picture behind the text is darker by this factor
_WHITE = (255, 255, 255)


def captioned(pictures: Iterable[np.ndarray], lines: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield the pictures `(H, W, 3)` with a caption."""
    for picture in pictures:
        draw_caption(picture, lines)
        yield picture


def draw_caption(picture: np.ndarray, lines: Sequence[str]) -> None:
    """Draw lines of text on a dark band at the top of a picture, modified in place.

    Args:
        picture: uint8 `(H, W, 3)`.
        lines: printable ASCII, which is all that OpenCV's font has. Letters are small enough for
            the longest line.
    """
    height, width = picture.shape[:2]
    letters = max(_SMALLEST, height / _HEIGHT_SHARE)
    margin = round(0.8 * letters)
    longest = max(_width(line, letters) for line in lines)
    letters *= min(1.0, (width - 2 * margin) / longest)
    spacing = round(1.9 * letters)
    band = picture[: margin + spacing * len(lines)]
    band //= _DIM
    scale, thickness = _size(letters)
    text = np.ascontiguousarray(band)  # OpenCV draws only in whole arrays
    for number, line in enumerate(lines):
        at = margin, margin + round(letters) + number * spacing
        cv2.putText(text, line, at, _FONT, scale, _WHITE, thickness, cv2.LINE_AA)
    band[:] = text


def _width(line: str, letters: float) -> int:
    scale, thickness = _size(letters)
    return cv2.getTextSize(line, _FONT, scale, thickness)[0][0]


def _size(letters: float) -> tuple[float, int]:
    """Return OpenCV's scale and thickness of letters of a height in pixels."""
    return letters / _LETTERS, max(1, round(letters / 10))
