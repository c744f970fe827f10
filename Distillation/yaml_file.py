"""Files of keys and values, in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from Enviroment.errors import UserError


def read_mapping(path: Path, name: str, *, wrong_form: str, holds: str) -> dict[str, Any]:
    """The file's keys and values.

    Args:
        name: how messages begin, with the path: `The grid g.yaml`.
        wrong_form: what is said of a file that YAML does not read: `is no YAML`.
        holds: what has to be in it: `keys and values`.

    Raises:
        UserError: the file cannot be read, or is no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{name} {wrong_form}: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold {holds}.")
    return content
