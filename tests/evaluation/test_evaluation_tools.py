"""`Evaluation.evaluate` on a student of a short run, and on what is no student."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from Common.errors import UserError
from Distillation.command import main
from Enviroment import seeds
from Enviroment.make import make_env
from Enviroment.tasks import TASKS
from Evaluation.evaluate import latency
from Evaluation.evaluate import measure as evaluate_tool
from Evaluation.evaluate.__main__ import EvaluateFlags
from Evaluation.evaluate.__main__ import main as evaluate_main
from Evaluation.evaluate.agreement import agreement_measures, kl_to_teacher
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Evaluation.evaluate.measure import evaluate
from Evaluation.evaluate.subject import find_teacher, open_subject
from Models.bundle import read_bundle, write_bundle
from Models.distributions import DiagGaussian
from Models.student.bundle import load_student
from Models.teacher.policy import Teacher
from tests.support.bundle_edits import change_description
from tests.support.evaluated_run import written
from tests.support.short_run import SHORT, write_teacher

AGREEMENT = {"action_accuracy", "kl"}
COST = {"latency_p50_ms", "latency_p99_ms", "parameters", "bytes", "threads"}

pytestmark = pytest.mark.usefixtures("few_timed_actions")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def alone(run: Path, tmp_path: Path) -> Path:
    """The student's bundle, of an unknown teacher: the quickest to evaluate."""
    folder = shutil.copytree(run / "student", tmp_path / "alone")
    change_description(
        folder / "student.json", lambda description: description["teacher"].update(sha256="x")
    )
    return folder


def change_student(folder: Path, how: Callable[[dict], object]) -> None:
    tensors, description = read_bundle(folder, "student")
    how(description)
    write_bundle(folder, "student", tensors, description)


def change(path: Path, how: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


# -- evaluate ------------------------------------------------------------------------------------


def test_an_evaluation_repeats_the_runs_figures_and_adds_to_them(run: Path, capsys):
    before = written(run)
    figures = evaluate(EvaluateFlags(run, episodes=2))
    assert {name: figures[name] for name in before} == before
    assert written(run) == figures
    more = AGREEMENT | {f"teacher_states_{name}" for name in AGREEMENT}
    assert figures.keys() >= COST | more | {f"id_{name}" for name in more}
    assert figures["id_first_seed"] == seeds.training(0).start
    assert "id_skill" not in figures  # of the blind student nothing is known there
    assert figures["latency_p50_ms"] <= figures["latency_p99_ms"]
    assert figures["parameters"] == sum(
        p.numel() for p in load_student(run / "student").parameters()
    )
    assert figures["bytes"] == (run / "student" / "student.safetensors").stat().st_size
    shown = capsys.readouterr().out
    assert "KL(teacher || student)" in shown
    assert "training seeds" in shown
    assert torch.get_num_threads() == 1


def test_a_bundle_is_evaluated_without_its_teacher(
    run: Path, rated_teacher: Path, tmp_path, capsys
):
    student = tmp_path / "student"
    shutil.copytree(run / "student", student)
    description = json.loads((student / "student.json").read_text())
    assert description["teacher"]["sha256"] == Teacher.load(rated_teacher).description.sha256
    # Its teacher is not the shipped one, so nothing is said of a teacher.
    figures = evaluate(EvaluateFlags(student, episodes=2))
    before = written(run)
    assert figures["return"] == before["return"]
    assert figures.keys() >= COST | {"id_return"}
    assert not AGREEMENT & figures.keys()
    assert "teacher_return" not in figures
    assert "learned from another teacher" in capsys.readouterr().err
    assert not (student / "evaluation.json").exists()
    with_teacher = evaluate(EvaluateFlags(student, teacher=rated_teacher, episodes=2))
    assert {name: with_teacher[name] for name in before} == before


def test_agreement_is_that_of_each_ones_own_episodes(run: Path, rated_teacher: Path):
    figures = evaluate(EvaluateFlags(run, episodes=2))
    student = load_student(run / "student")
    teacher = Teacher.load(rated_teacher, min_std=0.2)  # Distillation's default floor
    task = open_subject(run).task
    kls: dict[str, list[float]] = {"": [], "teacher_states_": []}
    env = make_env(task, 2, seeds.EVALUATION.start)
    for name, actor in {"": student, "teacher_states_": teacher}.items():

        def act(obs, actor=actor, name=name):
            batch = {group: torch.as_tensor(values) for group, values in obs.items()}
            with torch.no_grad():
                ours, theirs = student.distribution(batch), teacher.distribution(batch)
            assert isinstance(ours, DiagGaussian)
            assert isinstance(theirs, DiagGaussian)
            s, t = ours.log_std.exp(), theirs.log_std.exp()
            kl = (s / t).log() + (t**2 + (ours.mean - theirs.mean) ** 2) / (2 * s**2) - 0.5
            kls[name].append(float(kl.sum(dim=1).mean()))
            return actor.predict(obs, deterministic=True)[0]

        run_episodes(act, env, task, seeds.EVALUATION.start, 2)
    env.close()
    for name, values in kls.items():
        assert figures[f"{name}kl"] == pytest.approx(np.mean(values), rel=1e-4)
    assert figures["kl"] != pytest.approx(figures["teacher_states_kl"], rel=1e-3)


def test_kl_by_hand():
    class Fixed:
        def __init__(self, mean, log_std):
            self.dist = DiagGaussian(torch.tensor([mean]), torch.tensor([log_std]))

        def distribution(self, obs):
            return self.dist

    teacher, student = Fixed([0.0, 0.0], [0.0, 0.0]), Fixed([1.0, 0.0], [0.0, np.log(2.0)])
    measure = kl_to_teacher(teacher, student)  # type: ignore[arg-type]
    # 1/2 of the mean's difference; ln 2 + 1/8 - 1/2 of the deviations' 1 and 2.
    kl = measure({"state": np.zeros((1, 1))}, np.zeros((1, 2)))
    assert kl == pytest.approx([0.5 + np.log(2) + 0.125 - 0.5])


def test_families_without_an_exact_kl_have_accuracy_alone(run: Path, tmp_path, capsys):
    other = write_teacher(tmp_path / "gaussian", family="gaussian")
    change_description(run / "student" / "student.json", lambda said: said.pop("id_seed"))
    figures = evaluate(EvaluateFlags(run / "student", teacher=other, episodes=1))
    assert "action_accuracy" in figures
    assert "kl" not in figures
    said = capsys.readouterr().err
    assert said.count("no exact KL") == 1
    assert "learned from another teacher" in said


def test_a_runs_own_figures_are_replaced_by_no_less(run: Path, tmp_path, monkeypatch, capsys):
    before = written(run)
    fewer = {name: value for name, value in before.items() if name != "teacher_return"}
    played = {**before, "return": -1.0}
    other = write_teacher(tmp_path / "other", family="gaussian")
    for flags, figures, reason in (
        (EvaluateFlags(run, episodes=2), {**played, "episodes": 1}, "fewer episodes than its 2"),
        (EvaluateFlags(run, episodes=2), {**fewer, "return": -1.0}, "it holds: teacher_return"),
        (EvaluateFlags(run, episodes=2, seeds="validation"), played, "is on other seeds"),
        (EvaluateFlags(run, episodes=2, stochastic=True), played, "samples its actions"),
        (EvaluateFlags(run, episodes=2, blind=True), played, "zeroes the frames"),
        (EvaluateFlags(run, episodes=2, teacher=other), played, "has another teacher"),
    ):
        monkeypatch.setattr(evaluate_tool, "_figures", lambda *_, f=figures: dict(f))
        evaluate(flags)
        assert written(run) == before
        note = capsys.readouterr().err
        assert (
            f"is not replaced: this evaluation {reason}" in " ".join(note.split()) or reason in note
        )
        out = tmp_path / "new" / "out.json"
        evaluate(dataclasses.replace(flags, output=out))
        assert written(out.parent, out.name)["return"] == -1.0
    monkeypatch.setattr(evaluate_tool, "_figures", lambda *_: dict(played))
    evaluate(EvaluateFlags(run, episodes=2))
    assert written(run)["return"] == -1.0


def test_a_student_of_the_state_cannot_be_blind(pusher: Callable[..., Path]):
    folder = pusher("--PPD", "--mode", "State")
    with pytest.raises(UserError, match="observes the state instead of frames"):
        evaluate(EvaluateFlags(folder, episodes=1, blind=True))


def test_sampled_actions_are_others_and_the_same_each_time(alone: Path):
    flags = EvaluateFlags(alone, episodes=1)
    best, one, other = (
        evaluate(dataclasses.replace(flags, stochastic=s)) for s in (False, True, True)
    )
    assert one["return"] == other["return"] != best["return"]
    assert one["id_return"] == other["id_return"]
    assert one["stochastic"] is True
    assert "stochastic" not in best


def test_a_sampled_student_is_compared_with_its_sampled_teacher(run: Path, rated_teacher: Path):
    figures = evaluate(EvaluateFlags(run, episodes=2, stochastic=True))
    assert figures["teacher_return"] != written(run)["teacher_return"]
    env = open_subject(run).make_env(2)
    torch.manual_seed(seeds.model(0))
    sampling = policy_act(Teacher.load(rated_teacher), deterministic=False)
    played = run_episodes(sampling, env, TASKS["Pusher"], seeds.EVALUATION.start, 2)
    env.close()
    assert figures["teacher_return"] == pytest.approx(played.returns.mean())


def test_the_seeds_that_are_asked_for_are_played(alone: Path, capsys):
    text = f"{seeds.EVALUATION.start + 1}:{seeds.EVALUATION.start + 2}"
    figures = evaluate(EvaluateFlags(alone, seeds=text))
    assert (figures["first_seed"], figures["episodes"]) == (seeds.EVALUATION.start + 1, 1)
    capsys.readouterr()
    trained = seeds.training(0).start
    text = f"{trained}:{trained + 1}"
    with pytest.raises(UserError, match="--allow_training_seeds"):
        evaluate(EvaluateFlags(alone, seeds=text))
    allowed = evaluate(EvaluateFlags(alone, seeds=text, allow_training_seeds=True))
    assert allowed["return"] == allowed["id_return"]
    assert "1 training seed" in capsys.readouterr().out


def test_a_bundle_that_does_not_say_where_it_trained_has_no_such_figures(alone: Path, capsys):
    change_description(alone / "student.json", lambda said: said.pop("id_seed"))
    figures = evaluate(EvaluateFlags(alone, episodes=1))
    assert not any(name.startswith("id_") for name in figures)
    assert "does not name its training seeds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "first"),
    [("PPD", seeds.training(0).start), ("Dagger_phase", seeds.DATASET.start)],
)
def test_an_older_runs_seeds_are_those_of_its_method(run: Path, method, first):
    change_description(run / "student" / "student.json", lambda said: said.pop("id_seed"))
    change(run / "config.json", lambda config: config["config"].update(method=method))
    assert open_subject(run).id_seed == first


def test_latency_is_of_one_thread_after_a_warm_up(alone: Path, monkeypatch):
    student, seen = load_student(alone), []
    real = student.predict

    def predict(obs, state, deterministic):
        assert state is None
        seen.append((torch.get_num_threads(), obs["frame"].shape, deterministic))
        return real(obs, state, deterministic=deterministic)

    monkeypatch.setattr(student, "predict", predict)
    torch.set_num_threads(2)
    try:
        measured = latency.measure_latency(student)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [(1, (4, 16, 16), True)] * 7
    assert 0 < measured["latency_p50_ms"] <= measured["latency_p99_ms"]


# -- what is no student ----------------------------------------------------------------------------


def failed(arguments: list[str], monkeypatch, capsys) -> str:
    monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
    with pytest.raises(SystemExit) as exit_:
        evaluate_main()
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_bad_input_ends_with_exit_code_2_and_says_why(run: Path, tmp_path, monkeypatch, capsys):
    def said(*arguments: str) -> str:
        return failed(list(arguments), monkeypatch, capsys)

    assert "There is no folder" in said(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "There is no student" in said(str(tmp_path / "empty"))
    assert "--threads 0" in said(str(run), "--threads", "0")
    assert "not one of evaluation, validation" in said(str(run), "--seeds", "test")
    assert "There is no teacher" in said(str(run), "--teacher", str(tmp_path / "nobody"))
    shutil.rmtree(run / "student")
    assert "cut short before its first evaluation" in said(str(run))
    (run / "config.json").write_text("{}")
    assert "does not describe a student's run" in said(str(run))


def test_a_teacher_of_another_task_is_refused_by_name(run: Path, tmp_path):
    other = write_teacher(tmp_path / "other", task="Reacher")
    with pytest.raises(UserError, match="Reacher"):
        evaluate(EvaluateFlags(run, teacher=other, episodes=1))


def test_a_student_of_other_frames_than_the_tasks_is_refused(run: Path):
    subject = open_subject(run)
    changed = dataclasses.replace(subject, task=dataclasses.replace(subject.task, stack=2))
    with pytest.raises(UserError, match=r"expects frame \(4, 16, 16\)"):
        changed.make_env(1)


def test_a_missing_teacher_leaves_out_what_needs_it(
    run: Path, rated_teacher: Path, tmp_path, capsys
):
    gone = str(tmp_path / "gone")
    change(run / "config.json", lambda config: config["config"]["teaching"].update(teacher=gone))
    assert find_teacher(open_subject(run), None) is None
    assert "Omitting figures that need a teacher" in capsys.readouterr().err
    figures = evaluate(EvaluateFlags(run, episodes=2))
    assert "teacher_return" not in figures
    assert "teacher_return" in written(run)  # what was known is not lost


def test_a_noisy_teacher_is_asked_with_its_noise(rated_teacher: Path, tmp_path):
    folder = tmp_path / "run"
    flags = ["--PPD", "--teacher", str(rated_teacher), *SHORT, "--wandb", "disabled"]
    main("Pusher", [*flags, "--output", str(folder), "--corrupt_teacher", "0.05"])
    before = written(folder)
    taught = find_teacher(open_subject(folder), None)
    assert taught is not None
    assert taught.teacher.description.corruption_sigma == 0.05
    figures = evaluate(EvaluateFlags(folder, episodes=2))
    assert {name: figures[name] for name in before} == before
    assert figures["corrupted_teacher_return"] != figures["teacher_return"]


def test_measures_cost_no_further_episodes(run: Path):
    subject = open_subject(run)
    taught = find_teacher(subject, None)
    assert taught is not None
    env = subject.make_env(2)
    first = seeds.EVALUATION.start
    act = policy_act(subject.student)
    measures = agreement_measures(taught.teacher, subject.student, env, policy_act(taught.teacher))
    plain = run_episodes(act, env, subject.task, first, 2)
    measured = run_episodes(act, env, subject.task, first, 2, measures)
    env.close()
    np.testing.assert_array_equal(plain.returns, measured.returns)
    assert measured.measures.keys() == AGREEMENT
