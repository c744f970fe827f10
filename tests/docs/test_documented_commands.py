"""Every command and program in README.md, docs/ and Results/*/README.md works as it is written.

The quick tests check that each is known here and that its flags exist. The slow ones run each with
a short budget in a copy of the checkout, those of one document one after another, as readers do.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

from tests.docs import documented_workplace
from tests.docs.documented_budgets import BUDGETS, Budget, budget_of
from tests.docs.documented_commands import (
    ROOT,
    Command,
    Fence,
    all_commands,
    commands,
    documents,
    fences,
    mentions,
)
from tests.docs.documented_flags import complaint
from tests.docs.documented_programs import PROGRAMS, all_programs, program_of
from tests.docs.documented_workplace import Workplace

COMMANDS = all_commands()
BY_KIND = {command.kind: command for command in reversed(COMMANDS)}
RUNNABLE = {command.fence.document for command in COMMANDS} | {
    program.document for program in all_programs()
}


def test_every_documented_command_is_known_here():
    unknown = [f"{c.fence.where}: {c}" for c in COMMANDS if budget_of(c.words) is None]
    assert not unknown, (
        "Add a row to BUDGETS in documented_budgets.py, with flags that make it short, or "
        "with the reason why it is not run, for:\n" + "\n".join(unknown)
    )


def test_every_row_has_a_command():
    used = {id(budget_of(command.words)) for command in COMMANDS}
    spare = [budget.words for budget in BUDGETS if id(budget) not in used]
    assert not spare, (
        "No document has such a command any more, or an earlier row fits it. Delete from BUDGETS "
        "in tests/docs/documented_budgets.py:\n" + "\n".join(spare)
    )


def test_every_row_checks_something():
    for budget in BUDGETS:
        assert bool(budget.not_run) != bool(budget.leaves or budget.says), budget.words


def test_every_documented_program_is_known_here_and_every_row_has_one():
    unknown = [f"{fence.where}:\n{fence.text}" for fence in all_programs() if not program_of(fence)]
    assert not unknown, "Add to PROGRAMS in tests/docs/documented_programs.py:\n" + "\n".join(
        unknown
    )
    used = {id(program_of(fence)) for fence in all_programs()}
    spare = [program.has for program in PROGRAMS if id(program) not in used]
    assert not spare, "Delete from PROGRAMS in tests/docs/documented_programs.py:\n" + "\n".join(
        spare
    )


def test_no_command_hides_in_a_block_without_a_language():
    for document in documents():
        for fence in fences(document):
            typed = re.search(r"^(python3?|make|pip|torchrun|ray|\$) ", fence.text, re.MULTILINE)
            assert fence.language == "bash" or not typed, f"{fence.where} should be ```bash"


@pytest.mark.parametrize("kind", BY_KIND)
def test_the_flags_of_a_documented_command_exist(kind: str):
    command = BY_KIND[kind]
    said = complaint(command.words)
    assert not said, f"{command.fence.where}: {command}\n{said}"


@pytest.mark.parametrize("mention", mentions(), ids=str)
def test_the_flags_of_a_command_in_a_sentence_exist(mention: Command):
    if mention.words[:2] == ("python", "-m") and len(mention.words) == 3:  # the name of a tool
        assert importlib.util.find_spec(mention.words[2]), f"{mention.fence.where}: {mention}"
    elif len(mention.words) > 1:
        said = complaint(mention.words)
        assert not said, f"{mention.fence.where}: {mention}\n{said}"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("make pushr", "no pushr"),
        ("python Distillation/Pusher.py --PPD --no_such_flag 1", "no_such_flag"),
        ("python Distillation/Pusher.py --PPD --blind", "--mode State has none"),
        ("python Distillation/Pushr.py --PPD", "There is no Distillation/Pushr.py"),
        ("python Train_Teacher/Pusher.py --algo ppo --tau 1", "tau"),
        ("python Distillation/MuJoCo.py --env Hoper --PPD", "Did you mean Hopper"),
        ("python Distillation/Custom.py --env_id a:B-v0 --camra x", "camra"),
        ("python -m Evaluation.sight RUN --no_such_flag", "no_such_flag"),
        ("python -m Enviroment.dataset mend DIR", "mend"),
        ("torchrun --no_such_flag Distillation/Pusher.py", "no_such_flag"),
        ("torchrun Distillation/Pusher.py --PPD --no_such_flag 1", "no_such_flag"),
        ("frobnicate now", "frobnicate"),
    ],
)
def test_flags_that_do_not_exist_are_told(line: str, says: str):
    assert says in complaint(line.split())


def test_bash_reads_the_blocks():
    text = (
        "d=out # a comment\n"
        "for i in 0 1; do\n"
        "    A=1 python train.py --seed $i --size ${i}x \\\n"
        '        --output "$d/my run"   # told\n'
        "done\n"
        "PYTHONPATH=. python look.py >/dev/null\n"
    )
    found = commands(Fence("none.md", 1, "bash", text))
    assert [command.words for command in found] == [
        ("python", "train.py", "--seed", "0", "--size", "0x", "--output", "out/my run"),
        ("python", "look.py"),
    ]
    assert [command.pythonpath for command in found] == ["", "."]
    with pytest.raises(AssertionError, match=r"none\.md:3"):
        commands(Fence("none.md", 3, "bash", "python train.py --output $undefined\n"))


@pytest.mark.parametrize(
    ("line", "budget", "says"),
    [
        ("sha256sum none.txt", Budget("sha256sum", says="none"), "exit code 1\n.*No such file"),
        ("sha256sum a.txt", Budget("sha256sum", says="b.txt"), "did not say 'b.txt', but\n.*a.txt"),
        ("sha256sum a.txt", Budget("sha256sum", leaves=("a.txt",)), "It left no a.txt"),
        ("sleep 9", Budget("sleep"), "sleep 9\n.*timed out"),
    ],
)
def test_what_a_command_does_not_do_is_told(
    line: str, budget: Budget, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(documented_workplace, "TIMEOUT", 0.5)
    (tmp_path / "a.txt").write_text("here already, and not written by the command")
    command = Command(Fence("none.md", 1, "bash", line), tuple(line.split()))
    with pytest.raises(AssertionError, match=f"(?s){says}"):
        Workplace(tmp_path, dict(os.environ)).follow(command, budget)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # a document has up to thirty commands, seconds each
@pytest.mark.parametrize("document", sorted(RUNNABLE))
def test_what_a_document_says_is_done(
    document: str, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    workplace = Workplace.make(tmp_path)
    where = workplace.run(["python", "-c", "import Enviroment; print(Enviroment.__file__)"])
    assert str(ROOT) not in where, f"Runs would be written into the checkout: {where}"
    for fence in fences(document):
        if fence.language == "bash":
            for command in commands(fence):
                with subtests.test(msg=f"{fence.where}: {command}"):
                    budget = budget_of(command.words)
                    assert budget is not None
                    if budget.not_run:
                        pytest.skip(budget.not_run)
                    _need(budget.needs)
                    workplace.follow(command, budget)
        elif program := program_of(fence):
            with subtests.test(msg=f"{fence.where}, a program"):
                _need(program.needs)
                workplace.program(f"program_{fence.line}.py", program.complete(fence.text))


def _need(modules: tuple[str, ...]) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}")
