"""Options of a run: where it begins, how lambda falls, an imperfect teacher, augmentation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from Common.runs.files import read_metrics
from Distillation.command import main
from Distillation.flags.parse import parse
from Distillation.flags.resolve import Flags
from Distillation.starting.initial_student import read_initial_student
from Enviroment import seeds
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.make import make_env
from Enviroment.tasks import TASKS
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentPolicy
from Models.teacher.corruption import corrupt
from Models.teacher.policy import Teacher, record_baseline, save_teacher
from tests.support.bundle_edits import change_description
from tests.support.cloning_data import student
from tests.support.short_for import short_for
from tests.support.short_run import SHORT, failure, write_teacher
from tests.support.tiny_teacher import tiny_teacher

SMALL = dataclasses.replace(TASKS["Pusher"], frame_size=(16, 16))
CLONING = ("--batch_size", "16", "--optimization_steps", "4")
COLLECT = ("--C_data", "--num_data", "300", "--frame_size", "16x16", "--threads", "1")


def train(output: Path, teacher: Path, *flags: str) -> Path:
    where = ("--teacher", str(teacher), "--output", str(output))
    main("Pusher", [*where, *short_for(*flags), "--wandb", "disabled", *flags])
    return output


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def seeing(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with another network than the flags' defaults."""
    network = ("--mode", "ImpaalaSmall", "--pooling", "1", "--init_log_std", "-1.0")
    folder = tmp_path_factory.mktemp("seeing") / "run"
    return train(folder, teacher, "--Sdistillation", *network)


@pytest.fixture(scope="module")
def dataset(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets") / "few"
    main("Pusher", [*COLLECT, "--teacher", str(teacher), "--output", str(folder)])
    return folder


# -- --init_from ----------------------------------------------------------------------------------


def test_a_critic_of_a_distillation_is_not_taken_over(
    pusher: Callable[..., Path],
) -> None:
    """It is in the task's own rewards, PPO's in normalised ones."""
    folder = pusher("--Sdistillation", "--mode", "State")
    student = load_student(folder / "student")
    spaces = student.all_groups(), student.action_space
    fresh = StudentPolicy(*spaces, lambda _: 0.0, config=student.config)
    critic = {name: tensor.clone() for name, tensor in fresh.critic.state_dict().items()}
    read_initial_student(folder).give_weights(fresh)
    assert all(tensor.equal(critic[name]) for name, tensor in fresh.critic.state_dict().items())
    for name, tensor in student.actor.state_dict().items():
        assert tensor.equal(fresh.actor.state_dict()[name])


@pytest.mark.parametrize("method", ["PPD", "PPO", "Sdistillation", "Tdistillation"])
def test_a_run_goes_on_from_another_student(
    pusher: Callable[..., Path], seeing: Path, method: str
) -> None:
    """Before the first step both are evaluated on the same seeds, with the same weights."""
    bundle = read(seeing / "student" / "student.json")
    folder = pusher(f"--{method}", "--mode", "ImpaalaSmall", "--init_from", str(seeing))
    first = read_metrics(folder)[0]
    assert first["step"] == 0
    assert first["eval/od_return"] == bundle["training"]["validation_return"]
    config = read(folder / "config.json")["config"]
    assert config["init_from_sha256"] == bundle["sha256"]
    assert (config["student"]["pooling"], config["student"]["init_log_std"]) == (1, -1.0)
    ours = read(folder / "student" / "student.json")
    assert ours["config"] == bundle["config"]
    assert ours["init_from_sha256"] == bundle["sha256"]


def test_cloning_goes_on_from_a_bundle(
    pusher: Callable[..., Path], seeing: Path, dataset: Path
) -> None:
    source = ("--init_from", str(seeing / "student"), "--dataset", str(dataset))
    folder = pusher("--BC_phase", "--mode", "ImpaalaSmall", *source, *CLONING)
    bundle = read(seeing / "student" / "student.json")
    assert read_metrics(folder)[0]["eval/od_return"] == bundle["training"]["validation_return"]


def test_a_critic_that_sees_something_else_begins_anew(
    pusher: Callable[..., Path], seeing: Path
) -> None:
    """With a learning rate of nothing, the student that is saved is the one it began with."""
    flags = ("--mode", "ImpaalaSmall", "--critic_on_state", "--learning_rate", "1e-30")
    folder = pusher("--PPO", "--init_from", str(seeing), *flags)
    before = load_student(seeing / "student").state_dict()
    after = load_student(folder / "student").state_dict()
    assert "critic_normaliser.mean" in after
    for name, tensor in before.items():
        if not name.startswith("critic"):
            assert torch.equal(after[name], tensor), name
        elif name.endswith("weight"):  # biases begin at 0, and so they may be the same
            assert not torch.equal(after[name], tensor), name


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        (("--mode", "State"), ("mode", "ImpaalaSmall", "State", "--mode ImpaalaSmall")),
        (("--mode", "ImpaalaMid"), ("ImpaalaMid", "--mode ImpaalaSmall")),
        (("--frame_size", "16x24"), ("16x16", "16x24", "--frame_size 16x16")),
        (("--blind",), ("seeing", "blind", "Leave out --blind")),
    ],
)
def test_a_student_of_other_sight_is_refused(
    seeing: Path,
    teacher: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    messages: tuple[str, ...],
) -> None:
    start = ("--PPD", "--teacher", str(teacher), *SHORT, "--output", str(tmp_path / "run"))
    source = ("--mode", "ImpaalaSmall", "--init_from", str(seeing))
    said = failure(capsys, *start, *source, *flags)
    assert all(message in said for message in (str(seeing), *messages)), said
    assert not (tmp_path / "run").exists()


def test_a_blind_student_stays_blind(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = train(tmp_path / "blind", teacher, "--PPD", "--mode", "ImpaalaSmall", "--blind")
    start = ("--PPD", "--mode", "ImpaalaSmall", "--init_from", str(blind))
    where = ("--teacher", str(teacher), *SHORT, "--output", str(tmp_path / "run"))
    assert "Give --blind" in failure(capsys, *start, *where)
    # Bundles from before this key was written: their run says it.
    bundle = blind / "student" / "student.json"
    assert read(bundle)["blind"] is True
    change_description(bundle, lambda description: description.pop("blind"))
    assert "Give --blind" in failure(capsys, *start, *where)
    (blind / "config.json").write_text("{")
    assert "does not describe a run" in failure(capsys, *start, *where)
    assert not (tmp_path / "run").exists()


def test_no_student_to_begin_with(
    seeing: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--PPD", "--mode", "ImpaalaSmall", "--teacher", str(teacher), *SHORT)
    start = (*start, "--output", str(tmp_path / "run"), "--init_from")
    assert "There is no student" in failure(capsys, *start, str(tmp_path / "nowhere"))
    save_student(student(), tmp_path / "unnamed", {})
    assert "names no task" in failure(capsys, *start, str(tmp_path / "unnamed"))
    save_student(student(), tmp_path / "reacher", {"task": "Reacher"})
    said = failure(capsys, *start, str(tmp_path / "reacher"))
    assert "Reacher" in said
    assert "Distillation/Reacher.py" in said
    spoilt = tmp_path / "spoilt" / "student"
    save_student(load_student(seeing / "student"), spoilt, {"task": "Pusher"})
    (spoilt / "student.safetensors").write_bytes(b"no weights")
    assert "SHA-256" in failure(capsys, *start, str(tmp_path / "spoilt"))
    dagger = ("--Dagger_phase", *start[1:], str(seeing))
    assert "--folder_Dagger RUN" in failure(capsys, *dagger)
    assert "--init_from: only with --PPD" in failure(capsys, "--C_data", "--init_from", str(seeing))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_student_without_its_teachers_tanh_is_refused(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], direction: str
) -> None:
    gaussian = write_teacher(tmp_path / "gaussian", family="gaussian")
    begun = train(tmp_path / "begun", gaussian, "--PPD")
    start = ("--PPD", "--kl_direction", direction, "--init_from", str(begun), *SHORT)
    where = ("--teacher", str(teacher), "--output", str(tmp_path / "run"))
    said = failure(capsys, *start, *where)
    assert "squashed_gaussian, the student's gaussian" in said
    assert not (tmp_path / "run").exists()


# -- --critic_warmup, --lambda_schedule -----------------------------------------------------------


def test_the_critic_warms_up(pusher: Callable[..., Path]) -> None:
    for method in ("PPD", "PPO", "Sdistillation", "Tdistillation"):
        points = read_metrics(pusher(f"--{method}", "--critic_warmup", "16", "--overwrite"))
        assert points[-2]["train/critic_warmup"] == 0  # at 24 steps, before the last evaluation


def test_lambda_falls_in_a_line(pusher: Callable[..., Path]) -> None:
    schedule = ("--lambda_schedule", "linear", "--final_lambda", "2", "--PPD_parameter", "5")
    points = read_metrics(pusher("--PPD", *schedule))
    assert [p["train/lambda"] for p in points if "train/lambda" in p][-1] == 2.0


def test_lambda_falls_with_skill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_teacher(tmp_path / "teacher")
    schedule = ("--PPD", "--lambda_schedule", "skill", "--final_lambda", "1")
    where = ("--teacher", str(bundle), "--output", str(tmp_path / "run"), *SHORT)
    said = failure(capsys, *schedule, *where)
    assert "python -m Evaluation.blind" in said
    assert "nothing, teacher" in said or "teacher, nothing" in said
    assert not (tmp_path / "run").exists()
    # Far below any return, and the teacher's -20: the untrained student is near the teacher.
    record_baseline(bundle, "blind", {"validation": [-500.0] * 100, "evaluation": [-500.0] * 100})
    points = read_metrics(train(tmp_path / "run", bundle, *schedule, "--PPD_parameter", "5"))
    first = points[0]
    skill = (first["eval/id_return"] + 500) / (500 - 20)
    assert first["eval/id_skill"] == pytest.approx(skill)
    assert 0 < skill < 1
    given = next(p["train/lambda"] for p in points if "train/lambda" in p)
    assert given == pytest.approx(1 + 4 * (1 - skill), rel=1e-5)


# -- --corrupt_teacher ----------------------------------------------------------------------------


def test_a_run_with_an_imperfect_teacher(pusher: Callable[..., Path], teacher: Path) -> None:
    folder = pusher("--PPD", "--corrupt_teacher", "0.3", "--run_index", "2")
    intact = Teacher.load(teacher)
    imperfect = corrupt(intact, 0.3, seeds.model(2))
    env = make_env(TASKS["Pusher"], 2, 0, blind=True)
    stats = run_episodes(policy_act(imperfect), env, TASKS["Pusher"], seeds.EVALUATION.start, 2)
    env.close()
    evaluation = read(folder / "evaluation.json")
    assert evaluation["corrupted_teacher_return"] == pytest.approx(stats.returns.mean(), abs=1e-4)
    assert evaluation["teacher_return"] == -20.0  # the uncorrupted one's, as its bundle has it
    config = read(folder / "config.json")
    assert config["teacher_sha256"] == imperfect.description.sha256
    sha256 = intact.description.sha256
    noise = {"sigma": 0.3, "seed": seeds.model(2), "uncorrupted_sha256": sha256}
    assert config["config"]["corruption"] == noise
    assert config["config"]["teaching"]["corrupt_teacher"] == 0.3
    assert read(folder / "student" / "student.json")["corruption"] == noise
    clean = read(pusher("--PPD", "--overwrite") / "evaluation.json")
    assert "corrupted_teacher_return" not in clean


def test_a_teacher_that_is_known_on_too_few_seeds_is_measured(tmp_path: Path) -> None:
    """Procgen's runs end with 200 episodes, and its teachers' bundles have 100."""
    known = {"validation": [-20.0] * 2, "evaluation": [-20.0]}
    of_one = {"validation": [0.0] * 2, "evaluation": [0.0]}
    weak = tiny_teacher(baselines={"teacher": known})
    description = dataclasses.replace(weak.description, successes={"teacher": of_one})
    save_teacher(tmp_path / "teacher", weak.state_dict(), description, {})
    folder = train(tmp_path / "run", tmp_path / "teacher", "--PPD")
    env = make_env(TASKS["Pusher"], 2, 0, blind=True)
    stats = run_episodes(policy_act(weak), env, TASKS["Pusher"], seeds.EVALUATION.start, 2)
    env.close()
    evaluation = read(folder / "evaluation.json")
    assert evaluation["episodes"] == 2
    assert evaluation["teacher_return"] == pytest.approx(stats.returns.mean(), abs=1e-4)
    assert evaluation["teacher_success"] == stats.summary()["success"]


def test_the_hash_of_an_imperfect_teacher_is_that_of_its_bundle(
    teacher: Path, tmp_path: Path
) -> None:
    imperfect = corrupt(Teacher.load(teacher), 0.05, 7)
    save_teacher(tmp_path / "bad", imperfect.state_dict(), imperfect.description, {})
    saved = read(tmp_path / "bad" / "teacher.json")["sha256"]
    assert imperfect.description.sha256 == saved != Teacher.load(teacher).description.sha256


def test_a_dataset_of_an_imperfect_teacher_says_so(
    teacher: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = ("--teacher", str(teacher), "--corrupt_teacher", "0.3")
    main("Pusher", [*COLLECT, *noisy, "--output", str(tmp_path / "data")])
    recipe = TeacherDataset.open(tmp_path / "data", SMALL).manifest.recipe
    assert recipe.teacher["corruption_sigma"] == 0.3
    assert recipe.teacher["corruption_seed"] == seeds.model(0)
    clean = TeacherDataset.open(dataset, SMALL).manifest.recipe
    assert "corruption_sigma" not in clean.teacher
    assert recipe.teacher["sha256"] != clean.teacher["sha256"]
    # Who clones it names the same noise; the dataset of one teacher is not another's.
    clone = ("--BC_phase", *short_for("--BC_phase"), *CLONING, "--wandb", "disabled")
    clone = (*clone, "--output", str(tmp_path / "run"), "--dataset")
    said = failure(capsys, *clone, str(tmp_path / "data"), "--teacher", str(teacher))
    assert "another teacher" in said
    assert "another teacher" in failure(capsys, *clone, str(dataset), *noisy)
    assert not (tmp_path / "run").exists()
    main("Pusher", [*clone, str(tmp_path / "data"), *noisy])
    assert "corrupted_teacher_return" in read(tmp_path / "run" / "evaluation.json")


# -- augmentation ---------------------------------------------------------------------------------


def test_what_is_learned_from_is_augmented(pusher: Callable[..., Path]) -> None:
    """And what is acted on is not: so the ratio is not 1 even before the first update."""
    for flags, augmented in (
        ((), False),
        (("--random_shift", "2"), True),
        (("--modality_dropout", "0.5"), True),
    ):
        points = read_metrics(pusher("--PPD", "--mode", "ImpaalaSmall", "--overwrite", *flags))
        ratio = next(p["train/ratio_first"] for p in points if "train/ratio_first" in p)
        assert (abs(ratio - 1) > 1e-4) == augmented


@pytest.mark.slow
def test_cloning_is_augmented_too(pusher: Callable[..., Path], dataset: Path) -> None:
    """Training losses differ, and round 0 of DAgger takes its mode from the run it goes on from."""
    start = ("--BC_phase", "--mode", "ImpaalaSmall", "--dataset", str(dataset), *CLONING)
    losses = [
        last(read_metrics(pusher(*start, "--overwrite", *flags)), "train/loss")
        for flags in ((), ("--random_shift", "2"), ("--modality_dropout", "0.9"))
    ]
    assert len(set(losses)) == 3
    run = pusher("--BC_phase", *start[1:], "--overwrite")
    rounds = ("--rounds", "1", "--round_env_steps", "200", "--round_gradient_steps", "3")
    dagger = ("--Dagger_phase", "--folder_Dagger", str(run), *rounds, "--batch_size", "16")
    folder = run.with_name("dagger")
    pusher(*dagger, "--random_shift", "2", "--output", str(folder))
    config = read(folder / "config.json")["config"]
    assert (config["student"]["mode"], config["training"]["random_shift"]) == ("ImpaalaSmall", 2)


def last(points: list[dict[str, Any]], key: str) -> float:
    return [point[key] for point in points if key in point][-1]


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--PPD", "--critic_warmup", "-1"), "--critic_warmup -1 cannot be below 0"),
        (("--PPD", "--critic_warmup", "1000"), "below one rollout of 1152"),
        (("--PPD", "--critic_warmup", "350000"), "leaves nothing of --total_timesteps 34560"),
        (("--BC_phase", "--critic_warmup", "5000"), "--critic_warmup: only with --PPD"),
        (
            ("--PPD", "--lambda_schedule", "linear", "--final_lambda", "-1"),
            "--final_lambda -1",
        ),
        (("--PPD", "--PPD_parameter", "nan"), "--PPD_parameter nan"),
        (
            ("--PPD", "--lambda_schedule", "skill", "--PPD_parameter", "0.1"),
            "is above --PPD_parameter 0.1",
        ),
        (("--PPO", "--lambda_schedule", "linear"), "--lambda_schedule: only with --PPD"),
        (("--Sdistillation", "--lambda_schedule", "skill"), "--Sdistillation does not use"),
        (("--PPD", "--corrupt_teacher", "-0.1"), "--corrupt_teacher -0.1"),
        (("--PPD", "--corrupt_teacher", "nan"), "--corrupt_teacher nan"),
        (("--PPO", "--corrupt_teacher", "0.05"), "PPO has no teacher"),
        (("--PPD", "--random_shift", "-1", "--mode", "ImpaalaSmall"), "random_shift -1"),
        (("--PPD", "--random_shift", "2", *SHORT), "does not work in mode State"),
        (("--PPD", "--modality_dropout", "0.1", *SHORT), "does not work in mode State"),
        (("--PPD", "--modality_dropout", "1", "--mode", "ImpaalaSmall"), "modality_dropout 1"),
        (("--C_data", "--random_shift", "2"), "--C_data does not use"),
    ],
)
def test_options_that_cannot_be_done_are_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    assert message in failure(capsys, *flags, "--output", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_teacher_with_noise_gets_no_more(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imperfect = corrupt(Teacher.load(teacher), 0.05, 7)
    save_teacher(tmp_path / "bad", imperfect.state_dict(), imperfect.description, {})
    start = ("--PPD", "--teacher", str(tmp_path / "bad"), *SHORT)
    where = ("--corrupt_teacher", "0.05", "--output", str(tmp_path / "run"))
    assert "corrupted already" in failure(capsys, *start, *where)
    assert not (tmp_path / "run").exists()


def test_a_file_of_flags_is_checked_with_the_command_line(tmp_path: Path) -> None:
    """Alone, the file's shift would not fit the default mode."""
    file = tmp_path / "settings.yaml"
    file.write_text("random_shift: 2\nPPD: true\ninit_from: some/run\n")
    flags = parse(TASKS["Pusher"], ["--config", str(file), "--mode", "ImpaalaSmall"])
    assert flags.augmentation().random_shift == 2
    assert flags.training.init_from == Path("some/run")
    assert type(flags) is Flags
