"""What a run prints, from its banner to the commands that come next."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from Common.places import ROOT
from Common.runs.files import read_metrics
from Distillation.command import main
from Distillation.flags.parse import parse
from Distillation.messages.environment_notes import environment_notes
from Distillation.messages.next_commands import next_commands
from Enviroment.custom import custom_task
from Enviroment.tasks import TASKS
from tests.common.test_tensorboard import scalars
from tests.common.test_tracking import wandb_history
from tests.docs.documented_flags import complaint
from tests.support.short_run import SHORT, failure


def test_a_run_says_what_it_does(
    rated_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(ROOT)
    run = tmp_path / "run"
    flags = ["--PPD", "--mode", "ImpaalaSmall", "--teacher", str(rated_teacher), *SHORT]
    flags += ["--output", str(run), "--wandb", "disabled", "--eval_every", "8"]
    main("Pusher", [*flags, "--final_episodes", "1"])
    banner, *others = capsys.readouterr().out.split("eval 0:")
    lines = [re.split(r"  +", line) for line in banner.splitlines()]
    assert lines[0] == [
        "Pusher",
        f"PPD, ImpaalaSmall 16x16; teacher {rated_teacher} (return -20.0)",
    ]
    assert lines[1] == ["budget", "24 env steps in 2 environments; an evaluation every 8"]
    assert lines[2][0] == "device" and lines[2][1].startswith("cpu, ")
    assert lines[2][1].endswith(", 1 thread")
    assert lines[3:] == [["folder", str(run)], ["W&B", "disabled"]]
    printed = "eval 0:" + "".join(others)
    evaluations = [line for line in printed.splitlines() if line.startswith("eval ")]
    points = [point for point in read_metrics(run) if "eval/od_return" in point]
    assert [line.split(":")[0] for line in evaluations] == [
        "eval 0",
        "eval 8",
        "eval 16",
        "eval 24",
    ]
    for line, point in zip(evaluations, points, strict=True):
        assert (
            f": return {point['eval/od_return']:.1f}, skill {point['eval/od_skill']:.2f}, " in line
        )
    assert "The student on 1 unseen seed\n" in re.sub(r" +\n", "\n", printed.replace("  ", ""))
    commands = printed.split("next:\n")[1].strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        assert str(run) in command
        assert complaint(as_documented(command)) == ""


def as_documented(command: str) -> list[str]:
    """The command as it would stand in the documentation: with `python`."""
    program, *words = shlex.split(command.strip())
    assert Path(program).name.startswith("python")
    return ["python", *words]


@pytest.mark.parametrize(
    ("flags", "last"),
    [
        ("--PPD --mode ImpaalaSmall --frame_size 48x48", "--PPD --init_from A --frame_size 48x48"),
        (
            "--PPD --mode ImpaalaSmall --frame_size 64x64 --rgb --depth --stack 2",
            "--PPD --init_from A --frame_size 64x64",
        ),
        ("--PPD --mode State --no_video", "--PPD --init_from A --no_video"),
        ("--PPD --mode ImpaalaMid --blind", "--PPD --init_from A --mode ImpaalaMid --blind"),
        (
            "--BC_phase --mode ImpaalaMid --teacher T --corrupt_teacher 0.1 --run_index 2",
            "--Dagger_phase --folder_Dagger A --teacher T --corrupt_teacher 0.1 --run_index 2",
        ),
        ("--Dagger_phase --mode ImpaalaMid --dataset none", "--PPD --init_from A"),
        ("--PPO --mode ImpaalaSmall --wandb disabled", "--PPD --init_from A --wandb disabled"),
    ],
)
def test_the_next_commands_are_read_as_meant(
    flags: str, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    task = TASKS["Pusher"]
    given = parse(task, flags.split())
    h, w = map(int, given.student.frame_size.split("x"))
    framed = replace(task, frame_size=(h, w))  # as a run has it
    evaluate, report, training = next_commands(framed, given, ROOT / "A", ["python", "x"])
    assert shlex.split(evaluate)[1:] == ["-m", "Evaluation.evaluate", "A", "--episodes", "100"]
    assert shlex.split(report)[1:] == ["-m", "Evaluation.report", "A", "--output", "A/report"]
    _, script, *words = shlex.split(training)
    assert script == "Distillation/Pusher.py"
    for command in (evaluate, report, training):
        assert complaint(as_documented(command)) == ""
    meant, expected = parse(task, words), parse(task, last.split())
    for group in ("teaching", "cloning"):
        assert getattr(meant, group) == getattr(expected, group)
    assert meant.method == expected.method
    assert meant.training == expected.training
    assert meant.run.output == Path("A_dagger" if "Dagger" in last else "A_more")
    if "--init_from" in last:  # DAgger's student is that of its run
        assert meant.student == given.student
    assert (meant.run.video, meant.run.wandb) == (expected.run.video, expected.run.wandb)


def test_the_next_commands_of_a_task_of_ones_own_define_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    task = custom_task("Walker2d-v5", "torso", "0:8")
    given = ["--PPD", "--mode", "ImpaalaSmall", "--frame_size", "32x32", "--teacher", "T"]
    flags = parse(task, given)
    typed = ["python", "Distillation/Custom.py", "--env_id", "Walker2d-v5", "--camera", "torso"]
    typed += ["--proprio=0:8", *given]
    framed = replace(task, frame_size=(32, 32))  # as a run has it
    _, _, training = next_commands(framed, flags, ROOT / "A", typed)
    expected = "Distillation/Custom.py --env_id Walker2d-v5 --camera torso --proprio 0:8 --PPD "
    expected += "--init_from A --mode ImpaalaSmall --frame_size 32x32 --teacher T --output A_more"
    assert as_documented(training)[1:] == expected.split()
    assert complaint(as_documented(training)) == ""


def test_several_arguments_of_an_own_environment_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However they are given: after one flag, after several, or with `=`."""
    monkeypatch.chdir(ROOT)
    wrapper = "gymnasium.wrappers:FlattenObservation"
    task = custom_task("Walker2d-v5", "torso", wrappers=[wrapper], max_episode_steps=9)
    flags = parse(task, ["--PPD", "--mode", "ImpaalaSmall", "--teacher", "T"])
    own = ["--env_id", "Walker2d-v5", "--env_kwargs", "frame_skip=2", "reset_noise_scale=0.1"]
    own += ["--camera", "torso", "--env_kwargs=healthy_z_range=[0.5, 2]", "--wrapper", wrapper]
    typed = ["python", "Distillation/Custom.py", *own, "--max_episode_steps", "9", "--PPD"]
    evaluate, _, training = next_commands(task, flags, ROOT / "A", typed)
    assert shlex.split(evaluate)[-2:] == ["--wrapper", wrapper]
    kept = ["frame_skip=2", "reset_noise_scale=0.1", "healthy_z_range=[0.5, 2]"]
    words = shlex.split(training)
    at = words.index("--env_kwargs")
    assert words[at : at + 4] == ["--env_kwargs", *kept]
    assert words.count("--env_kwargs") == 1
    assert words[words.index("--max_episode_steps") + 1] == "9"
    assert complaint(as_documented(training)) == ""


def test_of_a_suite_they_name_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    flags = parse(TASKS["Swimmer"], ["--PPD", "--size", "smaller"])
    *_, training = next_commands(TASKS["Swimmer"], flags, ROOT / "A", ["python", "x"])
    expected = "Distillation/MuJoCo.py --env Swimmer --PPD --init_from A --output A_more"
    assert training.split()[1:] == expected.split()
    assert complaint(as_documented(training)) == ""


def test_wandb_and_tensorboard_have_the_whole_run(teacher: Path, tmp_path: Path) -> None:
    """One video per evaluation and one at the end; the same scalars in TensorBoard's files."""
    pytest.importorskip("tensorboard")
    run, short = tmp_path / "run", [flag for flag in SHORT if flag != "--no_video"]
    flags = ["--PPD", "--mode", "ImpaalaSmall", "--teacher", str(teacher), *short, "--tensorboard"]
    main("Pusher", [*flags, "--output", str(run), "--eval_every", "16"])
    rows = wandb_history(run)
    assert all({"time/env_steps", "time/gradient_steps", "step"} <= row.keys() for row in rows)
    videos = [row for row in rows if any("video" in key for key in row)]
    assert [(row["step"], "final/video" in str(row)) for row in videos] == [
        *((0, False), (16, False), (24, False), (24, True)),
    ]
    names = ["eval_000000000.mp4", "eval_000000016.mp4", "eval_000000024.mp4", "student.mp4"]
    assert sorted(path.name for path in (run / "videos").iterdir()) == names
    reader = imageio_ffmpeg.read_frames(str(run / "videos" / names[1]))
    width, height = next(reader)["size"]
    assert height == 256 and width >= 240
    picture = np.frombuffer(next(reader), np.uint8).reshape(height, width, 3)
    assert picture[:40].max() > 200 and np.median(picture[:40]) < 90  # letters on a dark band
    points = read_metrics(run)
    expected: dict[str, list] = {}
    for point in points:
        for key, value in point.items():
            if key != "step":
                expected.setdefault(key, []).append((point["step"], pytest.approx(value, rel=1e-6)))
    assert scalars(run) == expected


def test_tensorboard_that_is_not_installed_is_refused_before_any_work(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    where = ("--teacher", str(teacher), "--output", str(tmp_path / "run"))
    message = failure(capsys, "--PPD", *where, *SHORT, "--tensorboard")
    assert "--tensorboard needs the package tensorboard" in message
    assert not (tmp_path / "run").exists()


# -- until_skill ----------------------------------------------------------------------------------


@pytest.fixture
def confirmed_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first confirmation fails, at step 0; the second does not."""
    measured = iter([0.0, 1.0])
    monkeypatch.setattr(
        "Evaluation.evaluate.skill_target.SkillTarget.measure", lambda *_: next(measured)
    )


def stop_at(run: Path, kind: str, rated_teacher: Path, *more: str) -> list[int]:
    """The steps of a run's evaluations, of a run that any skill stops."""
    flags = ["--teacher", str(rated_teacher), "--output", str(run), "--wandb", "disabled"]
    short = dict(zip(SHORT[:-1:2], SHORT[1::2], strict=True)) | {"--eval_every": "8"}
    if kind != "PPD":
        for name in ("--total_timesteps", "--num_steps"):
            del short[name]
        short["--eval_every"] = "3"
    if kind == "BC_phase":
        del short["--num_envs"]
    words = [word for pair in short.items() for word in pair]
    main(
        "Pusher",
        [f"--{kind}", *flags, *words, "--no_video", "--until_skill", "1e-9", *more],
    )
    return [point["step"] for point in read_metrics(run) if "eval/od_return" in point]


@pytest.mark.usefixtures("confirmed_second")
def test_a_run_that_has_reached_its_skill_is_finished(
    rated_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert stop_at(run, "PPD", rated_teacher, "--mode", "ImpaalaSmall") == [0, 8]
    assert "further seeds: the target is reached" in capsys.readouterr().out
    assert '"until_skill": 1e-09' in (run / "config.json").read_text()
    student = (run / "student" / "student.json").read_text()
    assert '"steps": 8' in student  # the one at the stop, though it may not be the best
    assert max((run / "checkpoints").glob("step_*")).name.endswith("8")
    # The learning rate after one of three rollouts is that of the full budget.
    rates = [p["train/learning_rate"] for p in read_metrics(run) if "train/learning_rate" in p]
    assert rates[0] == pytest.approx(1e-3 + (5e-5 - 1e-3) * 8 / 24)
    again = stop_at(run, "PPD", rated_teacher, "--mode", "ImpaalaSmall", "--resume")
    assert again == [0, 8]
    assert "is finished" in capsys.readouterr().err


@pytest.mark.usefixtures("confirmed_second")
def test_a_run_that_was_killed_after_its_stop_only_reports(
    rated_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("Distillation.run.report", _killed)
        with pytest.raises(SystemExit):
            stop_at(run, "PPD", rated_teacher)
    lines = (run / "metrics.jsonl").read_text()
    assert stop_at(run, "PPD", rated_teacher, "--resume") == [0, 8]
    assert (run / "metrics.jsonl").read_text() == lines
    assert (run / "evaluation.json").is_file()


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("confirmed_second")
@pytest.mark.parametrize("kind", ["BC_phase", "Dagger_phase"])
def test_cloning_stops_too(kind: str, rated_teacher: Path, tmp_path: Path) -> None:
    if kind == "BC_phase":
        data = tmp_path / "data"
        collect = ["--C_data", "--num_data", "300", "--teacher", str(rated_teacher)]
        main("Pusher", [*collect, "--frame_size", "16x16", "--output", str(data)])
        more = ("--dataset", str(data), "--optimization_steps", "20")
        expected = [0, 3]
    else:
        more = ("--dataset", "none", "--rounds", "3", "--round_env_steps", "8")
        more += ("--round_gradient_steps", "3")
        expected = [0, 3]  # at the end of round 1, before the states of round 2
    run = tmp_path / "run"
    assert stop_at(run, kind, rated_teacher, "--mode", "ImpaalaSmall", *more) == expected
    last = read_metrics(run)[-1]
    assert last["time/gradient_steps"] == 3
    if kind == "Dagger_phase":
        assert last["time/env_steps"] == 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--until_skill", "0"), "--until_skill 0.0 must be above 0"),
        (("--until_skill", "0.9"), "--until_skill 0.9 needs the return of a blind student"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_any_work(
    flags: tuple[str, ...], message: str, teacher: Path, tmp_path: Path, capsys
) -> None:
    where = ("--teacher", str(teacher), "--output", str(tmp_path / "run"))
    assert message in failure(capsys, "--PPD", *where, *SHORT, *flags)
    assert not (tmp_path / "run").exists()


def test_too_few_known_seeds_name_the_flag(
    rated_teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--teacher", str(rated_teacher), "--output", str(tmp_path / "run"))
    flags += ("--until_skill", "0.9", "--eval_episodes", "34")
    assert "set --eval_episodes to at most 33" in failure(capsys, "--PPD", *flags)


def test_rounds_shorter_than_episodes_are_noted() -> None:
    """The defaults of DAgger, 3,600 env steps in 18 environments, against limits of Gymnasium."""
    assert environment_notes(TASKS["Pusher"], sees=False, round_steps=200) == []  # episodes of 100
    assert environment_notes(TASKS["Hopper"], sees=False) == []
    assert environment_notes(TASKS["Hopper"], sees=False, round_steps=1000) == []
    (note,) = environment_notes(TASKS["Hopper"], sees=False, round_steps=200)
    assert "a DAgger round takes 200 env steps in each environment" in note
    assert "episodes of Hopper have up to 1000" in note
    own = custom_task("InvertedPendulum-v5")
    (note,) = environment_notes(own, sees=False, round_steps=200)
    assert "raise --round_env_steps, up to 1000 times --num_envs" in note


class Forgetful(gym.Env):
    """Draws its first observation from `np_random`, which `seeded` says whether a reset seeds."""

    action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Dict({"place": gym.spaces.Box(-9, 9, (3,))})

    def __init__(self, seeded: bool = False, fails: bool = False) -> None:
        self.seeded, self.fails = seeded, fails

    def reset(self, *, seed=None, options=None):
        if self.fails:
            raise OSError("no simulator")
        super().reset(seed=seed if self.seeded else None)
        return {"place": self.np_random.normal(size=3).astype(np.float32)}, {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


def test_an_environment_that_ignores_seeds_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EnvSpec("Forgetful-v0", lambda **made: Forgetful(**made), max_episode_steps=5)
    monkeypatch.setitem(gym.registry, "Forgetful-v0", spec)
    (note,) = environment_notes(custom_task("Forgetful-v0"), sees=False)
    assert "two resets of Forgetful-v0 with the same seed differ" in note
    assert "super().reset(seed=seed)" in note
    for settings in ({"seeded": True}, {"fails": True}):  # the run itself reports what fails
        own = custom_task("Forgetful-v0", env_kwargs=settings)
        assert environment_notes(own, sees=False) == []
