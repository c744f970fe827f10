"""Datasets of games: frames alone, whole lives and levels, and labels of the stacks themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.samples.data import TeacherSamples
from Common.errors import UserError
from Distillation.command import main_suite
from Enviroment import seeds
from Enviroment.dataset import collect as collection
from Enviroment.dataset.behaviour_noise import RandomActions
from Enviroment.dataset.collect import collect, repair
from Enviroment.dataset.commands import statistics, write_contact_sheet
from Enviroment.dataset.format import Manifest, shard_name
from Enviroment.dataset.minari_exchange import export_minari, import_minari
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.recording import FRAME_LABEL_ROWS
from Enviroment.dataset.verify import verify
from Enviroment.make import make_env, make_state_env
from Enviroment.suites import envpool_games
from Enviroment.suites.envpool_games import load_envpool
from Enviroment.tasks import Task, get_task
from Models.student.bundle import load_student
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher, TeacherDescription, save_teacher
from tests.support.tiny_dataset import content

envpool = pytest.importorskip("envpool", reason="needs the extra 'suites'")
pytest.importorskip("PyQt5", reason="needs the extra 'suites'")

FIRST = seeds.DATASET.start
LIMIT = 230  # env steps of Qbert: some of its first lives are longer, some shorter
GAMES = {"Qbert": 500, "Miner": 950}  # and env steps to collect
SHORT = (
    *("--batch_size", "16", "--eval_every", "4", "--eval_episodes", "2"),
    *("--final_episodes", "2", "--device", "cpu", "--threads", "1", "--wandb", "disabled"),
    "--no_video",
)


class FrameTeacher:
    """Multiplies what it sees of a stack by a matrix, as a network does."""

    groups = ("frame",)

    def __init__(self, n_actions: int) -> None:
        self.identity = {"sha256": "f", "family": "categorical", "min_std": 0.01}
        generator = np.random.default_rng(3)
        self.matrix = generator.normal(0, 0.1, (4 * 16, n_actions)).astype(np.float32)
        self.fail_after: int | None = None  # calls
        self.calls = 0

    def __call__(self, observations):
        self.calls += 1
        if self.fail_after is not None and self.calls > self.fail_after:
            raise KeyboardInterrupt
        frames = observations["frame"]
        assert len(frames) == FRAME_LABEL_ROWS
        pixels = frames[:, :, ::16, ::16].reshape(len(frames), -1).astype(np.float32)  # (B, N)
        logits = pixels @ np.resize(self.matrix, (pixels.shape[1], self.matrix.shape[1]))
        labels = {"action": logits.argmax(axis=1), "distribution.logits": logits}
        return {**labels, "value": pixels.mean(axis=1)}

    def check_fits(self, task, observation_space, action_space):
        assert action_space.n == self.matrix.shape[1]


def collect_game(task: Task, folder: Path, n_envs: int = 2, **arguments) -> Path:
    teacher = arguments.pop("teacher", None) or FrameTeacher(envpool_games.action_count(task))
    given = {"behaviour_noise": 0.9, **arguments}
    return collect(task, teacher, folder, GAMES[task.name], n_envs=n_envs, **given)


@pytest.fixture(scope="module", autouse=True)
def small_games() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envpool_games, "ATARI_TIME_LIMIT", LIMIT)
        patch.setattr(collection, "_GAME_EPISODES", {"atari": 2, "procgen": 2})
        yield


@pytest.fixture(scope="module", params=GAMES)
def game(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A task, its dataset, and the bytes of that."""
    task = get_task(request.param)
    folder = collect_game(task, tmp_path_factory.mktemp(task.name) / "dataset")
    return task, TeacherDataset.open(folder, task), content(folder)


def play(task: Task, seed: int, actions: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """EnvPool stepped by hand, from the seed on: each frame, and what came of the action there."""
    options = {"seed": [seed], "num_envs": 1}
    if task.suite == "atari":
        options |= {"frame_skip": 1, "stack_num": 1, "noop_max": 30, "episodic_life": True}
        options |= {"use_fire_reset": True, "max_episode_steps": LIMIT}
    else:
        load_envpool(task)
        options |= {"start_level": 0, "num_levels": 200}
    pool = envpool.make_gymnasium(task.env_id, **options)
    frame, _ = pool.reset()
    for action in actions:
        after, reward, terminated, truncated, _ = pool.step(np.array([action]))
        yield frame[0], reward[0], terminated[0] | truncated[0]
        frame = after


def test_an_episode_is_what_the_game_shows_after_its_seed(game) -> None:
    """Against games that were begun and stepped by hand, and stacks put together by hand."""
    task, dataset, _ = game
    batch = dataset.read(np.arange(len(dataset)))
    ended = batch["terminated"] | batch["truncated"]
    assert dataset.n_episodes == 3
    assert len(dataset.manifest.shards) == 2
    assert ended.sum() == dataset.n_episodes
    for episode in range(dataset.n_episodes):
        steps = slice(dataset.starts[episode], dataset.starts[episode + 1])
        frames = []
        played = play(task, FIRST + episode, batch["behaviour_action"][steps])
        for index, (frame, reward, done) in enumerate(played, start=steps.start):
            channels = 3 if task.suite == "procgen" else 1
            frames.append(frame.reshape(channels, *task.frame_size))
            stack = [frames[max(0, len(frames) - 1 - age)] for age in reversed(range(task.stack))]
            np.testing.assert_array_equal(batch["frame"][index], np.concatenate(stack))
            assert batch["reward"][index] == reward
            assert ended[index] == done
        assert batch["seed"][steps.start] == FIRST + episode


def test_some_lives_end_and_some_are_cut_off(game) -> None:
    task, dataset, _ = game
    if task.suite == "atari":
        batch = dataset.read(np.arange(len(dataset)), ["terminated", "truncated"])
        assert batch["terminated"].any()
        assert batch["truncated"].sum() == (dataset.lengths == LIMIT).sum() > 0


def test_a_student_sees_live_what_it_learned_from(game) -> None:
    """The stacks of the dataset, and the environments that its student is measured in."""
    task, dataset, _ = game
    env = make_env(task, 1, FIRST)
    obs = env.reset()
    for index in range(len(dataset)):
        recorded = dataset.read([index], ["frame", "behaviour_action", "terminated", "truncated"])
        np.testing.assert_array_equal(recorded["frame"], obs["frame"])
        obs, _, dones, infos = env.step(recorded["behaviour_action"])
        assert dones[0] == recorded["terminated"][0] | recorded["truncated"][0]
        assert infos[0].get("TimeLimit.truncated", False) == recorded["truncated"][0]
        if dones[0]:  # the newest frame after the last step
            episode = int(np.searchsorted(dataset.starts, index, side="right")) - 1
            final = infos[0]["terminal_observation"]["frame"]
            kept = np.concatenate([arrays["final_frame"] for _, arrays in dataset.shards()])
            np.testing.assert_array_equal(kept[episode], final[-kept.shape[1] :])
    env.close()


def test_labels_are_of_the_stacks_that_are_read(game) -> None:
    task, dataset, _ = game
    batch = dataset.read(np.arange(len(dataset)))
    teacher = FrameTeacher(envpool_games.action_count(task))
    rows = batch["episode"] % FRAME_LABEL_ROWS
    for index in range(0, len(dataset), 7):
        stacks = np.zeros((FRAME_LABEL_ROWS, *batch["frame"].shape[1:]), np.uint8)
        stacks[rows[index]] = batch["frame"][index]
        for name, labels in teacher({"frame": stacks}).items():
            np.testing.assert_array_equal(batch[name][index], labels[rows[index]])


def test_there_is_no_state_and_actions_are_indices(game) -> None:
    task, dataset, _ = game
    assert not {"state", "proprio"} & set(dataset.columns)
    columns = dataset.manifest.step_columns
    assert columns["action"].dtype == columns["behaviour_action"].dtype == "int64"
    assert columns["frame"].shape == ((3, 64, 64) if task.name == "Miner" else (1, 84, 84))
    with pytest.raises(KeyError, match="no 'state', only"):
        dataset.read([0], ["state"])
    again = TeacherDataset.open(dataset.folder)  # by the manifest alone
    assert again.task == task
    with pytest.raises(UserError, match="frame_interval: 1, wanted 3"):
        TeacherDataset.open(dataset.folder, replace(task, frame_interval=3))


@pytest.mark.parametrize("n_envs", [1, 3])
def test_neither_environments_nor_a_stop_change_a_bit(game, tmp_path: Path, n_envs: int) -> None:
    task, dataset, expected = game
    teacher = FrameTeacher(envpool_games.action_count(task))
    teacher.fail_after = int(dataset.lengths.sum() * 0.7 / n_envs)
    with pytest.raises(KeyboardInterrupt):
        collect_game(task, tmp_path / "a", n_envs, teacher=teacher)
    assert not verify(tmp_path / "a")
    collect_game(task, tmp_path / "a", n_envs, resume=True)
    assert content(tmp_path / "a") == expected


def test_a_lost_shard_is_collected_again(game, tmp_path: Path) -> None:
    task, _, expected = game
    for name, data in expected.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / shard_name(0)).unlink()
    repair(tmp_path, FrameTeacher(envpool_games.action_count(task)), [0])
    assert content(tmp_path) == expected


def test_figures_and_pictures(game, tmp_path: Path) -> None:
    _, dataset, _ = game
    figures = statistics(dataset)
    assert figures["behaviour noise"] == "0.9 of the steps"
    actions = dataset.read(np.arange(len(dataset)), ["action"])["action"]
    shares = [float(share) for share in figures["action"].split("[")[1].rstrip("]").split()]
    assert shares == pytest.approx(np.bincount(actions) / len(actions), abs=0.01)
    write_contact_sheet(dataset, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_minari_and_back(game, tmp_path: Path) -> None:
    pytest.importorskip("minari", reason="needs the extra 'minari'")
    task, dataset, expected = game
    export_minari(dataset, "Game/teacher-v0", tmp_path)
    folder = import_minari("Game/teacher-v0", task, tmp_path / "back", tmp_path)
    assert content(folder) == expected


def test_random_actions_are_drawn_from_the_episodes_seed() -> None:
    noise = RandomActions(spaces.Discrete(5), 2, 0.3, 2_000)
    noise.begin(np.array([1]), np.array([FIRST + 7]))
    age = np.arange(2_000)
    done = np.array([noise.added(np.array([9, 9]), np.array([0, t]))[1] for t in age])
    generator = np.random.default_rng([FIRST + 7, 1])
    is_random, drawn = generator.random(2_000) < 0.3, generator.integers(5, size=2_000)
    np.testing.assert_array_equal(done, np.where(is_random, drawn, 9))
    assert (done != 9).mean() == pytest.approx(0.3, abs=0.05)


def test_more_noise_than_there_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--behaviour_noise 1.5: with discrete actions, it is the share"
    ):
        collect_game(get_task("Miner"), tmp_path / "a", behaviour_noise=1.5)
    assert not (tmp_path / "a").exists()


# -- real teachers --------------------------------------------------------------------------------


def frame_teacher(task: Task, folder: Path) -> Teacher:
    """A NatureCNN of random weights, as SB3's PPO has it, in a bundle."""
    env = make_env(task, 1, seeds.teacher_training(0).start)
    kwargs = {"net_arch": [], "features_extractor_kwargs": {"cnn_output_dim": 16}}
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, policy_kwargs=kwargs, seed=1)
    teacher = Teacher.from_sb3(model, task=task.name)
    env.close()
    returns = {"teacher": {"validation": [1.0] * 20, "evaluation": [1.0] * 20}}
    description: TeacherDescription = replace(teacher.description, baselines=returns)
    save_teacher(folder, teacher.state_dict(), description, {})
    return Teacher.load(folder, min_std=0.01)


@pytest.fixture(scope="module")
def taught(game, tmp_path_factory: pytest.TempPathFactory):
    task = game[0]
    folder = tmp_path_factory.mktemp("taught") / "teacher"
    return task, frame_teacher(task, folder), folder


def test_a_teacher_labels_the_groups_that_it_reads(taught) -> None:
    task, teacher, _ = taught
    labeller = TeacherLabeller(teacher)
    assert labeller.groups == ("frame",)
    env = make_env(task, 3, FIRST)
    obs = {"frame": env.reset()["frame"]}
    labels = labeller(obs)
    labeller.check_fits(task.name, env.observation_space, env.action_space)
    env.close()
    distribution = teacher.distribution({"frame": torch.from_numpy(obs["frame"])})
    np.testing.assert_array_equal(labels["distribution.logits"], distribution.params()["logits"])
    np.testing.assert_array_equal(labels["action"], teacher.predict(obs)[0])
    assert labels["action"].dtype == np.int64


def dagger(task: Task, teacher: Teacher, **settings) -> DAgger:
    """In two environments, with a small student of frames."""
    torch.manual_seed(0)
    env = make_env(task, 2, seeds.training(0).start)
    config = StudentConfig(
        mode="NatureCNN", family="categorical", proprio_features=0, fully_connected=16
    )
    policy = StudentPolicy(env.observation_space, env.action_space, lambda _: 0.0, config=config)
    given = {"env_steps": 40, "gradient_steps": 4, **settings}
    learning = CloningConfig(batch_size=16)
    first = seeds.training(0).start
    return DAgger(policy, env, teacher, None, learning, DaggerConfig(**given), first_seed=first)


def test_dagger_is_labelled_by_a_teacher_of_frames(taught) -> None:
    """What is aggregated are the stacks that were shown, with the teacher's answer to each."""
    task, teacher, _ = taught
    model = dagger(task, teacher, rounds=1, env_steps=500, beta_schedule="constant", beta=1.0)
    seen: list[np.ndarray] = []
    add = model.data.add

    def keep(obs, episode_starts, labels) -> None:
        seen.append(obs["frame"].copy())
        add(obs, episode_starts, labels)

    model.data.add = keep
    model.learn()
    model.env.close()
    frames = np.concatenate(seen)  # (500, stack * channels, H, W)
    kept = model.data.read(np.arange(500), ["frame", "distribution.logits"])
    np.testing.assert_array_equal(kept["frame"], frames)
    logits = teacher.distribution({"frame": torch.from_numpy(frames)}).params()["logits"]
    np.testing.assert_allclose(kept["distribution.logits"], logits, atol=1e-5)


@pytest.mark.parametrize("at", [2, 6])  # gradient steps: in the first round, and in the second
def test_dagger_of_games_goes_on_exactly(taught, tmp_path: Path, at: int) -> None:
    """Games cannot be saved; but a round begins with them, and nothing stops within."""
    task, teacher, _ = taught
    whole = dagger(task, teacher, rounds=2, deterministic=False)

    def save() -> None:
        if whole.gradient_steps == at:
            whole.save(tmp_path)

    whole.on_boundary = save
    whole.learn()
    whole.env.close()
    env = make_env(task, 2, seeds.training(0).start)
    rest = DAgger.load(tmp_path, env, teacher)
    assert rest.gradient_steps == at
    rest.learn()
    env.close()
    assert rest.env_steps == whole.env_steps == 80
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], tensor), name


def test_dagger_needs_what_the_teacher_reads(taught) -> None:
    _, teacher, _ = taught
    env = make_state_env("Reacher", 1, 0, grouped=True)
    with pytest.raises(UserError, match="needs the observation group `frame`"):
        DAgger(None, env, teacher)  # pyright: ignore[reportArgumentType]
    env.close()


@pytest.mark.slow  # half a minute a game
def test_the_commands(taught, tmp_path: Path) -> None:
    task, _, bundle = taught

    def run(*flags: str) -> None:
        command = ["--env", task.name, "--teacher", str(bundle), *flags]
        main_suite(task.suite, command)

    data, clone, last = (str(tmp_path / name) for name in ("data", "clone", "dagger"))
    run("--C_data", "--num_data", "300", "--output", data)
    assert Manifest.read(Path(data)).recipe.behaviour_noise == 0.1
    dataset = TeacherSamples(TeacherDataset.open(data, task))
    assert dataset.family == "categorical"
    run("--BC_phase", "--size", "smaller", "--dataset", data, "--output", clone, *SHORT,
        "--optimization_steps", "8")  # fmt: skip
    run("--Dagger_phase", "--folder_Dagger", clone, "--output", last, *SHORT,
        "--num_envs", "2", "--rounds", "2", "--round_env_steps", "40",
        "--round_gradient_steps", "4")  # fmt: skip
    for folder in (clone, last):
        figures = json.loads((Path(folder) / "evaluation.json").read_text())
        assert figures["episodes"] == 2
    student = load_student(Path(last) / "student")
    env = make_env(task, 1, seeds.EVALUATION.start)
    actions, _ = student.predict(env.reset(), deterministic=True)
    assert env.action_space.contains(actions[0])
    env.close()
