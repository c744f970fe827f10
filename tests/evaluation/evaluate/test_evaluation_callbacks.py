"""Evaluation during SB3's own PPO, on an environment of hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger

from Common.errors import UserError
from Enviroment import seeds
from Evaluation.evaluate.callbacks import EvaluationCallback, evaluation_line
from tests.support.environments.fake_env import TASK, FakeVecEnv, return_of

OD = range(seeds.VALIDATION.start, seeds.VALIDATION.start + 3)
ID = range(seeds.training(1).start, seeds.training(1).start + 3)


class Points(KVWriter):
    """What was logged, in memory."""

    def __init__(self):
        self.points = []

    def write(self, key_values, key_excluded, step=0):
        self.points.append({"step": step, **key_values})

    def close(self):
        pass


def make_model():
    """PPO with rollouts of 8 env steps, and what it logs."""
    model = PPO("MlpPolicy", FakeVecEnv(2, grouped=False), n_steps=4, batch_size=8, n_epochs=1)
    points = Points()
    model.set_logger(Logger(None, [points]))
    return model, points.points


def act_by_steps(model, first_actions):
    """Evaluated after n env steps, the student always does `first_actions[n]`."""

    def predict(obs, state=None, episode_start=None, deterministic=False):
        assert deterministic
        value = first_actions[model.num_timesteps]
        return np.full((len(obs), 2), value, np.float32), None

    model.predict = predict


def make_callback(env=None, **settings):
    settings = {
        "id_seed": seeds.training(1).start,
        "eval_every": 10,
        "n_episodes": 3,
        "baselines": {},
    } | settings
    return EvaluationCallback(env or FakeVecEnv(2, grouped=False), TASK, **settings)


def evaluations(points):
    return [point for point in points if "eval/od_return" in point]


def mean_return(seeds_played, action):
    return np.mean([return_of(seed, action) for seed in seeds_played])


def test_the_student_is_evaluated_on_its_own_environments_at_the_right_steps():
    model, points = make_model()
    act_by_steps(model, {0: 0.5, 16: 1.5, 24: 1.0})
    env = FakeVecEnv(2, grouped=False)
    model.learn(24, make_callback(env))
    # Rollouts begin at 0, 8, 16; 10 steps have passed at 16; 24 is the end.
    logged = evaluations(points)
    assert [point["step"] for point in logged] == [0, 16, 24]
    for point, action in zip(logged, (0.5, 1.5, 1.0), strict=True):
        assert point["eval/od_return"] == pytest.approx(mean_return(OD, action))
        assert point["eval/id_return"] == pytest.approx(mean_return(ID, action))
        # The state's step, at the end of episodes of 3 + s % 4 steps.
        assert point["eval/od_step_distance"] == np.mean([3 + seed % 4 for seed in OD])
        assert 0 <= point["eval/od_success"] <= 1
    assert {*OD, *ID} <= set(env.finished)
    training = model.get_env()
    assert isinstance(training, FakeVecEnv)
    assert training.finished
    assert not {*OD, *ID} & set(training.finished)


def test_training_is_the_same_with_and_without_evaluation():
    parameters = []
    for callback in (None, make_callback(teacher=lambda obs: np.ones((len(obs), 2)))):
        env = FakeVecEnv(2, grouped=False)
        model = PPO("MlpPolicy", env, n_steps=4, batch_size=8, n_epochs=1, seed=3)
        model.learn(24, callback)
        parameters.append(model.policy.state_dict())
    for name, value in parameters[0].items():
        np.testing.assert_array_equal(value.numpy(), parameters[1][name].numpy())


def test_skill_baselines_and_accuracy_are_logged():
    model, points = make_model()
    act_by_steps(model, {0: 0.5, 8: 0.5})
    student = mean_return(OD, 0.5)
    callback = make_callback(
        baselines={
            "teacher": [student + 2.0] * 3 + [1e9],  # seeds beyond the first 3 do not count
            "blind": [student - 6.0] * 3 + [1e9],
            "nothing": [-50.0] * 4,
        },
        teacher=lambda obs: np.ones((len(obs), 2)),
    )
    model.learn(8, callback)
    point = evaluations(points)[0]
    assert point["eval/od_skill"] == pytest.approx(6 / 8)
    assert point["eval/teacher_return"] == pytest.approx(student + 2)
    assert point["eval/blind_return"] == pytest.approx(student - 6)
    assert point["eval/nothing_return"] == -50.0
    # Bounds -2..4: a difference of 0.5 is 1/6 of half the range, squared 1/36.
    assert point["eval/action_accuracy"] == pytest.approx(1 - 1 / 36)
    assert callback.od_stats is not None
    assert callback.od_stats.seeds.tolist() == list(OD)


def test_training_that_asks_is_told_the_skill_on_the_seeds_it_trained_on():
    model, points = make_model()
    act_by_steps(model, {0: 0.5, 8: 1.5})
    told = []
    low, high = mean_return(ID, 0.5), mean_return(ID, 1.5)
    baselines = {"teacher": [low + 8.0] * 3, "blind": [low - 2.0] * 3}
    model.learn(8, make_callback(baselines=baselines, take_skill=told.append))
    # Blind to teacher is 10: first 2 of it, then that and what the better action brings.
    assert told == pytest.approx([0.2, 0.2 + (high - low) / 10])
    assert [point["eval/id_skill"] for point in evaluations(points)] == told


@pytest.mark.parametrize("known", [{}, {"teacher": [0.0] * 3}, {"blind": [0.0] * 3}])
def test_skill_that_is_wanted_and_unknown_is_refused_before_training(known):
    with pytest.raises(UserError, match=r"python -m Evaluation\.blind"):
        make_callback(baselines=known, take_skill=lambda skill: None)


def test_without_a_blind_baseline_there_is_no_skill():
    model, points = make_model()
    model.learn(8, make_callback(baselines={"teacher": [0.0] * 3}))
    assert "eval/od_skill" not in evaluations(points)[0]
    assert "eval/teacher_return" in evaluations(points)[0]
    assert "eval/action_accuracy" not in evaluations(points)[0]


def test_only_a_better_student_is_saved():
    model, _ = make_model()
    act_by_steps(model, {0: 0.5, 8: 1.5, 16: 1.0, 24: 1.5, 32: 2.0})
    saved = []
    callback = make_callback(
        eval_every=8, save_best=lambda stats: saved.append((model.num_timesteps, stats))
    )
    model.learn(32, callback)
    assert [step for step, _ in saved] == [0, 8, 32]
    assert callback.best_return == pytest.approx(mean_return(OD, 2.0))
    assert saved[-1][1].returns.mean() == callback.best_return


def test_a_resumed_run_keeps_its_best():
    model, _ = make_model()
    act_by_steps(model, {0: 0.5, 8: 1.5})
    saved = []
    callback = make_callback(best_return=mean_return(OD, 2.0), save_best=saved.append)
    model.learn(8, callback)
    assert saved == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eval_every": 0}, "`eval_every` 0"),
        ({"n_episodes": 0}, "`n_episodes` 0"),
        ({"baselines": {"teacher": [1.0, 2.0]}}, "`n_episodes` 3 exceeds the 2 seeds"),
        ({"baselines": {"teacher": [-40.0] * 3, "blind": [-37.0] * 3}}, "no better than"),
    ],
)
def test_bad_settings_are_refused_before_training(settings, message):
    with pytest.raises(UserError, match=message):
        make_callback(**settings)


# -- what is printed ------------------------------------------------------------------------------


def test_every_evaluation_is_a_line(capsys):
    model, points = make_model()
    act_by_steps(model, {0: 0.5, 8: 0.25, 16: 1.5})
    callback = make_callback(
        eval_every=8, baselines={"teacher": [200.0] * 3, "blind": [-200.0] * 3}
    )
    model.learn(16, callback)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(evaluations(points)) == 3
    for line, point in zip(lines, evaluations(points), strict=True):
        assert f"return {point['eval/od_return']:.1f}" in line
        assert f"success {100 * point['eval/od_success']:.0f}%" in line
        assert f"skill {(point['eval/od_return'] + 200) / 400:.2f}" in line
    assert [line.split(":")[0] for line in lines] == ["eval 0", "eval 8", "eval 16"]
    assert [line.endswith(" (best)") for line in lines] == [True, False, True]


def test_a_line_lacks_what_is_unknown():
    assert evaluation_line(25_344, {"eval/return": -29.64}, "eval/", is_best=False) == (
        "eval 25.3k: return -29.6"
    )


def test_the_first_validation_episode_is_filmed_until_that_fails():
    model, _ = make_model()
    act_by_steps(model, {0: 0.5, 8: 0.25, 16: 1.5})
    callback = make_callback(eval_every=8)
    filmed = []

    def film(played, step):
        filmed.append((step, played.episode_return, len(played.actions), played.distance))
        return step < 8

    callback.film = film
    model.learn(16, callback)
    length = 3 + OD[0] % 4  # at its end, the distance is the step
    assert filmed == [
        (0, pytest.approx(return_of(OD[0], 0.5)), length, length),
        (8, pytest.approx(return_of(OD[0], 0.25)), length, length),
    ]


# -- until_skill ----------------------------------------------------------------------------------

FURTHER = range(OD.stop, OD.stop + 6)


def baselines_for(action, n=9):
    """A student that always does `action` has skill 1; one that does 0, skill 0."""
    played = range(OD.start, OD.start + n)
    return {
        "teacher": [return_of(seed, action) for seed in played],
        "blind": [return_of(seed, 0.0) for seed in played],
    }


def test_training_stops_at_a_skill_that_further_seeds_confirm(capsys):
    model, points = make_model()
    # Skill is the action here: 0.9 at 0 and 8, 0.96 at 16.
    act_by_steps(model, {0: 0.5, 8: 0.9, 16: 0.96})
    saved, env = [], FakeVecEnv(2, grouped=False)
    callback = make_callback(
        env,
        eval_every=8,
        baselines=baselines_for(1.0),
        until_skill=0.95,
        save_best=lambda stats: saved.append(model.num_timesteps),
        best_return=1e9,  # of an earlier, luckier evaluation
    )
    model.learn(64, callback)
    assert [point["step"] for point in evaluations(points)] == [0, 8, 16]
    assert callback.reached and vars(model)["stop_training"]
    assert model.num_timesteps == 18  # SB3's own loop makes one step more than ours
    assert evaluations(points)[-1]["eval/confirmed_skill"] == pytest.approx(0.96)
    assert all("eval/confirmed_skill" not in point for point in evaluations(points)[:-1])
    assert saved == [16]  # the best student is the one at the stop
    assert callback.best_step == 16
    assert set(FURTHER) <= set(env.finished)
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .endswith("(best); skill 0.96 on 6 further seeds: the target is reached")
    )


def test_a_lucky_evaluation_does_not_stop_training(capsys):
    """On the further seeds the teacher is twice as far from blind, so skill is the half."""
    model, points = make_model()
    act_by_steps(model, {0: 1.0, 8: 1.0})
    baselines = baselines_for(1.0)
    baselines["teacher"][3:] = [return_of(seed, 2.0) for seed in FURTHER]
    callback = make_callback(eval_every=8, baselines=baselines, until_skill=0.95)
    model.learn(8, callback)
    assert not callback.reached
    first, last = evaluations(points)
    assert first["eval/confirmed_skill"] == pytest.approx(0.5)
    assert "eval/confirmed_skill" not in last  # training has ended anyway
    assert "0.50 on 6 further seeds: not yet the target" in capsys.readouterr().out


def test_a_resumed_run_knows_that_it_has_reached_its_target():
    model, points = make_model()
    callback = make_callback(baselines=baselines_for(1.0), until_skill=0.95)
    old = make_callback().capture()
    del old["reached"]  # as in older checkpoints
    callback.restore(old)
    assert not callback.reached
    callback.restore({**old, "reached": True, "_latest": 0})
    model.learn(8, callback)
    assert vars(model)["stop_training"]
    assert evaluations(points) == []


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ({}, "the return of the teacher and a blind student, which the teacher's bundle lacks"),
        (
            {"teacher": [0.0] * 9},
            r"the return of a blind student, .*python -m Evaluation\.blind RUN",
        ),
        (baselines_for(1.0, 8), "needs 9 validation seeds: .* at most 2"),
    ],
)
def test_a_target_that_cannot_be_confirmed_is_refused_before_training(baselines, message):
    with pytest.raises(UserError, match=message):
        make_callback(baselines=baselines, until_skill=0.95)
