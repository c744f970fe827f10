"""`Distillation/<Task>.py`: one short real run of every flag, and what bad input says."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import Distillation
from Common.errors import UserError
from Common.runs.files import read_metrics
from Distillation.command import main
from Distillation.flags.parse import parse
from Distillation.flags.resolve import Flags
from Enviroment.tasks import TASKS
from Evaluation.blind.__main__ import BlindFlags
from Evaluation.blind.measure import measure_blind
from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Evaluation.evaluate.measure import evaluate
from Models.student.bundle import load_student
from Models.teacher.policy import Teacher, record_baseline
from tests.support.short_run import SHORT, failure, without_time, write_teacher

SCRIPT = Path(Distillation.__file__).parent / "Pusher.py"


def test_a_run_leaves_what_the_readme_promises(pusher: Callable[..., Path]) -> None:
    folder = pusher("--PPD", "--mode", "ImpaalaSmall")
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "metrics.jsonl", "evaluation.json", "curves.png", "student"),
        "checkpoints",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["config"]["student"]["mode"] == "ImpaalaSmall"
    assert config["config"]["training"]["PPD_parameter"] == 5.0
    keys = set().union(*read_metrics(folder))
    assert keys >= {
        *("rollout/kl", "rollout/action_accuracy", "rollout/entropy", "train/pg_loss"),
        *("train/kl_loss", "train/value_loss", "train/ratio_first", "train/explained_variance"),
        *("train/lambda", "time/steps_per_second", "time/gradient_steps", "eval/id_return"),
        *("eval/od_return", "eval/od_object_goal_distance", "eval/od_success"),
        *("eval/action_accuracy", "eval/teacher_return"),
    }
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["teacher_return"] == -20.0
    assert evaluation["first_seed"] == 80_000_000


def test_a_folder_may_have_brackets_in_its_name(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are no markup of the table at the end: `[/b]` closes none, and `[a]` opens none."""
    folder = tmp_path / "x[" / "b] ü[a]"
    where = ("--teacher", str(teacher), "--output", str(folder), "--wandb", "disabled")
    main("Pusher", ["--PPD", *where, *SHORT])
    assert f"student  {folder / 'student'}\n" in capsys.readouterr().out
    assert (folder / "checkpoints" / "finished").exists()


def test_the_shipped_student_repeats_its_evaluation(pusher: Callable[..., Path]) -> None:
    from Enviroment.make import make_env

    folder = pusher("--PPD", "--mode", "State")
    evaluation = json.loads((folder / "evaluation.json").read_text())
    env = make_env(TASKS["Pusher"], 1, 0, blind=True)
    act = policy_act(load_student(folder / "student"))
    stats = run_episodes(act, env, TASKS["Pusher"], 80_000_000, 2)
    env.close()
    assert stats.returns.mean() == pytest.approx(evaluation["return"], abs=1e-4)


@pytest.mark.parametrize(
    "flags",
    [
        ("--PPO", "--mode", "ImpaalaSmall", "--critic_on_state", "--pooling", "1"),
        ("--PPD", "--mode", "ImpaalaMid", "--kl_direction", "reverse", "--no_detach_ratio"),
        ("--PPD", "--mode", "ImpaalaBig", "--blind", "--ent_coef", "0.01", "--num_epochs", "1"),
        (
            "--PPD",
            "--final_learning_rate",
            "1e-4",
            "--gae_lambda",
            "0.9",
            "--gamma",
            "0.5",
            "--clip_range",
            "0.1",
        ),
        ("--PPD", "--learning_rate", "1e-3", "--PPD_parameter", "1", "--min_teacher_std", "0.3"),
        ("--PPD", "--run_index", "3"),
        ("--Sdistillation", "--mode", "ImpaalaSmall", "--init_log_std", "-1.0"),
        ("--Tdistillation", "--mode", "State"),
    ],
)
def test_every_flag_has_a_short_run(pusher: Callable[..., Path], flags: tuple[str, ...]) -> None:
    folder = pusher(*flags)
    config = json.loads((folder / "config.json").read_text())["config"]
    given = {k: v for group in config.values() if isinstance(group, dict) for k, v in group.items()}
    for name, value in itertools.pairwise(flags):
        if name.startswith("--") and not value.startswith("--"):
            assert str(given[name[2:]]) in (value, str(float(value)) if value[0].isdigit() else "")
    assert (folder / "student" / "student.safetensors").is_file()


def test_ppo_has_no_labels(pusher: Callable[..., Path]) -> None:
    keys = set().union(*read_metrics(pusher("--PPO")))
    assert not keys & {"rollout/kl", "train/kl_loss", "rollout/action_accuracy"}


def test_a_budget_in_gradient_steps(pusher: Callable[..., Path]) -> None:
    # A rollout is 8 samples: PPD makes 4 epochs of 2 minibatches of it, a distillation one step.
    for method, expected in (("--PPD", 16), ("--Tdistillation", 9)):
        points = read_metrics(pusher(method, "--optimization_steps", "9", "--overwrite"))
        assert max(p.get("time/gradient_steps", 0) for p in points) == expected


def test_the_teachers_return_is_named_so(pusher: Callable[..., Path]) -> None:
    arguments = ("--total_timesteps", "240", "--mode", "State")
    keys = set().union(*read_metrics(pusher("--Tdistillation", *arguments)))
    assert "rollout/teacher_ep_return" in keys
    assert "rollout/ep_return" not in keys


def test_wandb_offline_holds_the_run(pusher: Callable[..., Path]) -> None:
    folder = pusher("--PPD", "--wandb", "offline")
    assert list((folder / "wandb").glob("offline-run-*"))


def test_config_file_and_command_line(
    pusher: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("PPD: true\nPPD_parameter: 2.5\nlearning_rate: 0.01\n")
    folder = pusher("--config", str(file), "--learning_rate", "0.02")
    training = json.loads((folder / "config.json").read_text())["config"]["training"]
    assert (training["PPD_parameter"], training["learning_rate"]) == (2.5, 0.02)
    file.write_text("PPD_paramter: 2.5\n")
    assert "PPD_paramter (did you mean PPD_parameter?)" in failure(capsys, "--config", str(file))
    file.write_text("- 1\n")
    assert "must hold flags" in failure(capsys, "--config", str(file))
    assert "cannot be read" in failure(capsys, "--config", str(tmp_path / "absent.yaml"))


def test_a_run_is_not_lost(
    pusher: Callable[..., Path], teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pusher("--PPD")
    (folder / "mine.txt").write_text("kept")
    before = (folder / "metrics.jsonl").read_bytes()
    again = ("--PPD", "--teacher", str(teacher), "--output", str(folder), *SHORT)
    assert "already holds a run" in failure(capsys, *again)
    assert (folder / "metrics.jsonl").read_bytes() == before
    pusher("--PPD", "--overwrite", "--run_index", "1")
    assert (folder / "mine.txt").read_text() == "kept"
    config = json.loads((folder / "config.json").read_text())
    assert config["config"]["training"]["run_index"] == 1


def test_same_command_same_run(pusher: Callable[..., Path]) -> None:
    folder = pusher("--PPD", "--mode", "ImpaalaSmall")
    student = (folder / "student" / "student.safetensors").read_bytes()
    lines = [without_time(point) for point in read_metrics(folder)]
    pusher("--PPD", "--mode", "ImpaalaSmall", "--overwrite")
    assert (folder / "student" / "student.safetensors").read_bytes() == student
    assert [without_time(point) for point in read_metrics(folder)] == lines


def test_blind_return_goes_into_the_bundle(tmp_path: Path) -> None:
    bundle = write_teacher(tmp_path / "teacher")
    arguments = ["--PPD", "--mode", "ImpaalaSmall", "--teacher", str(bundle), *SHORT]
    arguments += ["--wandb", "disabled", "--output"]
    main("Pusher", [*arguments, str(tmp_path / "blind"), "--blind"])
    returns = measure_blind(BlindFlags(tmp_path / "blind", bundle, episodes=3))
    assert Teacher.load(bundle).description.baselines["blind"] == returns
    assert len(returns["evaluation"]) == 3
    # Its zero: the blind student's own skill. Three seeds are known, so three are played.
    main("Pusher", [*arguments, str(tmp_path / "seeing"), "--final_episodes", "3"])
    evaluation = json.loads((tmp_path / "seeing" / "evaluation.json").read_text())
    blind = np.mean(returns["evaluation"])
    expected = (evaluation["return"] - blind) / (-20.0 - blind)
    assert evaluation["skill"] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match="is not a blind run"):
        measure_blind(BlindFlags(tmp_path / "seeing", bundle))
    other = write_teacher(tmp_path / "other", family="gaussian")
    with pytest.raises(UserError, match="another teacher"):
        measure_blind(BlindFlags(tmp_path / "blind", other))
    with pytest.raises(UserError, match="not a run folder"):
        measure_blind(BlindFlags(tmp_path, bundle))


def test_the_script_runs_from_any_directory(teacher: Path, tmp_path: Path) -> None:
    short = [flag for flag in SHORT if flag != "--no_video"]
    command = [sys.executable, str(SCRIPT), "--PPD", "--teacher", str(teacher), *short]
    finished = subprocess.run(
        [*command, "--output", "run", "--wandb", "disabled"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "The student on 2 unseen seeds" in finished.stdout
    assert (tmp_path / "run" / "videos" / "student.mp4").is_file()


# -- bad input ------------------------------------------------------------------------------------


def test_help_groups_flags_with_their_defaults() -> None:
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True
    ).stdout
    for text in ("method options", "student options", "--PPD_parameter", "(default: 18)"):
        assert text in answer


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--PPD", "--PPO"), "exactly one method"),
        ((), "exactly one method"),
        (("--PPD", "--total_timesteps", "100"), "below one rollout of 18 environments x 64"),
        (("--PPD", "--frame_size", "64"), "is invalid"),
        (("--PPD", "--frame_size", "8x8"), "between 16 and 1024"),
        (
            ("--PPD", "--PPD_parameter", "-1"),
            "--PPD_parameter -1.0 must be finite and at least 0",
        ),
        (("--PPD", "--run_index", "256"), "outside 0 to 255"),
        (("--PPD", "--blind"), "--mode State has none"),
        (("--PPD", "--num_envs", "0"), "--num_envs 0 must be at least 1"),
        (("--PPD", "--threads", "0"), "--threads 0"),
        (("--PPD", "--output", "../elsewhere"), "holds '..'"),
        (("--PPD", "--output", "x" * 300), "no usable name"),
        (("--PPD", "--device", "cuda:99"), "cuda"),
        (("--PPD", "--teacher", "nowhere"), "Train_Teacher/"),
    ],
)
def test_bad_flags_are_explained(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert message in failure(capsys, *flags)


def test_unknown_mode_lists_the_modes() -> None:
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), "--PPD", "--mode", "Impala"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert "ImpaalaSmall" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"task": "Reacher"}, "teacher of Reacher"), ({"state_dim": 11}, "environment: ")],
)
def test_another_teacher_is_refused_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict, message: str
) -> None:
    bundle = write_teacher(tmp_path / "teacher", **changes)
    where = ("--teacher", str(bundle), "--output", str(tmp_path / "run"))
    assert message in failure(capsys, "--PPD", *where, *SHORT)
    assert not (tmp_path / "run").exists()


def test_no_gl_names_backends_and_packages(teacher: Path, tmp_path: Path) -> None:
    finished = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), "--PPD", "--mode", "ImpaalaSmall", *SHORT),
            *("--teacher", str(teacher), "--output", str(tmp_path / "run")),
        ],
        env={**os.environ, "MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert "libegl1" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "run").exists()


def test_no_wrong_file_is_overwritten(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    where = ("--teacher", str(teacher), "--output", str(tmp_path), "--overwrite")
    assert "holds no run" in failure(capsys, "--PPD", *where, *SHORT)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_defaults_are_the_tasks() -> None:
    flags = parse(TASKS["Reacher"], ["--PPD"])
    assert isinstance(flags, Flags)
    assert flags.frame_size == TASKS["Reacher"].frame_size
    assert flags.student.mode == "State"
    assert flags.training.num_envs == 18


def test_baselines_over_fewer_seeds_than_asked_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_teacher(tmp_path / "teacher")
    record_baseline(bundle, "blind", {"validation": [-40.0], "evaluation": [-40.0]})
    where = ("--teacher", str(bundle), "--output", str(tmp_path / "run"))
    assert "exceeds the 1 seeds" in failure(capsys, "--PPD", *where, *SHORT)
    shutil.rmtree(bundle)


# -- python -m Evaluation.evaluate ----------------------------------------------------------------


def test_evaluation_of_a_bundle_repeats_the_runs(
    pusher: Callable[..., Path], teacher: Path, tmp_path: Path
) -> None:
    folder = pusher("--PPD", "--mode", "ImpaalaSmall")
    before = json.loads((folder / "evaluation.json").read_text())
    for where in (folder, folder / "student"):
        figures = evaluate(EvaluateFlags(where, teacher=teacher, episodes=2))
        assert {name: figures[name] for name in before} == before
    with pytest.raises(UserError, match="--episodes 0"):
        evaluate(EvaluateFlags(folder, teacher=teacher, episodes=0))
    with pytest.raises(UserError, match="no student"):
        evaluate(EvaluateFlags(tmp_path, teacher=teacher))
