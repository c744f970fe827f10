"""Every command of the toolkit, and the words by which this installation starts it.

Code and messages name commands as in a checkout: `python Distillation/Pusher.py --PPD` or
`python -m Evaluation.evaluate RUN`. `as_typed` turns that into what the user has to type, which is
`vision-distillation pusher --PPD` for an installed package, or after a start by that command.
`UserError` does so for its message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from Common.places import IN_CHECKOUT

NAME = "vision-distillation"  # of the package, and of its console command


@dataclass(frozen=True)
class Command:
    """A command, and the module that runs it."""

    module: str
    summary: str
    arguments: tuple[str, ...] = ()  # put before those of the command line


COMMANDS = {
    "demo": Command("Evaluation.demo", "play a shipped student beside its teacher"),
    "pusher": Command("Distillation.Pusher", "distil a teacher of Pusher"),
    "reacher": Command("Distillation.Reacher", "distil a teacher of Reacher"),
    "mujoco": Command("Distillation.MuJoCo", "distil a teacher of a MuJoCo task, --env NAME"),
    "hopper": Command("Distillation.Hopper", "distil a teacher of the Hopper study, --env NAME"),
    "atari": Command("Distillation.Atari", "distil a teacher of an Atari game, --env NAME"),
    "procgen": Command("Distillation.Procgen", "distil a teacher of a Procgen game, --env NAME"),
    "run": Command("Distillation.Custom", "distil a teacher of your own environment, --env_id ID"),
    "sweep": Command("Distillation.sweep", "run a grid of methods, settings and seeds"),
    "teach-pusher": Command("Train_Teacher.Pusher", "train a teacher of Pusher"),
    "teach-reacher": Command("Train_Teacher.Reacher", "train a teacher of Reacher"),
    "teach-mujoco": Command("Train_Teacher.MuJoCo", "train a teacher of a MuJoCo task"),
    "teach-hopper": Command(
        "Train_Teacher.Hopper", "train a Hopper teacher, or run the Hopper study"
    ),
    "teach-atari": Command("Train_Teacher.Atari", "train a teacher of an Atari game"),
    "teach-procgen": Command("Train_Teacher.Procgen", "train a teacher of a Procgen game"),
    "teach": Command("Train_Teacher.Custom", "train a teacher of your own environment"),
    "convert": Command("Models.teacher", "convert an agent of SB3 to a teacher", ("convert",)),
    "inspect": Command("Models.teacher", "print the contents of a teacher", ("inspect",)),
    "dataset": Command("Enviroment.dataset", "inspect, verify, repair and exchange datasets"),
    "evaluate": Command("Evaluation.evaluate", "evaluate a student on unseen seeds"),
    "export": Command("Evaluation.export", "export a student as ONNX or TorchScript"),
    "report": Command("Evaluation.report", "write the report page of runs"),
    "table": Command("Evaluation.table", "print a table of runs"),
    "plots": Command("Evaluation.plots", "draw the learning curves of runs"),
    "stats": Command("Evaluation.stats", "compare methods with intervals"),
    "robustness": Command("Evaluation.robustness", "evaluate a student under disturbances"),
    "look": Command("Evaluation.look", "show the random looks that a student is trained on"),
    "sight": Command("Evaluation.sight", "test whether a student uses its frames"),
    "saliency": Command("Evaluation.saliency", "show which pixels actions depend on"),
    "linear-probe": Command("Evaluation.linear_probe", "predict the state from proprioception"),
    "blind": Command("Evaluation.blind", "measure a blind student, the zero of skill"),
    "imitability": Command("Distillation.imitability", "measure how well a teacher can be cloned"),
    "side-by-side": Command("Evaluation.side_by_side", "film several students together"),
    "gallery": Command("Evaluation.gallery", "film the worst and the best episodes of a student"),
    "push": Command("Sharing.push", "push a student, teacher or dataset to the Hugging Face Hub"),
    "pull": Command("Sharing.pull", "pull a student, teacher or dataset from the Hub"),
    "pack": Command("Evaluation.pack", "keep runs as evidence, without their weights"),
    "evidence": Command("Evaluation.evidence", "list and check the data of the published results"),
}

_NAMES = {(command.module, *command.arguments): name for name, command in COMMANDS.items()}
_SHARED = {command.module for command in COMMANDS.values() if command.arguments}
_SCRIPT = re.compile(r"(?:\bpython )?(?<![\w/.-])(Distillation|Train_Teacher)/(\w+)\.py\b")
_MODULE = re.compile(r"\bpython -m ([A-Z]\w+\.\w+)(?: ([a-z]+)\b)?")
_EXTRA = re.compile(r"(pip install (?:--force-reinstall )?)(?:-e )?'\.(\[\w+\])'")

_by_console = not IN_CHECKOUT


def use_console_names() -> None:
    """Name commands as the console command does from now on, in a checkout as well."""
    global _by_console
    _by_console = True


def by_console() -> bool:
    """Return whether commands are typed as `vision-distillation NAME`."""
    return _by_console


def as_typed(text: str) -> str:
    """Return a text in which every command of the toolkit is written as the user types it.

    In a checkout, that is the text itself. Otherwise scripts and modules become names of the
    console command, and extras those of the package.
    """
    if not _by_console:
        return text
    text = _SCRIPT.sub(lambda match: _named(match, f"{match[1]}.{match[2]}"), text)
    text = _MODULE.sub(_module_named, text)
    return _EXTRA.sub(rf"\1'{NAME}\2'", text)


def console_name(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the name of a command for the console command, and the arguments after it.

    Args:
        words: those after `python`: `-m` and a module, or a script relative to the checkout; then
            the arguments.

    Raises:
        KeyError: it is no command of the toolkit.
    """
    is_module = words[0] == "-m"
    place, *rest = words[1:] if is_module else words
    module = place if is_module else place.removesuffix(".py").replace("/", ".")
    n_own = 1 if module in _SHARED else 0
    return _NAMES[module, *rest[:n_own]], rest[n_own:]


def _named(match: re.Match[str], module: str) -> str:
    name = _NAMES.get((module,))
    return match[0] if name is None else f"{NAME} {name}"


def _module_named(match: re.Match[str]) -> str:
    module, word = match[1], match[2]
    if (module, word) in _NAMES:
        return f"{NAME} {_NAMES[module, word]}"
    if module in _SHARED:  # its commands follow as words of their own
        typed = NAME
    elif (module,) in _NAMES:
        typed = f"{NAME} {_NAMES[module,]}"
    else:
        return match[0]
    return typed if word is None else f"{typed} {word}"
