"""Grids: what their files mean, and that all their mistakes are told before anything starts."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from Common.errors import UserError
from Common.places import ROOT
from Distillation.flags.in_force import effective_settings
from Distillation.flags.parse import parse
from Distillation.sweeps.checks import GridError, check_grid
from Distillation.sweeps.command import main
from Distillation.sweeps.grid import Grid, read_grid
from Enviroment.tasks import get_task
from Models.teacher.policy import Teacher
from tests.support.short_run import write_teacher

EXAMPLES = sorted((ROOT / "Distillation/grids").glob("*.yaml"))


def grid(tmp_path: Path, text: str, **changes: object) -> Grid:
    path = tmp_path / "g.yaml"
    path.write_text(text)
    return read_grid(path, changes, tmp_path / "out")


def problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(GridError) as error:
        check_grid(grid(tmp_path, text))
    return str(error.value)


def commands(found: Grid) -> dict[str, str]:
    return {run.name: " ".join(run.arguments()) for run in found.runs}


# -- what a grid means ----------------------------------------------------------------------------


def test_either_spelling_of_impala_names_the_same_run(tmp_path):
    text = "tasks: Pusher\nmethods: PPD\nmodes: {}\n"
    one, other = (grid(tmp_path, text.format(mode)) for mode in ("ImpalaMid", "ImpaalaMid"))
    assert commands(one) == commands(other) and "ImpaalaMid" in one.runs[0].name


def test_every_combination_is_a_command_and_a_folder(tmp_path):
    found = grid(
        tmp_path,
        """
        tasks: [Pusher, Hopper]
        methods: PPD
        lambda: [0.5, 5]
        seeds: [0, 1]
        flags: {num_envs: 8}
        """,
    )
    assert commands(found) == {
        f"{task}/PPD/lambda{weight}_run{seed}": (
            f"--PPD --num_envs 8 --PPD_parameter {weight} --run_index {seed}"
        )
        for seed in (0, 1)
        for task in ("Pusher", "Hopper")
        for weight in (0.5, 5)
    }
    # All of seed 0 comes first.
    assert [run.settings["run_index"] for run in found.runs] == [0] * 4 + [1] * 4
    assert (found.threads, found.retries, found.cpus, found.gpus) == (1, 1, 1, 0)
    assert found.output == tmp_path / "out"


def test_blocks_add_to_what_they_share(tmp_path):
    found = grid(
        tmp_path,
        """
        tasks: Pusher
        modes: State
        flags: {num_envs: 8, gamma: 0.9}
        grids:
          - {methods: PPD, lambda: [1, 2]}
          - {methods: [Sdistillation, PPO], flags: {gamma: 0.99}}
          - {methods: PPO, name: few, modes: ImpaalaSmall, flags: {num_envs: 2}}
        """,
    )
    assert commands(found) == {
        "Pusher/PPD/State_lambda1_run0": (
            "--PPD --num_envs 8 --gamma 0.9 --mode State --PPD_parameter 1 --run_index 0"
        ),
        "Pusher/PPD/State_lambda2_run0": (
            "--PPD --num_envs 8 --gamma 0.9 --mode State --PPD_parameter 2 --run_index 0"
        ),
        "Pusher/Sdistillation/State_run0": (
            "--Sdistillation --num_envs 8 --gamma 0.99 --mode State --run_index 0"
        ),
        "Pusher/PPO/State_run0": "--PPO --num_envs 8 --gamma 0.99 --mode State --run_index 0",
        "Pusher/PPO/few_ImpaalaSmall_run0": (
            "--PPO --num_envs 2 --gamma 0.9 --mode ImpaalaSmall --run_index 0"
        ),
    }


def test_teachers_by_seed_and_by_task(tmp_path):
    found = grid(
        tmp_path,
        """
        tasks: [Pusher, Hopper]
        methods: PPO
        teachers: "/t/{task}/ppo_{teacher_seed}"
        teacher_seeds: [100, 200]
        """,
    )
    assert {run.name: run.settings["teacher"] for run in found.runs} == {
        f"{task}/PPO/ppo_{seed}_run0": f"/t/{task}/ppo_{seed}"
        for task in ("Pusher", "Hopper")
        for seed in (100, 200)
    }
    named = grid(tmp_path, "{tasks: Pusher, methods: PPO, teachers: {mine: a/t, yours: b/t}}")
    assert [run.name for run in named.runs] == ["Pusher/PPO/mine_run0", "Pusher/PPO/yours_run0"]
    assert named.runs[0].settings["teacher"] == str(Path("a/t").absolute())


def test_switches_are_said_from_the_side_that_is_not_the_default(tmp_path):
    text = "{tasks: %s, methods: PPD, flags: {video: false, blind: true, detach_ratio: %s}}"
    for task, on, said in (
        ("Pusher", "true", ""),
        ("Pusher", "false", " --no_detach_ratio"),
        ("Hopper", "true", " --detach_ratio"),  # the paper's default is off
        ("Hopper", "false", ""),
    ):
        (run,) = grid(tmp_path, text % (task, on)).runs
        assert " ".join(run.arguments()) == f"--PPD --no_video --blind{said} --run_index 0"


def test_null_is_the_default_of_a_flag_and_values_can_be_named(tmp_path):
    found = grid(tmp_path, "{tasks: Pusher, methods: PPO, axes: {learning_rate: [null, 1e-4]}}")
    assert commands(found) == {
        "Pusher/PPO/learning_ratedefault_run0": "--PPO --run_index 0",
        "Pusher/PPO/learning_rate1e-4_run0": "--PPO --learning_rate 1e-4 --run_index 0",
    }
    found = grid(tmp_path, "{tasks: Pusher, methods: PPO, axes: {init_from: {one: a/b, two: c/b}}}")
    assert [Path(run.name).name for run in found.runs] == ["init_fromone_run0", "init_fromtwo_run0"]
    assert [run.settings["init_from"] for run in found.runs] == ["a/b", "c/b"]


def test_changes_take_the_place_of_keys_flags_and_axes(tmp_path):
    text = """
    tasks: [Pusher, Hopper]
    methods: PPO
    seeds: [0, 1, 2]
    retries: 5
    flags: {gamma: 0.9}
    grids: [{axes: {num_envs: [4, 8]}, flags: {gamma: 0.5}}]
    """
    found = grid(tmp_path, text, tasks="Hopper", seeds=[1], retries=0, gamma=0.7, num_envs=2)
    assert commands(found) == {
        "Hopper/PPO/run1": "--PPO --gamma 0.7 --num_envs 2 --run_index 1",
    }
    assert found.retries == 0


def test_an_output_that_is_changed(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text("{tasks: Pusher, methods: PPO, output: here}")
    assert read_grid(path, {"output": str(tmp_path / "there")}, None).output == tmp_path / "there"
    assert read_grid(path, {}, tmp_path / "there").output == tmp_path / "there"
    with pytest.raises(UserError, match="--output and --set output both"):
        read_grid(path, {"output": "x"}, tmp_path / "there")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_have_no_mistakes(path):
    whole = read_grid(path, {}, None)
    assert whole.runs
    # One task and size, or it takes a minute: tyro reads a command line in a tenth of a second.
    sizes = {"sizes": "same"} if "size" in whole.runs[0].settings else {}
    found = read_grid(path, {"tasks": whole.runs[0].task.name, **sizes}, None)
    assert not (whole.problems or found.problems)
    if found.runs[0].task.is_game and not importlib.util.find_spec("envpool"):
        pytest.skip("without EnvPool there are no games")
    try:
        check_grid(found)
    except GridError as error:  # teachers and datasets that are not made yet, and nothing else
        for line in str(error).splitlines()[1:]:
            assert "no teacher" in line.lower() or "no dataset" in line.lower()


def test_there_are_examples():
    assert len(EXAMPLES) >= 2


# -- mistakes -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """The beginning of a grid without mistakes."""
    teacher = write_teacher(tmp_path_factory.mktemp("teacher"))
    return f"tasks: Pusher\nmethods: PPD\nteachers: {{t: {teacher}}}\n"


def test_all_mistakes_are_told_at_once(tmp_path):
    told = problems(
        tmp_path,
        """
        taks: Pusher
        tasks: [Pusher, Pushr]
        methods: [PPD, Sdistillation, Sdistilation, C_data]
        lambda: [1, 5]
        modes: [State, Impala]
        seeds: [0, 256]
        teachers: /nowhere/ppo
        threads: 0
        retries: many
        resources: {gpu: 1, gpus: 1.5}
        flags: {total_timestep: 3, output: x, num_envs: 0, gamma: [1, 2], no_video: true}
        axes: {run_index: [1], clip_rang: 0.1}
        """,
    )
    for mistake in (
        "no key 'taks'. Did you mean tasks",
        "no task 'Pushr'. Did you mean Pusher",
        "no method 'Sdistilation'. Did you mean Sdistillation",
        "C_data makes no student",
        "--PPD_parameter: only with --PPD",
        "Give the methods that use them a block of their own under `grids`",
        "invalid choice 'Impala' for argument '--mode'",
        "--run_index 256 is outside 0 to 255",
        "There is no teacher at /nowhere/ppo",
        "threads: 0 is no integer",
        "retries: 'many' is no integer",
        "resources: there is no key 'gpu'. Did you mean gpus",
        "resources: gpus: 1.5",
        "no flag 'total_timestep'. Did you mean total_timesteps",
        "no flag 'no_video': write `video: false`",
        "flags: output is set otherwise",
        "--num_envs 0 must be at least 1. (Pusher/PPD/State_lambda1_ppo_run0, ",
        "flags: gamma has one value",
        "axes: run_index is set otherwise. List indices under `seeds`",
        "no flag 'clip_rang'. Did you mean clip_range",
    ):
        assert told.count(mistake) == 1, (mistake, told)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("frame_size: 8x8", "between 16 and 1024"),
        ("size: tiny", "invalid choice 'tiny'"),
        ("size: same", "--size"),  # Pusher is in no suite of the paper's
        ("total_timesteps: 10", "below one rollout"),
        ("init_from: /nowhere", "/nowhere"),
        ("lambda_schedule: 3", "invalid choice '3'"),
    ],
)
def test_the_scripts_own_parser_judges_flags(more, told, ready, tmp_path):
    assert told in problems(tmp_path, f"{ready}flags: {{{more}}}")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("seeds: [0, 0]", "run0 appears twice: list each value once"),
        ("resources: {gpus: .inf}", "resources: gpus: inf is neither in [0, 1] nor an integer"),
        ("axes: {init_from: [a/student, b/student]}", "name the values of an axis"),
        ("grids: [{}, {flags: {gamma: 0.9}}]", "give one of the blocks a `name`"),
        ("grids: [{output: x}]", "grids: there is no key 'output'"),
        ("seeds: []", "seeds has no values"),
        ("seeds: [x]", "seeds: 'x' is no integer"),
        ("teacher_seeds: [1]", "lacks {teacher_seed}"),
        ("lambda: 1\nflags: {PPD_parameter: 2}", "PPD_parameter is given twice"),
        ("lambda: 1\naxes: {PPD_parameter: [2]}", "PPD_parameter has a key of its own"),
        ("flags: [gamma]", "`flags` holds flags and their values"),
        ("resources: 2", "resources: give"),
        ("grids: [{methods: BC_phase, flags: {dataset: /nowhere}}]", "no dataset at /nowhere"),
        ("flags: {collect_missing: true}", "collect it first"),
        ("grids: [{methods: BC_phase, flags: {dataset: 99}}]", "--C_data --num_data 99` and"),
        ("grids: [{tasks: Hopper}]", "holds a teacher of Pusher"),
        ("flags: {blind: 3}", "--blind is a switch: give true or false, not 3"),
        ("flags: {device: off}", "--device is no switch"),
        ("axes: {alpha: [{a: 1}]}", "--alpha has one value"),
        ("flags: {kl_direction: reverse}\nmethods: [PPD, PPO]", "--PPO does not use these"),
    ],
)
def test_each_mistake_of_a_grid(more, told, ready, tmp_path):
    given = {line.partition(":")[0] for line in more.splitlines()}
    kept = [line for line in ready.splitlines() if line.partition(":")[0] not in given]
    assert told in problems(tmp_path, "\n".join([*kept, more]))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("axes: 3", "`axes` holds flags and their values"),
        ("flags: 3", "`flags` holds flags and their values"),
        ("flags: 3\ngrids: [{flags: {gamma: 0.9}}]", "`flags` holds flags and their values"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"gamma": 0.5}])
def test_what_is_changed_can_be_wrong_already(changes, more, told, ready, tmp_path):
    assert told in "\n".join(grid(tmp_path, ready + more, **changes).problems)


def test_blocks_cannot_be_changed(ready, tmp_path):
    assert grid(tmp_path, ready, grids=[{}]).problems == (
        "--set cannot change `grids`. Change its blocks in the file.",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b", "must hold keys and values"),
        ("a: [", "is not YAML"),
        ("grids: 3", "`grids` is a list of mappings"),
    ],
)
def test_what_is_no_grid(text, told, tmp_path):
    with pytest.raises(UserError, match=told):
        grid(tmp_path, text)
    with pytest.raises(UserError, match="cannot be read"):
        read_grid(tmp_path / "missing.yaml", {}, None)


def test_without_tasks_and_methods(tmp_path):
    told = problems(tmp_path, "seeds: 0")
    assert "`tasks` is missing: one or more of" in told
    assert "`methods` is missing: one or more of PPD" in told


def test_a_folder_that_holds_another_run_is_not_taken_for_this_one(ready, tmp_path):
    found = grid(tmp_path, f"{ready}flags: {{gamma: 0.9}}")
    (run,) = found.runs
    folder = found.output / run.name
    folder.mkdir(parents=True)
    sha256 = Teacher.load(run.settings["teacher"]).description.sha256

    def write(*flags: str, teacher: str = sha256, **changed: float) -> None:
        told = parse(get_task("Pusher"), ["--PPD", "--gamma", "0.9", *flags])
        config = {"task": "Pusher", "method": "PPD", **effective_settings(told)}
        config["training"] |= changed
        described = {"config": config, "teacher_sha256": teacher}
        (folder / "config.json").write_text(json.dumps(described, default=str))

    write("--device", "cpu", "--threads", "3", "--wandb", "disabled")  # no other run for that
    check_grid(found)
    write("--num_envs", "4", learning_rate=0.005)  # a flag, and another default of that version
    with pytest.raises(GridError, match=r"rate was 0.005 and is 0.001; .*num_envs was 4 and is 18"):
        check_grid(found)
    write(teacher="other")
    with pytest.raises(GridError, match="teacher_sha256: other"):
        check_grid(found)
    (folder / "config.json").write_text("[]")
    with pytest.raises(GridError, match="does not describe a run"):
        check_grid(found)


def test_the_command_tells_a_bad_grid_and_exits_with_2(tmp_path, capsys):
    path = tmp_path / "g.yaml"
    path.write_text(yaml.safe_dump({"tasks": "Pushr", "methods": "PPO"}))
    with pytest.raises(SystemExit) as exit_:
        main([str(path), "--output", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert "no task 'Pushr'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--jobs", "0"), "--jobs 0 must be at least 1"),
        (("--ray", "--ray_address", "a:1"), "give only one"),
        (("--set", "gamma"), "give KEY=VALUE"),
        (("--set", "gamma=["), "is not YAML"),
    ],
)
def test_bad_flags_of_the_command(flags, told, ready, tmp_path, capsys):
    (tmp_path / "g.yaml").write_text(ready)
    with pytest.raises(SystemExit) as exit_:
        main([str(tmp_path / "g.yaml"), *flags])
    assert exit_.value.code == 2
    assert told in capsys.readouterr().err


def test_a_dry_run_prints_commands_that_the_scripts_take(ready, tmp_path, capsys):
    (tmp_path / "g.yaml").write_text(f"{ready}threads: 2\noutput: {tmp_path}/out\n")
    with pytest.raises(SystemExit) as exit_:
        main([str(tmp_path / "g.yaml"), "--dry_run", "--set", "num_envs=4"])
    assert exit_.value.code == 0
    (line,) = capsys.readouterr().out.splitlines()
    program, script, *flags = line.split()
    assert (program, script) == ("python", "Distillation/Pusher.py")
    assert flags[-5:-3] == ["--output", f"{tmp_path}/out/Pusher/PPD/t_run0"]
    assert flags[-3:] == ["--threads", "2", "--resume"]
    assert "--num_envs 4" in line
    assert not (tmp_path / "out").exists()
    parse(get_task("Pusher"), flags)
