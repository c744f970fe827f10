"""Pictures of LeRobot's datasets: PNG files in memory, and videos."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from PIL import Image, UnidentifiedImageError

from Common.errors import UserError

# Nearly lossless, and readable from any frame on: training reads frames in random order.
_QUALITY, _KEYFRAME_EVERY = 12, 2
CODEC, PIXELS = "h264", "yuv420p"


def to_png(picture: np.ndarray) -> bytes:
    """Return a picture, uint8 (H, W, 3), as a PNG file."""
    encoded, file = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    assert encoded
    return file.tobytes()


def from_png(file: bytes | None, shape: tuple[int, ...]) -> np.ndarray:
    """Return the picture of a PNG or JPEG file, uint8 (H, W, 3).

    Args:
        shape: (H, W, C), which is checked before anything of that size is decoded.

    Raises:
        ValueError: it is not such a picture.
    """
    if not file:
        raise ValueError("a picture is missing; it may lie beside the data, which is not supported")
    try:
        with Image.open(io.BytesIO(file), formats=("PNG", "JPEG")) as image:
            if (image.height, image.width) != shape[:2]:
                size = f"{image.height}x{image.width}"
                raise ValueError(f"a picture is {size}, not {shape[0]}x{shape[1]}")
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"a picture cannot be read: {error}") from error


def check_video_size(height: int, width: int) -> None:
    """Raise UserError for a size that videos cannot have: their colours are per 2x2 pixels."""
    if height % 2 or width % 2:
        raise UserError(
            f"`video`: frames of {height}x{width} have an odd side, which videos cannot have. "
            "Leave it out: pictures are then PNG."
        )


def write_video(
    path: Path, pictures: Iterator[np.ndarray], size: tuple[int, int], fps: int
) -> None:
    """Write pictures, uint8 (H, W, 3), as a video.

    Args:
        size: height and width.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (size[1], size[0]),
        fps=fps,
        codec="libx264",
        pix_fmt_out=PIXELS,
        macro_block_size=1,
        ffmpeg_log_level="error",
        output_params=["-crf", str(_QUALITY), "-g", str(_KEYFRAME_EVERY), "-bf", "0"],
    )
    writer.send(None)
    try:
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()


def _every_frame() -> str:
    """Return the flag of FFmpeg against leaving out or repeating frames, by its version."""
    major = re.search(r"\d+", imageio_ffmpeg.get_ffmpeg_version())
    return "-vsync" if major is not None and int(major[0]) < 6 else "-fps_mode"


def read_video(path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield the frames of a video, uint8 (H, W, 3), each a new array.

    Args:
        shape: (H, W, C), which the video must have.

    Raises:
        ValueError: it is missing, damaged, or has another size.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    # Only a file, and only this one: playlists could name others.
    only = ["-protocol_whitelist", "file", "-f", "mov"]
    frames = imageio_ffmpeg.read_frames(
        str(path), pix_fmt="rgb24", input_params=only, output_params=[_every_frame(), "passthrough"]
    )
    try:
        meta = next(frames)
        width, height = meta["size"]
        if (height, width) != shape[:2]:
            raise ValueError(f"{path} is {height}x{width}, not {shape[0]}x{shape[1]}")
        for frame in frames:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, StopIteration) as error:
        raise ValueError(f"{path} cannot be read as a video: {error!r:.200}") from error
    finally:
        frames.close()
