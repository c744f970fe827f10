"""Check the opcodes of a pickle against limits before it is unpickled.

The unpickler has no limits of its own: a pickle may need a memo of any length, objects nested
deeper than the C stack, which ends the process, or millions of steps.
"""

from __future__ import annotations

import pickletools

_MAX_OPCODES = 300_000  # a VecNormalize or a state dict needs a few thousand
_MAX_DEPTH = 100  # of nested objects
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_MARK = -1  # on the stack of depths


def check_limits(content: bytes) -> None:
    """Raise ValueError for a pickle that could exhaust memory, time or the C stack."""
    stack: list[int] = []  # depth of nesting in each object; or _MARK
    memo: dict[int, int] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if count >= _MAX_OPCODES:
            raise ValueError(f"it takes more than {_MAX_OPCODES:,} steps")
        if opcode.name in _PUTS:
            if not isinstance(argument, int) or argument > len(content):
                n = len(content)
                raise ValueError(f"it keeps an object as number {argument}, of {n} bytes")
            memo[argument] = stack[-1] if stack else 0
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = stack[-1] if stack else 0
        elif opcode.name in _GETS:
            stack.append(memo.get(argument, 0) if isinstance(argument, int) else 0)
        else:
            _follow(opcode, stack)
        if stack and stack[-1] > _MAX_DEPTH:
            raise ValueError(f"its objects are nested more than {_MAX_DEPTH} deep")


def _follow(opcode: pickletools.OpcodeInfo, stack: list[int]) -> None:
    """Apply an opcode to the stack of depths as to the stack of objects.

    A list that grows after it was memoized keeps its earlier depth. That is enough: only tuples,
    which never grow, are walked recursively, when they are hashed as keys.
    """
    taken: list[int] = []
    if pickletools.markobject in opcode.stack_before:
        while stack and (depth := stack.pop()) != _MARK:
            taken.append(depth)
        n_below = opcode.stack_before.index(pickletools.markobject)
    else:
        n_below = len(opcode.stack_before)
    for _ in range(n_below):
        # A mark in place of an object: the unpickler itself rejects that.
        taken.append(max(stack.pop(), 0) if stack else 0)
    if opcode.name == "MARK":
        stack.append(_MARK)
    elif opcode.name == "DUP":
        stack += taken * 2
    else:
        deepest = 1 + max(taken) if taken else 0
        stack += [deepest] * len(opcode.stack_after)
