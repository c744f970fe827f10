"""Settings of the whole suite."""

from __future__ import annotations

import torch

# The networks here are small: more threads than one only wait for each other, and on a busy
# machine for minutes.
torch.set_num_threads(1)
