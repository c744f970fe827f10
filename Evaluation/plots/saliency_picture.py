"""Draw an episode's frames and their saliency, side by side or overlaid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from Common.runs.run_folder import DARK
from Evaluation.plots.picture import DARK_COLOURS, write_picture

_HEIGHT = 384  # approximate height of a video in pixels
_MOMENTS = 6
_SIDE, _GAP = 1.9, 0.1  # inches, of a picture and between two
_COLOUR = np.array([213, 94, 0], np.float32)  # Okabe and Ito's vermilion, on gray frames


@dataclass(frozen=True)
class Pictures:
    """Frames, uint8 `(T, H, W, 3)`, and their saliency, `(T, H, W)` in [0, 1]."""

    frames: np.ndarray
    saliency: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def overlay(self, t: int) -> np.ndarray:
        """Return a frame with salient pixels coloured, uint8 `(H, W, 3)`."""
        share = self.saliency[t][..., None]  # (H, W) -> (H, W, 1)
        mixed = (1 - share) * self.frames[t] + share * _COLOUR
        return np.rint(mixed).astype(np.uint8)

    def beside(self, t: int) -> np.ndarray:
        """Return the frame and, to its right, the overlay; enlarged, with even sides."""
        pair = np.concatenate([self.frames[t], self.overlay(t)], axis=1)  # (H, 2 W, 3)
        scale = 2 * max(1, _HEIGHT // (2 * pair.shape[0]))
        return np.repeat(np.repeat(pair, scale, axis=0), scale, axis=1)


def draw_moments(pictures: Pictures, path: Path, title: str) -> None:
    """Draw steps of an episode: the frame, the saliency, and the overlay.

    The saliency is dark on white; on dark screens, the report shows `<name>_dark.png`, where it is
    light on black.
    """
    write_picture(_draw(pictures, title, "gray_r", "white", "black"), path, dpi=130)
    dark = path.with_stem(path.stem + DARK)
    write_picture(_draw(pictures, title, "gray", *DARK_COLOURS), dark, dpi=130)


def _draw(pictures: Pictures, title: str, colours: str, ground: str, ink: str) -> Figure:
    moments = np.unique(np.linspace(0, len(pictures) - 1, _MOMENTS).astype(int))
    _, h, w, _ = pictures.frames.shape
    height = 3 * (_SIDE * min(1.0, h / w) + _GAP)  # several cameras make wide frames
    size = (_SIDE * len(moments), height)
    figure = Figure(figsize=size, layout="constrained", facecolor=ground)
    grid = figure.subplots(3, len(moments), squeeze=False)
    for column, t in zip(grid.T, moments, strict=True):
        column[0].imshow(pictures.frames[t], interpolation="nearest")
        column[1].imshow(pictures.saliency[t], cmap=colours, vmin=0, vmax=1)
        column[2].imshow(pictures.overlay(t), interpolation="nearest")
        column[0].set_title(f"step {t}", fontsize=9)
        for axes in column:
            axes.set_xticks([])
            axes.set_yticks([])
    for axes, label in zip(grid[:, 0], ("frame", "saliency", "overlay"), strict=True):
        axes.set_ylabel(label, fontsize=9)
    figure.suptitle(f"{title}: sensitivity of the action to each pixel", fontsize=10)
    for text in figure.findobj(Text):
        text.set(color=ink)
    return figure
