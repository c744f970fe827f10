"""What LeRobot's own code does for `test_lerobot_reader.py`, in an environment of its own.

`read FOLDER OUT.npz` reads a dataset by its reader; `write FOLDER` writes one by its writer, of the
arrays of `recorded`. Neither imports the toolkit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

LENGTHS, SIZE, FPS = (5, 8, 3), (24, 32), 20
CAMERA = "observation.images.top"


def recorded() -> dict[str, np.ndarray]:
    """Return pictures that move, states and actions, steps of all episodes."""
    rng = np.random.default_rng(5)
    total, (h, w) = sum(LENGTHS), SIZE
    y, x = np.mgrid[:h, :w]
    shade = 40 + y[None] + x[None] + 8 * np.arange(total)[:, None, None]  # smooth, up to 213
    pictures = np.stack([shade, 255 - shade, shade // 2], axis=-1).astype(np.uint8)
    return {
        CAMERA: pictures,
        "observation.state": rng.normal(size=(total, 10)).astype(np.float32),
        "action": rng.uniform(-1, 1, (total, 2)).astype(np.float32),
    }


def read(folder: str, out: str) -> None:
    """Read every step by LeRobot, and write its columns."""
    from lerobot.datasets.lerobot_dataset import (  # pyright: ignore[reportMissingImports]
        LeRobotDataset,
    )

    dataset = LeRobotDataset("me/x", root=folder, video_backend="torchcodec")
    steps = [dataset[i] for i in range(len(dataset))]
    columns: dict[str, Any] = {
        name: np.stack([np.asarray(step[name]) for step in steps])
        for name in steps[0]
        if name != "task"
    }
    np.savez(
        out,
        task=np.array([step["task"] for step in steps]),
        fps=dataset.fps,
        n_episodes=dataset.num_episodes,
        stats_mean=dataset.meta.stats["action"]["mean"],
        **columns,  # pyright: ignore[reportArgumentType]
    )


def write(folder: str, use_videos: bool) -> None:
    """Write a dataset by LeRobot."""
    from lerobot.datasets.lerobot_dataset import (  # pyright: ignore[reportMissingImports]
        LeRobotDataset,
    )

    h, w = SIZE
    stored = "video" if use_videos else "image"
    names = ["height", "width", "channels"]
    dataset = LeRobotDataset.create(
        "me/x",
        fps=FPS,
        root=folder,
        use_videos=use_videos,
        features={
            CAMERA: {"dtype": stored, "shape": (h, w, 3), "names": names},
            "observation.state": {"dtype": "float32", "shape": (10,), "names": None},
            "action": {"dtype": "float32", "shape": (2,), "names": None},
        },
    )
    arrays, first = recorded(), 0
    for length in LENGTHS:
        for step in range(first, first + length):
            dataset.add_frame({**{n: a[step] for n, a in arrays.items()}, "task": "push it"})
        dataset.save_episode()
        first += length
    dataset.finalize()


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(sys.argv[2], sys.argv[3])
    else:
        write(sys.argv[2], Path(sys.argv[2]).name == "video")
