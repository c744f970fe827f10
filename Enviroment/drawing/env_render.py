"""Frames that an environment draws itself: `env.render()`, or an observation that is a picture."""

from __future__ import annotations

import cv2
import gymnasium as gym
import numpy as np

from Common.errors import UserError


class RenderedView:
    """Draws one environment with its own `env.render()`, resized. As `EnvView` for a part.

    Args:
        env: an environment that was made with the render mode rgb_array.
        size: height and width in pixels.
        grayscale: whether to return one channel (ITU-R BT.601 luma) instead of three.
    """

    def __init__(self, env: gym.Env, size: tuple[int, int], grayscale: bool) -> None:
        self._env, self._size, self._grayscale = env, size, grayscale

    def begin(self, seed: int) -> None:
        """Do nothing: the environment draws what it is."""

    def expect_changes(self) -> None:
        """Do nothing, likewise."""

    def render(self) -> np.ndarray:
        """Return uint8 (H, W) or, in colour, (H, W, 3).

        Raises:
            UserError: the environment returned no picture.
        """
        return fitted(rendered(self._env), self._size, self._grayscale)

    def render_into(self, frame: np.ndarray) -> None:
        """Render into `frame`, uint8 (channels, H, W). Raise as `render`."""
        fit_into(rendered(self._env), frame)


def rendered(env: gym.Env) -> np.ndarray:
    """Return the picture of `env.render()`, uint8 (H, W, 3).

    Raises:
        UserError: the environment returned anything else.
    """
    picture = env.render()
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
        what = f"{picture.dtype} {picture.shape}" if isinstance(picture, np.ndarray) else picture
        raise UserError(
            f"env.render() of {env} returned {what!s:.80}, not a picture, uint8 (height, width, 3)."
        )
    # Without an alpha channel; a copy, because some environments draw every picture into one array.
    return np.array(picture[..., :3], order="C")


def fitted(picture: np.ndarray, size: tuple[int, int], grayscale: bool) -> np.ndarray:
    """Return a picture in the size and colours of a student's frames.

    Each new pixel is the mean of the area that it covers (OpenCV's INTER_AREA).

    Args:
        picture: uint8 (H, W), (H, W, 1), (H, W, 3), or (C, H, W) with C of 1 or 3.
        size: height and width in pixels.
        grayscale: whether to return (height, width) instead of (height, width, 3).

    Returns:
        A picture; in colour, a new array.
    """
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.shape[2] not in (1, 3):
        picture = np.ascontiguousarray(picture.transpose(1, 2, 0))  # (C, H, W) -> (H, W, C)
    if grayscale and picture.shape[2] == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if picture.shape[:2] != size:
        picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    if grayscale:
        return picture.reshape(size)
    picture = picture.reshape(*size, -1)  # (H, W), (H, W, 1) or (H, W, 3) -> (H, W, C)
    return np.repeat(picture, 3 // picture.shape[2], axis=2)


def fit_into(picture: np.ndarray, frame: np.ndarray) -> None:
    """Write a picture, resized, into `frame`, uint8 (1 or 3, H, W). See `fitted`."""
    channels, h, w = frame.shape
    frame[:] = fitted(picture, (h, w), channels == 1).reshape(h, w, channels).transpose(2, 0, 1)
