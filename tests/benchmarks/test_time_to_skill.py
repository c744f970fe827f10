"""The time to a skill, with commands that only write a record."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.time_to_skill.__main__ import METHODS, Arguments, commands, main, table
from benchmarks.time_to_skill.machine import describe_machine
from benchmarks.time_to_skill.watch import Watched, watch
from Distillation.flags.parse import parse
from Enviroment.tasks import get_task

LEVELS = (0.5, 0.9)
# Writes an evaluation below the first level, one above it, half a line, and its end; then it waits.
SCRIPT = """
import json, pathlib, sys, time
run = pathlib.Path(sys.argv[1])
run.mkdir()
with (run / "metrics.jsonl").open("w", buffering=1) as file:
    for steps, skill in ((0, -7.0), (64, 0.6)):
        point = {"eval/od_skill": skill, "eval/seconds": 2.0, "time/env_steps": steps}
        print(json.dumps(point | {"time/gradient_steps": 2 * steps}), file=file)
    file.write('{"eval/od_skill": 0.')
    file.flush()
    file.write('95, "eval/seconds": 1.0, "time/env_steps": 128, "time/gradient_steps": 9}')
    print(file=file)
time.sleep(600)
"""


def test_levels_have_the_time_of_their_evaluation() -> None:
    watched = Watched()
    watched.seconds, watched.cpu_seconds = 10.0, 7.0
    watched.take({"eval/od_skill": 0.1, "eval/seconds": 3.0}, LEVELS)
    watched.take({"train/loss": 1.0}, LEVELS)
    watched.seconds, watched.cpu_seconds = 30.0, 20.0
    watched.take({"eval/od_skill": 0.92, "eval/seconds": 4.0, "time/env_steps": 5}, LEVELS)
    watched.seconds = 90.0
    watched.take({"eval/od_skill": 0.99, "eval/seconds": 4.0, "time/env_steps": 6}, LEVELS)
    for level in LEVELS:
        reached = watched.reached[level]
        assert (reached.skill, reached.seconds, reached.cpu_seconds) == (0.92, 30.0, 20.0)
        assert reached.training_seconds == 30.0 - 3.0 - 4.0  # both evaluations so far
        assert reached.env_steps == 5
    assert watched.best_skill == 0.99


def test_a_command_is_stopped_at_the_highest_level(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    watched = watch([["-c", ""], [str(script), str(tmp_path / "run")]], tmp_path / "run", LEVELS)
    assert not watched.error
    assert watched.reached[0.5].env_steps == 64
    assert watched.reached[0.9].gradient_steps == 9
    assert watched.reached[0.9].skill == 0.95
    assert watched.evaluation_seconds == 5.0
    assert 0 < watched.reached[0.5].seconds <= watched.reached[0.9].seconds < 300


def test_a_failed_command_is_a_row(tmp_path: Path) -> None:
    failing, never = ["-c", "raise SystemExit(3)"], ["-c", "open('never', 'w')"]
    watched = watch([failing, never], tmp_path / "run", LEVELS)
    assert watched.error.endswith("exited with 3")
    row = {"title": "some method", "run_index": 0, **asdict(watched)}
    assert "failed" in shown([row])
    assert not Path("never").exists()


def test_a_level_that_was_not_reached_is_a_row() -> None:
    watched = Watched(best_skill=0.625)
    text = shown([{"title": "m", "run_index": 1, **asdict(watched)}])
    assert "not reached" in text
    assert "best skill 0.625" in text


def shown(rows: list[dict]) -> str:
    console = Console(width=300, record=True)
    with console.capture() as capture:
        console.print(table(rows, LEVELS))
    return capture.get()


@pytest.mark.parametrize("name", ["ppd", "cloning"])
def test_the_commands_are_the_toolkits(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    made = commands(METHODS[name], run, 3, Arguments(threads=1))
    for script, *flags in made:
        assert script == "Distillation/Pusher.py"
        parsed = parse(get_task("Pusher"), flags)
        assert parsed.training.run_index == 3
    assert parsed.run.output == run
    assert parsed.run.eval_every == METHODS[name].eval_every
    assert parsed.student.mode == "ImpaalaSmall"
    if name == "cloning":  # learns from what the first command collects
        assert made[1][made[1].index("--dataset") + 1] == made[0][made[0].index("--output") + 1]


def test_an_unknown_method_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "result.json"
    assert main(Arguments(methods=("pdd",), output=output)) == 2
    assert "No method pdd" in capsys.readouterr().err
    assert not output.exists()


def test_the_machine_is_described() -> None:
    facts = describe_machine(1)
    assert facts["threads"].startswith("1 of ")
    assert facts["precision"] in ("float32", "bfloat16")
    assert json.dumps(facts)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        assert facts["processor"] in cpuinfo.read_text() or facts["processor"]
