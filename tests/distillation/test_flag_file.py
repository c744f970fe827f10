"""`--config FILE`: its values are judged as those of the command line are, which goes before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from Common.errors import UserError
from Distillation.flags.parse import parse
from Distillation.flags.resolve import Flags
from Enviroment.tasks import TASKS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def read(file: Path, text: str, *more: str, task: str = "Pusher") -> Flags:
    file.write_text(text)
    return parse(TASKS[task], ["--config", str(file), *more])


@pytest.mark.parametrize(
    "text",
    [
        "PPD: true\nlearning_rate: 1e-3\nnum_envs: 8\nteacher: 3\nblind: false\nvideo: false\n",
        '{"PPD": true, "learning_rate": 1e-03, "num_envs": 8, "teacher": "3", "video": false}',
    ],
)
def test_values_are_of_the_flags_types(file: Path, text: str) -> None:
    typed = parse(
        TASKS["Pusher"],
        ["--PPD", "--learning_rate", "1e-3", "--num_envs", "8", "--teacher", "3", "--no_video"],
    )
    found = read(file, text)
    assert found.run.config == file
    assert found.training == typed.training
    assert found.teaching == typed.teaching
    assert (found.run.video, found.student) == (False, typed.student)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("num_envs: 8.5", ("--num_envs", "8.5")),
        ("num_envs: eight", ("--num_envs", "eight")),
        ("num_envs: [8]", ("--num_envs has one value",)),
        ("learning_rate: {a: 1}", ("--learning_rate has one value",)),
        ("mode: Foo", ("--mode", "Foo", "ImpaalaSmall")),
        ("PPD: 'no'", ("--PPD is a switch", "'no'")),
        ("blind: 1", ("--blind is a switch",)),
        ("output: no", ("--output is no switch", "in quotes")),
        ("config: more.yaml", ("--config cannot be nested",)),
        ("gama: 1", ("gama (did you mean gamma?)",)),
        ("3: 1", ("no flag: 3",)),
        ("proprio: '0:2'", ("proprio (it defines the task: give --proprio on the command line)",)),
        ("env: Hopper", ("env (it defines the task: give --env on the command line)",)),
    ],
)
def test_a_wrong_value_names_file_and_flag(
    file: Path, text: str, messages: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as error:
        read(file, text, "--PPO")
    for message in (str(file), *messages):
        assert message in str(error.value)


def test_the_command_line_goes_before_it(file: Path) -> None:
    text = "PPD: true\nnum_envs: 8\nvideo: false\nblind: true\nmode: ImpaalaSmall\n"
    assert read(file, text, "--num_envs", "4").training.num_envs == 4
    assert read(file, text, "--video").run.video
    assert read(file, text, "--PPD").method.name == "PPD"  # said twice
    assert not read(file, text, "--no_blind").student.blind
    assert read(file, text, "--no_PPD", "--PPO").method.name == "PPO"
    with pytest.raises(UserError, match="exactly one method"):
        read(file, text, "--PPO")


def test_null_is_the_default(file: Path) -> None:
    assert (
        read(file, "PPD: true\nlearning_rate: null", task="Hopper").on_policy().learning_rate
        == 3e-4
    )
    assert read(file, "PPD: null", "--PPO").method.name == "PPO"


def test_the_method_of_a_file_decides_the_papers_settings(file: Path) -> None:
    cloned = read(file, "BC_phase: true", task="Atlantis")
    assert (cloned.clone().learning_rate, cloned.clone().batch_size) == (1e-3, 128)
    assert read(file, "PPD: true\ndetach_ratio: true", task="Hopper").training.detach_ratio
    assert not read(file, "PPD: true\ndetach_ratio: false", task="Hopper").training.detach_ratio
    switched = read(file, "PPD: true", "--no_PPD", "--BC_phase", task="Hopper")
    assert switched.clone().batch_size == 128


def test_a_file_is_refused_what_a_command_line_is(file: Path) -> None:
    with pytest.raises(UserError, match="--num_epochs: only with --PPD, --PPO"):
        read(file, "Sdistillation: true\nnum_epochs: 9")


def test_a_negated_switch_is_told_its_form(file: Path) -> None:
    with pytest.raises(UserError, match=r"no_video \(write `video: false`\)"):
        read(file, "PPD: true\nno_video: true")
