"""Tasks as vectorised environments that return frames, joints and the simulator's state.

Set the rendering defaults here, because MuJoCo reads them once, at its first import. Exported
variables of the user take precedence.
"""

from __future__ import annotations

import os
import sys

if sys.platform.startswith("linux"):
    # MuJoCo's default, GLFW, needs a display and can create contexts in the main thread only.
    os.environ.setdefault("MUJOCO_GL", "egl")
# Mesa's software rasteriser: each worker has a core already, so further threads only contend.
os.environ.setdefault("LP_NUM_THREADS", "0")

from Enviroment.drawing import gl  # noqa: F401  (the first import of MuJoCo, with or without OpenGL)
