"""`python -m Evaluation.blind RUN`: write R_blind, the zero of skill, into a teacher's bundle.

RUN is a run of `Distillation/<Task>.py --PPD --blind`: a student trained like any other, but with
its frames zeroed. Its return on each evaluation seed is kept beside the teacher's, so that
whoever has the bundle can tell skill.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from Enviroment import seeds
from Enviroment.errors import EXIT_BAD_INPUT, UserError
from Enviroment.make import make_env
from Enviroment.observations import FRAME
from Enviroment.tasks import get_task
from Evaluation.evaluate import policy_act, run_episodes
from Evaluation.run_folder import STUDENT, default_teacher
from Evaluation.tracking import CONFIG_FILE
from Models.student_bundle import load_student
from Models.teacher import Teacher, record_baseline

_ENVS = 10


@dataclass(frozen=True)
class BlindFlags:
    """Measure a blind student, and write its returns into its teacher's bundle."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of a run with --blind
    teacher: Path | None = None  # bundle; default: Results/<task>/teachers/sac
    episodes: int = 100  # on the validation and on the evaluation seeds each


def measure_blind(flags: BlindFlags) -> dict[str, list[float]]:
    """The returns by seeds, as they were written.

    Raises:
        UserError: the run is not blind, or had another teacher.
    """
    config = _read_config(flags.run)
    if not config["config"]["student"]["blind"]:
        raise UserError(f"{flags.run} is no blind run: its student saw frames. Train with --blind.")
    task = get_task(config["config"]["task"])
    folder = flags.teacher or default_teacher(task.name)
    if Teacher.load(folder).description.sha256 != config["teacher_sha256"]:
        raise UserError(f"{flags.run} learned from another teacher than the one in {folder}.")
    student = load_student(flags.run / STUDENT)
    h, w = student.all_groups()[FRAME].shape[1:]  # pyright: ignore[reportOptionalSubscript]
    env = make_env(
        dataclasses.replace(task, frame_size=(h, w)), _ENVS, seeds.VALIDATION.start, blind=True
    )
    try:
        stats = {
            name: run_episodes(policy_act(student), env, task, block.start, flags.episodes)
            for name, block in {
                "validation": seeds.VALIDATION,
                "evaluation": seeds.EVALUATION,
            }.items()
        }
    finally:
        env.close()
    returns = {name: s.returns.round(4).tolist() for name, s in stats.items()}
    record_baseline(folder, "blind", returns)
    for name, s in stats.items():
        print(f"blind on {flags.episodes} {name} seeds: {s.returns.mean():.2f}, in {folder}")
    return returns


def _read_config(run: Path) -> dict[str, Any]:
    path = run / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        _ = config["config"]["student"]["blind"], config["config"]["task"], config["teacher_sha256"]
    except OSError:
        raise UserError(f"{run} holds no {CONFIG_FILE}, so it is no run folder.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the configuration of a student's run: {error}") from None
    return config


def main() -> None:
    """The command. Bad input ends it with exit code 2 and one message on stderr."""
    try:
        measure_blind(tyro.cli(BlindFlags, prog="python -m Evaluation.blind", use_underscores=True))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
