"""Names of devices, checked without torch."""

from __future__ import annotations

import re

from Common.errors import UserError


def check_device(name: str) -> None:
    """Raise UserError unless the name is one that a device can have."""
    if re.fullmatch(r"auto|(cpu|cuda)(:\d{1,3})?", name) is None:
        raise UserError(f"`device` {name!r} is not one of auto, cpu, cuda, cuda:N.")
