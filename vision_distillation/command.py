"""`vision-distillation COMMAND ...`: every command of the toolkit by one name."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from Common.commands.exits import exit_with_message
from Common.commands.wording import aligned
from Common.errors import UserError
from Common.names import nearest

NAME = "vision-distillation"


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
    "teach-hopper": Command("Train_Teacher.Hopper", "run the Hopper study"),
    "teach-atari": Command("Train_Teacher.Atari", "train a teacher of an Atari game"),
    "teach-procgen": Command("Train_Teacher.Procgen", "train a teacher of a Procgen game"),
    "teach": Command("Train_Teacher.Custom", "train a teacher of your own environment"),
    "convert": Command("Models.teacher", "convert an agent of SB3 to a teacher", ("convert",)),
    "inspect": Command("Models.teacher", "print the contents of a teacher", ("inspect",)),
    "dataset": Command("Enviroment.dataset", "inspect, verify, repair and exchange datasets"),
    "evaluate": Command("Evaluation.evaluate", "evaluate a student on unseen seeds"),
    "export": Command("Evaluation.export", "export a student as ONNX or TorchScript"),
    "report": Command("Evaluation.report", "make a page of runs"),
    "table": Command("Evaluation.table", "print a table of runs"),
    "plots": Command("Evaluation.plots", "draw the learning curves of runs"),
    "stats": Command("Evaluation.stats", "compare methods with intervals"),
    "robustness": Command("Evaluation.robustness", "evaluate a student on changed frames"),
    "sight": Command("Evaluation.sight", "measure what a student's eyes are worth"),
    "saliency": Command("Evaluation.saliency", "show what a student looks at"),
    "linear-probe": Command("Evaluation.linear_probe", "measure what proprioception gives away"),
    "blind": Command("Evaluation.blind", "measure a blind student, the zero of skill"),
    "gallery": Command("Evaluation.gallery", "film a student's worst and best episodes"),
    "side-by-side": Command("Evaluation.side_by_side", "film several students together"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named command. An unknown one exits with code 2 and one message on stderr."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(f"{NAME} COMMAND [flags]\n\n{_listed()}\n\nThe flags: {NAME} COMMAND --help")
        return
    with exit_with_message():
        if name not in COMMANDS:
            raise UserError(
                f"There is no command {name!r}. Did you mean {nearest(name, COMMANDS)}?"
            )
    command = COMMANDS[name]
    # Some commands read `sys.argv`. The first word is replaced by the path of the module.
    sys.argv[1:] = [*command.arguments, *rest]
    runpy.run_module(command.module, run_name="__main__", alter_sys=True)


def _listed() -> str:
    return aligned({f"  {name}": command.summary for name, command in COMMANDS.items()})


if __name__ == "__main__":
    main()
