"""Train_Teacher: short real runs that end with a bundle, and what is refused at once."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from Common.places import ROOT
from Common.runs.files import read_metrics
from Enviroment import seeds
from Enviroment.make import make_state_env
from Enviroment.tasks import get_task
from Evaluation.evaluate.episodes import run_episodes
from Models.teacher.policy import Teacher
from Train_Teacher import train as train_module
from Train_Teacher.checkpoint import Progress, find_best
from Train_Teacher.command import main, parse
from Train_Teacher.settings.config import PPOTeacherConfig, SACTeacherConfig, default_settings

QUICK = {"eval_every": 200, "eval_episodes": 2, "baseline_episodes": 3, "wandb": "disabled"}
SHORT = {
    "ppo": {"num_envs": 2, "n_steps": 50, "batch_size": 50, "n_epochs": 2},
    "sac": {"num_envs": 2, "learning_starts": 100, "batch_size": 32, "gradient_steps": 1},
}


def flags(algo, total, output, *more):
    chosen = {**SHORT[algo], **QUICK, "total-timesteps": total, "output": output}
    words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
    return ["--algo", algo, *words, "--no_video", *more]


def exit_code(task, arguments):
    with pytest.raises(SystemExit) as ended:
        main(task, arguments)
    return ended.value.code


@pytest.fixture(scope="module", params=["ppo", "sac"])
def finished(request, tmp_path_factory):
    """A run of 400 steps by the entry script itself, in a process of its own."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    arguments = flags(request.param, 400, folder)
    ended = subprocess.run(
        [sys.executable, str(ROOT / "Train_Teacher" / "Pusher.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    return request.param, folder, arguments, ended.stdout


def test_a_run_ends_with_a_loadable_teacher_of_its_best_checkpoint(finished):
    algo, folder, arguments, printed = finished
    teacher = Teacher.load(folder / "teacher")
    description = teacher.description
    assert (description.task, description.algo) == ("Pusher", algo)
    assert description.command == " ".join(["python", "Train_Teacher/Pusher.py", *arguments])
    assert description.versions["stable-baselines3"]
    assert str(folder / "teacher") in printed
    best = find_best(folder / "checkpoints")
    assert best is not None
    notes = json.loads((folder / "teacher" / "teacher.json").read_text())
    assert notes["trained_env_steps"] == best.steps
    best_seen = max(point.get("eval/return", -np.inf) for point in read_metrics(folder))
    assert best.mean_return == best_seen


def test_baselines_are_the_returns_of_each_seed(finished):
    _, folder, _, _ = finished
    teacher = Teacher.load(folder / "teacher")
    baselines = teacher.description.baselines
    assert baselines.keys() == {"teacher", "random", "nothing"}
    # Once more, one environment instead of several, by Gymnasium's own seeds.
    env = make_state_env("Pusher", 1, 0)
    task = get_task("Pusher")
    for policy, act in (
        ("teacher", lambda obs: teacher.predict(obs)[0]),
        ("nothing", lambda obs: np.zeros((len(obs), 7), np.float32)),
    ):
        for name, block in (("validation", seeds.VALIDATION), ("evaluation", seeds.EVALUATION)):
            stats = run_episodes(act, env, task, block.start, 3)
            np.testing.assert_allclose(baselines[policy][name], stats.returns, atol=1e-3)
    env.close()


def test_metrics_and_curves_are_there(finished):
    algo, folder, _, _ = finished
    points = read_metrics(folder)
    evaluated = [point["step"] for point in points if "eval/return" in point]
    assert evaluated == [0, 200, 400]
    keys = set().union(*points)
    assert {"eval/object_goal_distance", "eval/success", "train/learning_rate"} <= keys
    assert ("train/ent_coef" if algo == "sac" else "train/approx_kl") in keys
    assert "final/evaluation_return" in points[-1]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_two_newest_checkpoints_and_the_best_are_kept(finished):
    _, folder, _, _ = finished
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["best", "finished", "step_000000000200", "step_000000000400"]
    assert len(list((folder / "checkpoints" / "best").iterdir())) == 1


def test_resume_of_a_run_that_is_complete_writes_the_same_teacher(finished):
    _, folder, arguments, _ = finished
    before = (folder / "teacher" / "teacher.safetensors").read_bytes()
    command = Teacher.load(folder / "teacher").description.command
    (folder / "teacher" / "teacher.json").unlink()
    main("Pusher", [*arguments, "--resume"])
    assert (folder / "teacher" / "teacher.safetensors").read_bytes() == before
    assert Teacher.load(folder / "teacher").description.command == command


def test_a_finished_run_is_not_measured_again(finished, capsys):
    _, folder, arguments, _ = finished
    before = {path: path.stat() for path in sorted(folder.rglob("*"))}
    main("Pusher", [*arguments, "--resume"])
    said = capsys.readouterr().out
    assert said.startswith(f"The training in {folder} is finished: there is nothing to do.")
    assert "--total_timesteps" in said
    after = {path: path.stat() for path in sorted(folder.rglob("*"))}
    assert before.keys() == after.keys()
    assert all(
        before[path].st_mtime_ns == after[path].st_mtime_ns for path in before if path.is_file()
    )


def test_other_baseline_episodes_are_measured(finished):
    _, folder, arguments, _ = finished
    for episodes in (2, 3):
        main("Pusher", [*arguments, "--resume", "--baseline_episodes", str(episodes)])
        returns = Teacher.load(folder / "teacher").description.baselines["teacher"]
        assert len(returns["evaluation"]) == episodes


def test_resume_goes_on_from_the_newest_checkpoint(finished, tmp_path, capsys):
    algo, _, _, _ = finished
    folder = tmp_path / "run"
    main("Pusher", flags(algo, 400, folder))
    assert "Resuming" not in capsys.readouterr().out
    main("Pusher", flags(algo, 800, folder, "--resume"))
    newest = folder / "checkpoints" / "step_000000000400"
    assert f"Resuming from {newest}.\n" in capsys.readouterr().out
    points = read_metrics(folder)
    assert [p["step"] for p in points if "eval/return" in p] == [0, 200, 400, 600, 800]
    rates = [p["train/learning_rate"] for p in points if "train/learning_rate" in p]
    settings = default_settings("Pusher", algo)
    assert isinstance(settings, PPOTeacherConfig | SACTeacherConfig)
    assert rates[-1] == pytest.approx(settings.final_learning_rate)
    command = Teacher.load(folder / "teacher").description.command
    assert command.count("Train_Teacher/Pusher.py") == 2


def test_a_damaged_checkpoint_is_named_and_passed_over(finished, tmp_path, capsys):
    algo, _, _, _ = finished
    folder = tmp_path / "run"
    main("Pusher", flags(algo, 400, folder))
    model = folder / "checkpoints" / "step_000000000400" / "agent.safetensors"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    main("Pusher", flags(algo, 400, folder, "--resume"))
    assert "step_000000000400 is damaged: agent.safetensors" in capsys.readouterr().err
    evaluated = [p["step"] for p in read_metrics(folder) if "eval/return" in p]
    assert evaluated == [0, 200, 400]


def test_another_task_needs_no_other_code(tmp_path):
    main("Reacher", flags("ppo", 200, tmp_path / "run"))
    teacher = Teacher.load(tmp_path / "run" / "teacher")
    assert (teacher.description.task, teacher.description.state_dim) == ("Reacher", 10)


@pytest.mark.slow
def test_wandb_offline_and_the_video(tmp_path):
    arguments = [flag for flag in flags("ppo", 200, tmp_path / "run") if flag != "--no_video"]
    arguments[arguments.index("disabled")] = "offline"
    main("Pusher", arguments)
    assert list((tmp_path / "run" / "videos").glob("*.mp4"))
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


# -- flags ---------------------------------------------------------------------------------------


def test_underscores_and_hyphens_are_the_same():
    under = parse("Pusher", ["--algo", "ppo", "--total_timesteps", "500000", "--run_index", "3"])
    hyphens = parse("Pusher", ["--algo", "ppo", "--total-timesteps", "500000", "--run-index", "3"])
    assert under == hyphens
    assert (under.settings.total_timesteps, under.run_index) == (500_000, 3)


def test_settings_follow_algorithm_and_flags():
    assert parse("Pusher", ["--algo=sac"]).settings == default_settings("Pusher", "sac")
    assert parse("Reacher", ["--algo", "ppo"]).settings == default_settings("Reacher", "ppo")
    run = parse("Pusher", ["--algo", "ppo", "--gamma", "0.9", "--net_arch", "8", "8", "8"])
    assert run.settings.gamma == 0.9
    assert run.settings.net_arch == (8, 8, 8)
    default = default_settings("Pusher", "ppo")
    assert isinstance(default, PPOTeacherConfig)
    assert run.settings.batch_size == default.batch_size


BAD_FLAGS = {
    "--algo td3": "td3",
    "--no_such_flag 1": "no_such_flag",
    "--algo ppo --tau 0.1": "tau",  # the other algorithm's
    "--total_timesteps many": "total_timesteps",
    "--algo ppo --cnn nature": "--cnn nature is for teachers that observe frames",
    "--algo ppo --total_timesteps 100": "one rollout",
    "--algo sac --total_timesteps 100": "learning_starts",
    "--gamma 1.5": "--gamma 1.5",
    "--algo ppo --batch_size 1601": "multiple",
    "--num_envs 0": "--num_envs 0",
    "--eval_episodes 0": "--eval_episodes 0",
    "--run_index 256": "--run_index 256",
    "--learning_rate -1": "learning_rate",
    "--learning_rate inf": "learning_rate",
    "--algo ppo --n_steps 0": "--n_steps 0",
    "--algo ppo --n_steps -400": "--n_steps -400",
    "--algo ppo --n_epochs 0": "--n_epochs 0",
    "--algo ppo --num_envs 1 --n_steps 1 --batch_size 1": "--batch_size 1",
    "--algo ppo --clip_range -1": "--clip_range -1",
    "--algo ppo --gae_lambda 7": "--gae_lambda 7",
    "--algo ppo --ent_coef nan": "--ent_coef nan",
    "--algo sac --gradient_steps 0": "--gradient_steps 0",
    "--algo sac --tau 5": "--tau 5",
    "--algo sac --learning_starts -5": "--learning_starts -5",
    "--algo sac --ent_coef inf": "'inf'",
    "--ent_coef much": "much",
    "--activation Swishy": "Swishy",
    "--device tpu": "tpu",
    "--resume --overwrite": "only one",
    "--output a/../b": "..",
}


@pytest.mark.parametrize(("arguments", "message"), BAD_FLAGS.items())
def test_bad_flags_end_with_one_message_and_nothing_written(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = arguments.split()
    if "--output" not in words:
        words += ["--output", "run"]
    assert exit_code("Pusher", words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_not_there_is_an_error(tmp_path, capsys):
    arguments = ["--device", "cuda", "--output", str(tmp_path / "run")]
    assert exit_code("Pusher", arguments) == 2
    assert "--device cuda: this machine has no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_unknown_task_is_an_error(tmp_path, capsys):
    assert exit_code("Pushr", ["--output", str(tmp_path / "run")]) == 2
    assert "Did you mean Pusher" in capsys.readouterr().err


def test_the_script_itself_ends_without_a_traceback(tmp_path):
    ended = subprocess.run(
        [sys.executable, str(ROOT / "Train_Teacher" / "Pusher.py"), "--gamma", "2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 2
    assert ended.stderr.strip() == "--gamma 2.0 must be in [0, 1)."


def test_a_folder_with_a_run_is_not_lost(tmp_path, capsys):
    folder = tmp_path / "run"
    main("Pusher", flags("ppo", 200, folder))
    (folder / "notes.txt").write_text("mine")
    before = (folder / "metrics.jsonl").read_bytes()
    assert exit_code("Pusher", flags("ppo", 200, folder)) == 2
    assert "--resume" in capsys.readouterr().err
    assert (folder / "metrics.jsonl").read_bytes() == before

    assert exit_code("Pusher", flags("ppo", 200, folder, "--resume", "--gamma", "0.5")) == 2
    assert "gamma was 0.99 and is 0.5" in capsys.readouterr().err

    main("Pusher", flags("ppo", 200, folder, "--overwrite", "--gamma", "0.5"))
    assert Teacher.load(folder / "teacher").description.gamma == 0.5
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_with_other_things_is_refused_even_with_overwrite(tmp_path, capsys):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "notes.txt").write_text("mine")
    assert exit_code("Pusher", flags("ppo", 200, tmp_path, "--overwrite")) == 2
    assert "holds no run" in capsys.readouterr().err
    assert (tmp_path / "wandb" / "notes.txt").exists()


def test_a_garbled_configuration_cannot_be_resumed(tmp_path, capsys):
    (tmp_path / "config.json").write_text("[1]")
    assert exit_code("Pusher", flags("ppo", 200, tmp_path, "--resume")) == 2
    assert "does not describe a run" in capsys.readouterr().err


def test_a_file_as_output_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert exit_code("Pusher", flags("ppo", 200, tmp_path / "file")) == 2
    assert "is a file" in capsys.readouterr().err


def test_training_never_sees_a_seed_twice_or_one_of_another_range():
    run = parse("Pusher", ["--algo", "ppo", "--run_index", "2"])
    block = seeds.teacher_training(2)
    fresh = train_module._first_seed(run, Progress(0, 0, 0, {}))
    resumed = train_module._first_seed(run, Progress(9, 0, episodes=5, evaluation={}))
    assert fresh == block.start
    # Five episodes in the environment that began most: seeds up to 4 * 32 + 31 are used.
    assert resumed == block.start + 5 * run.settings.num_envs
    assert resumed in block
