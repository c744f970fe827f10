"""`--resume`: a run that was stopped ends as one that never was, bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from Algorithm.on_policy.lambda_schedule import LambdaSchedule
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD
from Common.errors import UserError
from Common.files.locks import locked
from Common.runs.checkpoint import CheckpointStore
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack, unpack
from Distillation.command import main
from Distillation.flags.groups import MethodFlags, RunFlags
from Distillation.flags.resolve import Flags
from Enviroment.make import make_env, make_state_env
from tests.support.short_for import short_for
from tests.support.short_run import failure, outcome
from tests.support.tiny_teacher import tiny_teacher

# Staggered: the first episode of environment 0 ends after 100 env steps of both. Checkpoints are
# written at the beginning, at a better student, and where a signal asks for one.
LONGER = ("--total_timesteps", "160", "--eval_every", "100", "--checkpoint_every", "1000")
METHODS = {
    "PPD": ("--PPD", "--mode", "ImpaalaSmall", "--num_steps", "8", "--random_shift", "1"),
    "PPD, critic": ("--PPD", "--num_steps", "8", "--teacher_critic", "--gamma", "0.99"),
    "PPO": ("--PPO", "--num_steps", "8", "--critic_warmup", "64"),
    "Sdistillation": ("--Sdistillation", "--mode", "ImpaalaSmall", "--critic_on_state"),
    "Tdistillation": ("--Tdistillation", "--num_steps", "5"),
}


class Runner:
    """Runs of one method into folders of one directory, whole or stopped after some updates."""

    def __init__(self, teacher: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.teacher, self.directory, self.monkeypatch = teacher, directory, monkeypatch

    def flags(self, method: str, folder: Path) -> list[str]:
        where = ["--teacher", str(self.teacher), "--output", str(folder), "--wandb", "disabled"]
        return [*where, *short_for(f"--{method}"), *LONGER, *METHODS[method]]

    def run(self, method: str, name: str, *more: str) -> Path:
        main("Pusher", [*self.flags(method, self.directory / name), *more])
        return self.directory / name

    def stop(self, method: str, name: str, updates: int, *more: str) -> Path:
        """A run that gets SIGTERM in its so-manieth update."""
        train, calls = OnPolicyStudent.train, itertools.count(1)

        def train_and_stop(model: OnPolicyStudent) -> None:
            if next(calls) == updates:
                os.kill(os.getpid(), signal.SIGTERM)
            train(model)

        with self.monkeypatch.context() as patch:
            patch.setattr(OnPolicyStudent, "train", train_and_stop)
            with pytest.raises(SystemExit) as exit_:
                self.run(method, name, *more)
        assert exit_.value.code == 143
        return self.directory / name


@pytest.fixture
def runner(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(teacher, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def whole(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple]:
    """The outcome of each method's run that was never stopped."""
    outcomes = {}

    def get(method: str) -> tuple:
        if method not in outcomes:
            runs = Runner(teacher, tmp_path_factory.mktemp("whole"), pytest.MonkeyPatch())
            outcomes[method] = outcome(runs.run(method, "run"))
        return outcomes[method]

    return get


# -- runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "updates"),
    [("PPD", 5), ("PPD, critic", 5), ("PPO", 5), ("Sdistillation", 12), ("Tdistillation", 10)],
)
def test_a_stopped_run_goes_on_to_the_bit(
    method: str, updates: int, runner: Runner, whole: Callable[[str], tuple]
) -> None:
    """Stopped twice: in the first episodes, and when one environment has begun its second."""
    folder = runner.stop(method, "run", 3)
    config = (folder / "config.json").read_bytes()
    runner.stop(method, "run", updates, "--resume")
    assert not (folder / "evaluation.json").exists()
    runner.run(method, "run", "--resume")
    assert outcome(folder) == whole(method)
    assert (folder / "config.json").read_bytes() == config


def test_a_run_that_was_stopped_in_its_last_update_only_reports(
    runner: Runner, whole: Callable[[str], tuple]
) -> None:
    folder = runner.stop("PPO", "run", 10)
    assert outcome_of_training(folder) == whole("PPO")[3:]
    runner.run("PPO", "run", "--resume")
    assert outcome(folder) == whole("PPO")


def outcome_of_training(folder: Path) -> tuple:
    last = max((folder / "checkpoints").glob("step_*"))
    return last.name, (last / "state.safetensors").read_bytes()


def test_without_a_checkpoint_it_starts_from_the_beginning(
    runner: Runner, whole: Callable[[str], tuple], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runner.run("PPO", "run", "--resume")  # there is not even a folder
    assert outcome(folder) == whole("PPO")
    assert "starts from the beginning" in capsys.readouterr().err
    stopped = runner.stop("PPO", "stopped", 2)
    for checkpoint in (stopped / "checkpoints").iterdir():
        checkpoint.rename(runner.directory / checkpoint.name)
    runner.run("PPO", "stopped", "--resume")
    assert outcome(stopped) == whole("PPO")


def test_a_finished_run_is_left_alone(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runner.run("PPO", "run")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    runner.run("PPO", "run", "--resume")
    assert "is finished" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_damaged_newest_checkpoint_is_passed_over(
    runner: Runner, whole: Callable[[str], tuple], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runner.stop("PPD", "run", 4)
    runner.stop("PPD", "run", 4, "--resume")
    newest = max((folder / "checkpoints").glob("step_*"))
    weights = bytearray((newest / "state.safetensors").read_bytes())
    weights[-100] ^= 1
    (newest / "state.safetensors").write_bytes(weights)
    runner.run("PPD", "run", "--resume")
    assert f"Checkpoint {newest} is damaged" in capsys.readouterr().err
    assert outcome(folder) == whole("PPD")


def test_all_damaged_is_an_error_and_nothing_is_lost(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runner.stop("PPO", "run", 2)
    for state in folder.glob("checkpoints/step_*/state.json"):
        state.unlink()
    metrics = (folder / "metrics.jsonl").read_bytes()
    assert "Every checkpoint" in failure(capsys, *runner.flags("PPO", folder), "--resume")
    assert (folder / "metrics.jsonl").read_bytes() == metrics


def test_another_configuration_is_refused_with_what_differs(
    runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runner.stop("PPO", "run", 2)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    flags = [*runner.flags("PPO", folder), "--resume"]
    message = failure(capsys, *flags, "--learning_rate", "0.5", "--run_index", "1")
    assert "training.learning_rate was 0.001 and is 0.5" in message
    assert "training.run_index was 0 and is 1" in message
    assert "method was" not in message
    assert "give only one" in failure(capsys, *flags, "--overwrite")
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before
    # Where it runs and what it leaves may change; a teacher is known by its hash.
    moved = tmp_path / "elsewhere"
    moved.symlink_to(runner.teacher)
    runner.run("PPO", "run", "--resume", "--keep", "1", "--teacher", str(moved))
    assert (folder / "evaluation.json").is_file()


def test_a_folder_that_another_run_writes_is_refused(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runner.directory / "run"
    with locked(folder):
        message = failure(capsys, *runner.flags("PPO", folder))
        assert f"is being written by process {os.getpid()}" in message
    assert not folder.exists()


def test_the_newest_and_the_best_checkpoints_are_kept(runner: Runner) -> None:
    folder = runner.run("PPO", "run", "--checkpoint_every", "16", "--keep", "3")
    manifests = [
        json.loads((path / "manifest.json").read_bytes())
        for path in sorted((folder / "checkpoints").glob("step_*"))
    ]
    assert [manifest["step"] for manifest in manifests[-3:]] == [128, 144, 160]
    assert len(manifests) in (3, 4)
    # The best student was found by the evaluation at the step of the best checkpoint.
    student = json.loads((folder / "student" / "student.json").read_bytes())
    best = [manifest["step"] for manifest in manifests if manifest["best"]]
    assert best[-1] == student["training"]["steps"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 0}, "--keep 0"),
        ({"checkpoint_every": 0}, "--checkpoint_every 0"),
        ({"checkpoint_minutes": 0.0}, "--checkpoint_minutes 0.0"),
        ({"checkpoint_minutes": float("nan")}, "--checkpoint_minutes nan"),
        ({"resume": True, "overwrite": True}, "give only one"),
    ],
)
def test_bad_flags(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Flags(method=MethodFlags(PPD=True), run=RunFlags(**changes))


# -- algorithms -----------------------------------------------------------------------------------


class _StopError(Exception):
    pass


def learn_in_two_parts(make: Callable[[], PPD], stop_at: int, total: int, folder: Path) -> PPD:
    """Stored at a boundary, and gone on with by another model that was made alike."""
    first = make()

    def stop() -> None:
        if first.num_timesteps == stop_at:
            tensors, values = pack({"model": first.capture(), "rest": capture_generators()})
            CheckpointStore(folder).save(stop_at, {"state": tensors}, {"state": values})
            raise _StopError

    first.on_boundary = stop
    with pytest.raises(_StopError):
        first.learn(total)
    second = make()
    found = CheckpointStore(folder).newest()
    assert found is not None
    state = unpack(found.tensors("state"), found.values["state"])
    second.restore(state["model"])
    restore_generators(state["rest"])
    return second.learn(total)


def small_ppd(env: Any, **changes: Any) -> PPD:
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 3, "device": "cpu"}
    return PPD("MlpPolicy", env, **{**settings, "distill_lambda": 0.0, **changes})


def check_equal(whole: PPD, resumed: PPD) -> None:
    assert resumed.work_done == whole.work_done
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(value, resumed.policy.state_dict()[name]), name
    theirs = [(episode["r"], episode["l"]) for episode in whole.ep_info_buffer or ()]
    assert [(episode["r"], episode["l"]) for episode in resumed.ep_info_buffer or ()] == theirs


@pytest.mark.parametrize("norm_obs", [False, True])
def test_normalisers_go_on_to_the_bit(norm_obs: bool, tmp_path: Path) -> None:
    """Reacher's episodes are of 50 steps: at 96 the rollouts are in the middle of the second."""

    def make() -> PPD:
        return small_ppd(VecNormalize(make_state_env("Reacher", 2, 5), norm_obs=norm_obs))

    check_equal(make().learn(160), learn_in_two_parts(make, 96, 160, tmp_path))


def test_a_teacher_sees_the_raw_observations_where_they_are_normalised(tmp_path: Path) -> None:
    teacher = tiny_teacher("gaussian", state_dim=10, action_dim=2, bound=1.0, task="Reacher")

    def make() -> PPD:
        env = VecNormalize(make_state_env("Reacher", 2, 5))
        return small_ppd(env, teacher=teacher, distill_lambda=1.0)

    check_equal(make().learn(96), learn_in_two_parts(make, 32, 96, tmp_path))


def test_lambda_by_skill_goes_on_where_it_was(tmp_path: Path) -> None:
    schedules = []

    def make() -> PPD:
        schedules.append(LambdaSchedule(5.0, 1.0, "skill"))
        teacher = tiny_teacher("gaussian", state_dim=10, action_dim=2, bound=1.0, task="Reacher")
        env = make_state_env("Reacher", 2, 5)
        model = small_ppd(env, teacher=teacher, distill_lambda=schedules[-1])
        schedules[0].take_skill(0.25)  # the first model's
        return model

    model = learn_in_two_parts(make, 32, 64, tmp_path)
    assert schedules[1].skill == 0.25
    assert model.current_lambda() == 1.0 + 4.0 * 0.75


def test_frames_of_the_last_rollout_go_on(tmp_path: Path) -> None:
    """Rollouts of 2 steps are shorter than what a stack reaches back to, 6 steps."""

    def make() -> PPD:
        torch.manual_seed(0)
        env = make_env("Pusher", 2, 9, workers="serial", stagger=True)
        teacher = tiny_teacher()
        return PPD("StudentPolicy", env, teacher, n_steps=2, batch_size=4, seed=1, device="cpu")

    whole = make().learn(40)
    check_equal(whole, learn_in_two_parts(make, 20, 40, tmp_path))


@pytest.mark.parametrize("stacked", [False, True])
def test_others_environments_go_on_at_an_episodes_start_and_say_so(
    stacked: bool, tmp_path: Path
) -> None:
    def make() -> PPD:
        inner = make_vec_env("Pendulum-v1", 2, seed=7)
        if stacked:  # a wrapper with a state of its own, around environments with one
            inner = VecFrameStack(make_state_env("Reacher", 2, 5), 2)
        return small_ppd(VecNormalize(inner))

    with pytest.warns(UserWarning, match="at the start of an episode") as warned:
        model = learn_in_two_parts(make, 64, 128, tmp_path)
    assert len(warned) == 1
    assert model.num_timesteps == 128
    env = model.get_env()
    assert isinstance(env, VecNormalize)
    assert env.ret_rms.count == pytest.approx(128, abs=1e-3)  # its statistics went on


def test_a_state_of_another_policy_is_an_error(tmp_path: Path) -> None:
    model = small_ppd(make_state_env("Reacher", 2, 5)).learn(32)
    other = small_ppd(make_state_env("Reacher", 2, 5), policy_kwargs={"net_arch": [8]})
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.restore(model.capture())
