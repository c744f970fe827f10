"""`distil`, `clone` and `evaluate`: as the commands, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeAwareObservation
from stable_baselines3 import PPO

from Common.errors import UserError
from Distillation.command import main
from Evaluation.evaluate.measure import measure
from tests.support.short_run import SHORT, write_teacher
from vision_distillation import ArraySamples, CloningConfig, Student, clone, distil, evaluate

QUICK: dict[str, Any] = {
    "total_timesteps": 24,
    "num_envs": 2,
    "num_steps": 4,
    "batch_size": 4,
    "eval_every": 1e3,
    "eval_episodes": 2,
    "final_episodes": 2,
    "threads": 1,
    "frame_size": "16x16",
    "device": "cpu",
    "video": False,
    "wandb": "disabled",
}


def test_it_trains_what_the_command_trains(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = tmp_path / "python", tmp_path / "command"
    shared = {"mode": "ImpalaSmall", "teacher": teacher}
    student = distil("Pusher", output=folders[0], **shared, **QUICK)
    assert capsys.readouterr().out == ""  # quiet
    where = ["--teacher", str(teacher), "--output", str(folders[1]), "--wandb", "disabled"]
    main("Pusher", ["--PPD", "--mode", "ImpaalaSmall", *where, *SHORT])
    weights, ours = ((f / "student" / "student.safetensors").read_bytes() for f in folders)
    assert weights == ours
    assert isinstance(student, Student)
    assert (student.folder, student.groups) == (folders[0], ("frame", "proprio"))
    command = json.loads((folders[0] / "config.json").read_text())["command"]
    assert command.startswith("python Distillation/Pusher.py --PPD ")


def test_a_finished_run_is_returned_again(teacher: Path, tmp_path: Path) -> None:
    given = {"output": tmp_path / "run", "teacher": teacher, **QUICK}
    distil("Pusher", **given)
    with pytest.raises(UserError, match=r"already holds a run.*`resume`.*`overwrite`"):
        distil("Pusher", **given)
    assert distil("Pusher", resume=True, **given).groups == ("state",)


def test_models_and_their_zip_files_teach(tmp_path: Path) -> None:
    model = PPO("MlpPolicy", "Reacher-v5", n_steps=16, batch_size=16, device="cpu", seed=0)
    model.save(tmp_path / "agent.zip")
    live = distil("Reacher", teacher=model, output=tmp_path / "live", **QUICK)
    zipped = distil("Reacher", teacher=tmp_path / "agent.zip", output=tmp_path / "zip", **QUICK)
    assert live.task.name == zipped.task.name == "Reacher"
    bundles = sorted(path.name for path in (tmp_path / "teachers").iterdir())
    assert [name.rpartition("_")[0] for name in bundles] == ["agent", "ppo"]
    weights = {
        (f / "student" / "student.safetensors").read_bytes() for f in (live.folder, zipped.folder)
    }
    assert len(weights) == 1


def test_an_own_environment_is_taken_by_its_id(tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher")
    own = {"env_id": "Pusher-v5", "camera": "distance=2", "proprio": "0:7"}
    student = distil(**own, teacher=teacher, mode="ImpaalaSmall", output=tmp_path / "run", **QUICK)
    assert student.task.custom
    assert student.act(np.zeros((16, 16), np.uint8), np.zeros(7)).shape == (7,)
    assert evaluate(student, 1)["episodes"] == 1


def test_a_zip_file_teaches_in_an_environment_with_wrappers(tmp_path: Path) -> None:
    """The wrapper changes the observations, so the agent fits the wrapped environment only."""
    plain = gym.make("Pusher-v5")
    model = PPO("MlpPolicy", TimeAwareObservation(plain), n_steps=16, batch_size=16, device="cpu")
    model.save(tmp_path / "agent.zip")
    own = {"env_id": "Pusher-v5", "wrapper": "gymnasium.wrappers:TimeAwareObservation"}
    teacher = tmp_path / "agent"
    student = distil(**own, teacher=teacher, mode="State", output=tmp_path / "run", **QUICK)
    assert student.act(state=np.zeros(24)).shape == (7,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"total_timestep": 3}, "no setting `total_timestep`. Did you mean `total_timesteps`"),
        ({"no_video": True}, "`no_video`: give `video=False`."),
        ({"no_such_thing_at_all": 3}, "--help-all` lists them"),
        ({"method": "PPDD"}, "Use PPD"),
        ({"method": "C_data"}, "trains no student"),
        ({"PPO": True}, 'give `method="PPO"`'),
        ({"mode": "Impala"}, "ImpaalaSmall"),
        ({"learning_rate": "fast"}, "`learning_rate`"),
        ({"total_timesteps": 1}, "`total_timesteps` 1 is below one rollout.*lower `num_envs`"),
        ({"video": "no"}, "`video` is a switch"),
        ({"alpha": 0.5}, '`method="PPD"` does not use'),
        ({"proprio": "0:3"}, "only an `env_id`"),
        ({"env_id": "Pusher-v5"}, "or the `env_id`"),
        ({"teacher": "missing.zip"}, "no file missing.zip"),
        ({"teacher": 3}, "is a int"),
        ({"vecnormalize": "v.pkl"}, "belongs to a zip"),
        ({"teacher": "missing", "vecnormalize": "v.pkl"}, "belongs to a zip"),
    ],
)
def test_wrong_settings_are_refused(given: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        distil("Pusher", **given)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UserError, match="Pusher"):
        distil("Pushr")
    with pytest.raises(UserError, match="name of a task"):
        distil()


def test_evaluate_returns_the_figures_of_the_command(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from Evaluation.evaluate.__main__ import EvaluateFlags

    before = {path: path.stat().st_mtime_ns for path in finished_run.iterdir()}
    figures = evaluate(finished_run, 2)
    assert capsys.readouterr().out == ""
    expected = measure(EvaluateFlags(finished_run, 2)).figures
    for untimed in (figures, expected):
        for name in [name for name in untimed if name.startswith("latency")]:
            del untimed[name]
    assert figures == expected
    assert {path: path.stat().st_mtime_ns for path in finished_run.iterdir()} == before


def bright_dots() -> ArraySamples:
    """Frames with a bright square whose place is the action, in 10 episodes of 20 steps."""
    rng = np.random.default_rng(0)
    places, frames = rng.uniform(0, 1, (200, 2)), np.zeros((200, 16, 16), np.uint8)
    for frame, (x, y) in zip(frames, places, strict=True):
        frame[int(12 * x) : int(12 * x) + 4, int(12 * y) : int(12 * y) + 4] = 255
    ends = np.arange(200) % 20 == 19
    return ArraySamples(frames, None, 90 * places - 45, ends, stack=1, name="dots")


def test_a_clone_learns_where_the_picture_shows_it(tmp_path: Path) -> None:
    samples = bright_dots()
    config = CloningConfig(gradient_steps=150, batch_size=32, held_out=0.1)
    student = clone(samples, tmp_path / "dots", config=config, device="cpu")
    frames = samples.read(np.arange(200), ["frame"])["frame"]
    mean = samples.read(np.arange(200), ["distribution.mean"])["distribution.mean"]
    shares = np.tanh(student.policy.predict({"frame": frames}, deterministic=True)[0] / 54)
    assert np.corrcoef(shares[:, 0], np.tanh(mean)[:, 0])[0, 1] > 0.9
    assert student.act(frames[0]).shape == (2,)
    assert student.description["training"]["gradient_steps"] == 150
    assert (student.task.name, student.task.stack) == ("dots", 1)
    with pytest.raises(UserError, match="holds a student: give `overwrite`"):
        clone(samples, tmp_path / "dots")
    with pytest.raises(UserError, match="dots is known from recordings only"):
        evaluate(student, 1)
