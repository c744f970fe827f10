"""Compare two trees of settings."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any


def plain_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as read back from JSON: tuples as lists, paths as text."""
    return json.loads(json.dumps(settings, default=str))


def differences(
    saved: Mapping[str, Any], ours: Mapping[str, Any], may_differ: Collection[str] = ()
) -> list[str]:
    """Return the differences of two trees of JSON-like values as phrases, sorted by name.

    Args:
        may_differ: names to ignore, with dots between levels: `run.device`.
    """
    old, new = _flat(saved), _flat(ours)
    return [
        f"{name} was {json.dumps(old.get(name))} and is {json.dumps(new.get(name))}"
        for name in sorted((old.keys() | new.keys()).difference(may_differ))
        if old.get(name) != new.get(name)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Convert {"task": {"name": ...}} to {"task.name": ...}."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
