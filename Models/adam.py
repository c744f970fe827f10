"""The settings of Adam, for students and for policies of SB3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# SB3's epsilon. Fused Adam is 3 times as fast on a CPU, and can be part of a CUDA graph; results
# differ from those of the plain one by rounding only.
FUSED_ADAM: Mapping[str, Any] = {"eps": 1e-5, "fused": True}
