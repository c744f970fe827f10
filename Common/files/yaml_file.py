"""YAML files of keys and values: plain values only, of a size that a person would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml

from Common.errors import UserError
from Common.files.bounded_read import read_bounded

MAX_BYTES = 2**17
_MAX_NESTING = 32
_MAX_VALUES = 20_000  # after expansion of aliases
_MAX_NUMBER = 64  # characters
_TOO_MANY = f"it holds more than {_MAX_VALUES:,} values"
_TAG = "tag:yaml.org,2002:"
_PLAIN = frozenset(_TAG + name for name in ("map", "seq", "str", "int", "float", "bool", "null"))
_MERGE, _DATE = _TAG + "merge", _TAG + "timestamp"


def read_mapping(path: Path, name: str, *, wrong_form: str, holds: str) -> dict[str, Any]:
    """Return the keys and values of a file.

    Args:
        name: the beginning of messages, with the path: `The grid g.yaml`.
        wrong_form: the message for a file that is not YAML: `is not YAML`.
        holds: the expected content: `keys and values`.

    Raises:
        UserError: the file cannot be read, or is not a mapping.
    """
    try:
        content = parse_yaml(read_bounded(path, MAX_BYTES).decode())
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{name} {wrong_form}: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold {holds}.")
    return content


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text: strings, numbers, booleans, null, lists and mappings.

    A date stays the string that was written.

    Raises:
        ValueError: the text is not YAML, holds any other type, has a duplicate key, or exceeds the
            limits of this module after expansion of aliases.
    """
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, {}, set())
        value = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return value


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader with limits, and without dates, because no flag is a date."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _depth = _count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count values and nesting before PyYAML composes a node, however large the file is."""
        self._depth, self._count = self._depth + 1, self._count + 1
        if self._depth > _MAX_NESTING:
            raise ValueError(f"it is nested more than {_MAX_NESTING} deep")
        if self._count > _MAX_VALUES:
            raise ValueError(_TOO_MANY)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _check(node: yaml.Node, sizes: dict[int, int], above: set[int]) -> int:
    """Return the number of values in a node after expansion of aliases.

    Args:
        sizes: numbers of values of the nodes counted so far, by `id`; an alias is the same node.
        above: the nodes that contain this one, by `id`.

    Raises:
        ValueError: the node exceeds what `parse_yaml` accepts.
    """
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in above:
        raise ValueError(f"{_place(node)}it contains itself")
    above.add(id(node))
    is_key_of_merge = node.tag == _MERGE and isinstance(node, yaml.ScalarNode)
    if node.tag not in _PLAIN and not is_key_of_merge:
        raise ValueError(f"{_place(node)}{node.tag} is not a plain value")
    items: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        items = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        items = node.value
    elif node.tag in (_TAG + "int", _TAG + "float") and len(node.value) > _MAX_NUMBER:
        raise ValueError(f"{_place(node)}a number of more than {_MAX_NUMBER} characters")
    size = 1 + sum(_check(item, sizes, above) for item in items)
    if size > _MAX_VALUES:
        raise ValueError(_TOO_MANY)
    above.remove(id(node))
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"{_place(key)}a key must be a word or a number")
        name = (key.tag, key.value)
        if name in seen:
            raise ValueError(f"{_place(key)}the key {key.value!r:.80} is given twice")
        seen.add(name)


def _place(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}: "
