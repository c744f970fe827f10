"""Tasks as vectorised environments that yield frames, joints and the simulator's state.

Rendering defaults are set here because MuJoCo reads them once, when it is first imported. What
the user has exported wins.
"""

from __future__ import annotations

import os
import sys

if sys.platform.startswith("linux"):
    # MuJoCo's own default, GLFW, needs a display and may make contexts only in the main thread.
    os.environ.setdefault("MUJOCO_GL", "egl")
# Mesa's software rasteriser: each of our workers has a core already, so its threads only contend.
os.environ.setdefault("LP_NUM_THREADS", "0")

from Enviroment.drawing import gl  # noqa: F401  (the first import of MuJoCo, with or without OpenGL)
