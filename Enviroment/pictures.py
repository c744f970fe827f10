"""Turn pictures of any camera or file into a student's frames."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from Common.errors import UserError


def to_frame(picture: Any, size: tuple[int, int], *, grayscale: bool) -> np.ndarray:
    """Return a picture as a frame, uint8 `(channels, H, W)`; a copy only if something changes.

    Args:
        picture: an array, a tensor or a PIL image: uint8, or floats from 0 to 1; `(H, W)`,
            `(H, W, channels)` or `(channels, H, W)` with 1 channel or with red, green and blue.
        size: height and width of the frame. A picture of another size is averaged over areas; its
            sides may be scaled differently.
        grayscale: return one channel, the luma of ITU-R BT.601, instead of three.

    Raises:
        UserError: it is not such a picture, or it is gray and the frame has colours.
    """
    image = channels_last(np.asarray(picture))
    if image.dtype != np.uint8:
        image = _from_shares(image)
    if grayscale and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    if not grayscale and image.shape[2] == 1:
        raise UserError("The picture is gray, but the frames have colours: `grayscale` True.")
    if image.shape[:2] != size:
        h, w = size
        image = cv2.resize(np.ascontiguousarray(image), (w, h), interpolation=cv2.INTER_AREA)
        image = image.reshape(h, w, -1)  # OpenCV drops a single channel
    return image.transpose(2, 0, 1)  # (H, W, channels) -> (channels, H, W)


def channels_last(pictures: np.ndarray) -> np.ndarray:
    """Return a view `(..., H, W, channels)` of one picture or of several of one shape.

    Raises:
        UserError: the pictures have neither 1 nor 3 channels.
    """
    if pictures.ndim in (3, 4) and pictures.shape[-1] in (1, 3):
        return pictures
    if pictures.ndim in (3, 4) and pictures.shape[-3] in (1, 3):
        return np.moveaxis(pictures, -3, -1)
    if pictures.ndim == 2:
        return pictures[..., None]
    raise UserError(
        f"An array {pictures.shape} is no picture: (H, W), (H, W, channels) or (channels, H, W), "
        "with 1 channel or with red, green and blue."
    )


def _from_shares(image: np.ndarray) -> np.ndarray:
    """Map floats from 0 to 1 to uint8, rounded."""
    if not np.issubdtype(image.dtype, np.floating) or not (image.min() >= 0 and image.max() <= 1):
        raise UserError(
            f"A picture has values of uint8 or floats from 0 to 1, not {image.dtype} from "
            f"{image.min()} to {image.max()}."
        )
    return np.rint(image * 255).astype(np.uint8)
