"""Convert SB3 files to teachers and inspect bundles: `python -m Models.teacher convert|inspect`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from Common.commands.exits import exit_with_message
from Common.commands.redaction import command_line
from Common.errors import fields_as_flags
from Common.program import as_typed
from Models.sb3.softening import Softening


@dataclass(frozen=True)
class Convert:
    """Convert an SB3 zip to a teacher's bundle, without running code from the zip."""

    archive: tyro.conf.Positional[str]
    """SB3's file, or hf://OWNER/REPOSITORY[@REVISION] on the Hugging Face hub."""
    task: str
    """The task that it was trained on, or the Gymnasium id of its environment, which need not be
    installed."""
    output: Path
    """Folder of the bundle; it must not hold one already."""
    env_kwargs: tuple[str, ...] = ()
    """Arguments of an own environment, NAME=VALUE, as for its students."""
    wrapper: str = ""
    """package:Class of wrappers of an own environment, as for its students."""
    vecnormalize: Path | None = None
    """File of VecNormalize.save, if the agent was trained on normalised observations."""
    trust: tuple[str, ...] = ()
    """SHA-256 of files that may be unpickled, which runs the code in them."""
    action_std: float = Softening.action_std
    """TD3, DDPG, ARS: standard deviation around the action, in half widths of its bounds."""
    temperature: float = Softening.temperature
    """DQN, QRDQN, ARS: the policy is softmax(Q / temperature); ARS has scores instead of Q."""
    corrupt_teacher: float = 0.0
    """Standard deviation of noise on every parameter; 0.05 for the paper's imperfect teachers."""
    corrupt_seed: int = 0


@dataclass(frozen=True)
class Inspect:
    """Print the contents of a bundle, after checking its hash."""

    bundle: tyro.conf.Positional[Path]


Command = (
    Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command. Bad input exits with code 2 and one message on standard error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    names = {f.name: f.name for f in fields(Convert)}
    with exit_with_message(), fields_as_flags(names):
        command = tyro.cli(
            Command,  # pyright: ignore[reportArgumentType]
            prog=as_typed("python -m Models.teacher"),
            description="Convert an SB3 agent to a teacher's bundle, or inspect a bundle.",
            args=arguments,
            use_underscores=True,
        )
        # After parsing, because they import torch and SB3.
        from Models.teacher.conversion import convert, describe
        from Models.teacher.policy import Teacher

        if isinstance(command, Convert):
            convert(command, command_line(["python", "-m", "Models.teacher", *arguments]))
            command = Inspect(command.output)
        print(describe(Teacher.load(command.bundle)))


if __name__ == "__main__":
    main()
