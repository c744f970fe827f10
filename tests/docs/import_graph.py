"""The imports between the packages' modules, read from their source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path


def import_graph(root: Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """Return which modules each module imports, at its top or in a function, by dotted names.

    What stands under `if TYPE_CHECKING:` is never run, and is left out. A name that a package
    defines or re-exports counts as an import of the package.
    """
    paths = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {
        name: set(_imported(ast.parse(path.read_text()), paths)) - {name}
        for name, path in paths.items()
    }


def _imported(tree: ast.AST, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, "Imports are absolute."
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules:
                    yield full
                elif node.module in modules:
                    yield node.module


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those of a body under `if TYPE_CHECKING:`."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        children = iter(node.orelse)
    for child in children:
        yield from _executed(child)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return each circle of imports once, as the modules that reach each other."""
    reached = {name: _reached(graph, name) for name in graph}
    found = []
    for name in sorted(graph):
        circle = sorted(other for other in reached[name] if name in reached[other])
        if name in reached[name] and circle not in found:
            found.append(circle)
    return found


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph[name])
    return seen
