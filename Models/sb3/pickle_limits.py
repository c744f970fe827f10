"""What a pickle may ask of Python's unpickler, found out from its opcodes before it runs.

The unpickler does what it is told without limits: a memo of any length, objects nested deeper than
the C stack, which ends the process, or millions of steps.
"""

from __future__ import annotations

import pickletools

_MAX_OPCODES = 300_000  # a VecNormalize or a state dict needs some thousands
_MAX_DEPTH = 100  # objects made of others, each of the next
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_MARK = -1  # on the stack of depths


def check_limits(content: bytes) -> None:
    """Refuse a pickle that could exhaust memory, time or the C stack.

    Raises:
        ValueError: it could, or it is no pickle; says why.
    """
    stack: list[int] = []  # of each object, how deep others are nested in it; or _MARK
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
    """Do to the stack of depths what an opcode does to the stack of objects.

    A list that grows after it was kept counts as it was when it was kept. That is enough: only
    what never grows, a tuple, is ever walked by recursion, to be hashed as a key.
    """
    taken: list[int] = []
    if pickletools.markobject in opcode.stack_before:
        while stack and (depth := stack.pop()) != _MARK:
            taken.append(depth)
        n_below = opcode.stack_before.index(pickletools.markobject)
    else:
        n_below = len(opcode.stack_before)
    for _ in range(n_below):
        # A mark where an object should be: the unpickler itself refuses that.
        taken.append(max(stack.pop(), 0) if stack else 0)
    if opcode.name == "MARK":
        stack.append(_MARK)
    elif opcode.name == "DUP":
        stack += taken * 2
    else:
        deepest = 1 + max(taken) if taken else 0
        stack += [deepest] * len(opcode.stack_after)
