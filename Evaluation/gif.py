"""Convert videos to GIFs for a README."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg

from Common.errors import UserError
from Common.files.durable import write_file

MAX_BYTES = 2_000_000
_FPS = 10
_SHRINK = 0.85  # factor of the width per attempt, until the file is small enough
_NARROWEST = 240  # pixels


def write_gif(video: Path, path: Path, width: int, max_bytes: int = MAX_BYTES) -> int:
    """Write the video as a GIF of at most `max_bytes`, and return its width in pixels.

    Args:
        width: maximum width in pixels.

    Raises:
        UserError: even the narrowest GIF is too large, or the conversion fails.
    """
    content = b""
    while width >= _NARROWEST:
        content = _convert(video, width)
        if len(content) <= max_bytes:
            write_file(path, content)
            return width
        width = int(width * _SHRINK)
    raise UserError(
        f"{video} does not fit into a GIF of {max_bytes:,} bytes: at {_NARROWEST} pixels width it "
        f"has {len(content):,}. Show fewer players, or a shorter episode."
    )


def _convert(video: Path, width: int) -> bytes:
    # One palette for the whole video; only changed rectangles are stored per picture.
    graph = (
        f"fps={_FPS},scale={width}:-2:flags=lanczos,split[a][b];"
        "[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer:bayer_scale=4:"
        "diff_mode=rectangle"
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(video)]
    command += ["-filter_complex", graph, "-f", "gif", "-"]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode != 0:
        message = made.stderr.decode(errors="replace").strip()
        raise UserError(f"{video} cannot be converted to a GIF: {message}")
    return made.stdout
