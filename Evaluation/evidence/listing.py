"""Print the list of tables and figures, and the outcome of the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.errors import UserError
from Common.names import counted
from Evaluation.evidence.checks import repeat, unlisted, wrong_numbers
from Evaluation.evidence.items import data_hash, read_items

if TYPE_CHECKING:
    from Evaluation.evidence.__main__ import EvidenceFlags


def show_evidence(flags: EvidenceFlags) -> None:
    """Print an entry per table and figure.

    Raises:
        UserError: a table or figure is not listed, or differs from its data.
    """
    items = read_items(flags.root)
    problems = [f"Not in the list: {name}" for name in unlisted(flags.root, items)]
    for item in items:
        digest = data_hash(flags.root, item)
        kept = f"{', '.join(item.data)}  sha256 {digest[:12]}" if digest else "not kept"
        print(f"{item.title}\n  command  {item.command}\n  data     {kept}")
        problems += wrong_numbers(flags.root, item)
        if item.redraws and flags.redraw is not None:
            problem = repeat(flags.root, item, flags.redraw)
            problems += [problem] if problem else []
    if problems:
        raise UserError("\n".join(problems))
    n_checked = sum(bool(item.means or item.runs or item.redraws) for item in items)
    print(f"{counted(len(items), 'item')}, {n_checked} of them computed from their data.")
