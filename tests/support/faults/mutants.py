"""Files with a few mistakes in them: seeded mutants of JSON values, of texts and of bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

# What stands in the place of a value: other types, odd sizes, names that lead elsewhere.
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 1.5, -0.0, 1e-320, 1e308, 10**18, 2**63, 10**30, 2**200),
    *(float("nan"), float("inf"), "", "x", "0", "a\0b", "../../x", "/dev/zero", "é", "\ud800"),
    *("x" * 10_000, [], {}, [[]], [None], ["x"], [0] * 1000, [1.5], {"": 0}, {"x": {"y": []}}),
)
_DEEP = 2000


def json_mutants(value: Any, seed: int, count: int) -> Iterator[str]:
    """JSON texts that differ from that of `value` in one to three places."""
    chance = random.Random(seed)
    for _ in range(count):
        mutant = [copy.deepcopy(value)]
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            _mutate(mutant, chance)
        text = json.dumps(mutant[0]) if mutant else ""
        if chance.random() < 0.02:
            text = text.replace("0", "[" * _DEEP + "]" * _DEEP, 1)
        yield text


def _mutate(root: list[Any], chance: random.Random) -> None:
    places = list(_places(root))
    container, key = chance.choice(places)
    how = chance.randrange(8)
    if how == 0:
        del container[key]
    elif how == 1 and isinstance(container, dict):
        container[chance.choice(["", "x", "é", "sha256", "task"])] = container.pop(key)
    elif how == 2:
        container[key] = [container[key]] * chance.choice((1, 2, 100))
    elif how == 3:
        container[key] = {"x": container[key]}
    elif how == 4:
        other, place = chance.choice(places)
        if place in other if isinstance(other, dict) else place < len(other):
            container[key] = copy.deepcopy(other[place])
    else:
        container[key] = copy.deepcopy(chance.choice(_ODD))
    if not root:
        root.append(None)


def _places(root: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Every container in a value, with each key of it."""
    waiting: list[Any] = [root]
    while waiting:
        container = waiting.pop()
        # Of a long list, its ends: the places within are all alike.
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        for key in keys if len(keys) <= 20 else (*keys[:3], *keys[-3:]):
            yield container, key
            if isinstance(container[key], list | dict):
                waiting.append(container[key])


def byte_mutants(
    content: bytes, seed: int, count: int, words: tuple[bytes, ...]
) -> Iterator[bytes]:
    """Contents with bytes flipped, cut out, doubled, or `words` put between them.

    Args:
        words: what means something in the format.
    """
    chance = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 4))):
            at = chance.randrange(len(mutant) + 1)
            how = chance.randrange(6)
            if how == 0 and at < len(mutant):
                mutant[at] = chance.randrange(256)
            elif how == 1:
                del mutant[at : at + chance.choice((1, 4, 100))]
            elif how == 2:
                mutant[at:at] = mutant[at : at + chance.choice((1, 10, 1000))]
            elif how == 3 and chance.random() < 0.3:
                del mutant[at:]
            else:
                word = chance.choice(words)
                mutant[at : at + chance.choice((0, len(word)))] = word
        yield bytes(mutant)
