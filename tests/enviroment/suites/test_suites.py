"""Atari and Procgen by EnvPool, against EnvPool stepped by hand."""

import dataclasses
import threading

import cv2
import imageio.v3
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from Algorithm.env_state import capture_env, restore_env
from Common.errors import NoStateError, UserError, WorkerError
from Enviroment import seeds
from Enviroment.make import make_env, make_state_env
from Enviroment.suites import envpool_games
from Enviroment.suites.envpool_env import EnvPoolVecEnv
from Enviroment.suites.envpool_tasks import ATARI_TASKS, PROCGEN_TASKS
from Enviroment.tasks import Task, get_task
from Evaluation.evaluate.episodes import run_episodes
from Evaluation.stats.paper_numbers import human_normalised, suite_of
from Evaluation.video import record_video

# As a user might, before Qt is loaded: Procgen then fails at first.
envpool = pytest.importorskip("envpool", reason="needs the extra 'suites'")
pytest.importorskip("PyQt5", reason="needs the extra 'suites'")

TRAIN, EVALUATE = seeds.training(0).start, seeds.EVALUATION.start


def by_hand(game: str, first_seed: int, n_envs: int, episodic_life: bool = True, **options):
    """EnvPool's Atari as the paper plays it, written down once more."""
    return envpool.make_gymnasium(
        f"{game}-v5",
        num_envs=n_envs,
        seed=[first_seed + i for i in range(n_envs)],
        frame_skip=1,
        stack_num=1,
        noop_max=30,
        episodic_life=episodic_life,
        **options,
    )


def make_games(task: str | Task, n_envs: int, seed: int, blind: bool = False) -> EnvPoolVecEnv:
    env = make_env(task, n_envs, seed, blind=blind)
    assert isinstance(env, EnvPoolVecEnv)
    return env


def random_actions(env: EnvPoolVecEnv, n_steps: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    assert isinstance(env.action_space, spaces.Discrete)
    return rng.integers(env.action_space.n, size=(n_steps, env.num_envs))


def frames_of(env: EnvPoolVecEnv, first_seed: int, n_steps: int = 30) -> np.ndarray:
    env.seed(first_seed)
    first = env.reset()["frame"]
    later = [env.step(actions)[0]["frame"] for actions in random_actions(env, n_steps)]
    return np.stack([first, *later])  # (n_steps + 1, n_envs, stack * channels, H, W)


@pytest.fixture(scope="module")
def coinrun():
    env = make_games("CoinRun", 2, TRAIN)
    yield env
    env.close()


def test_there_are_the_papers_games_and_envpool_knows_them():
    assert len(ATARI_TASKS) == 11
    assert len(PROCGEN_TASKS) == 4
    known = set(envpool.list_all_envs())
    for task in (*ATARI_TASKS, *PROCGEN_TASKS):
        assert task.env_id in known
        assert suite_of(task.name) in ("atari", "procgen-test")
        assert get_task(task.name) is task
    for task in ATARI_TASKS:
        assert np.isfinite(human_normalised(task.name, 0.0))


@pytest.mark.parametrize(
    ("name", "n_actions"), [(task.name, 15) for task in PROCGEN_TASKS] + [("Freeway", 3)]
)
def test_games_start(name, n_actions):
    env = make_games(name, 2, TRAIN)
    obs = env.reset()
    obs, rewards, dones, _ = env.step(np.zeros(2, np.int64))
    env.close()
    assert env.action_space == spaces.Discrete(n_actions)
    assert list(obs) == ["frame"]
    assert env.observation_space.contains({"frame": obs["frame"][0]})
    assert obs["frame"].std() > 5
    assert (rewards.dtype, dones.dtype) == (np.float32, bool)


def test_a_life_ends_the_episode_and_the_game_goes_on_until_all_are_lost():
    """Against EnvPool's own next-step reset: frames, rewards, ends, first and last frames."""
    env, hand = make_games("Qbert", 2, TRAIN), by_hand("Qbert", TRAIN, 2)
    obs, expected = env.reset()["frame"], hand.reset()[0]
    np.testing.assert_array_equal(obs, np.repeat(expected, 4, axis=1))  # the first fills the stack
    lives, returns = [], np.zeros(2)
    for actions in random_actions(env, 1500):
        before = obs
        obs, rewards, dones, infos = env.step(actions)
        expected, hand_rewards, ended, cut, hand_infos = hand.step(actions)
        np.testing.assert_array_equal(rewards, hand_rewards)
        np.testing.assert_array_equal(dones, ended)
        assert not cut.any()
        returns += hand_rewards
        for i in range(2):
            if not dones[i]:
                assert infos[i] == {}
                np.testing.assert_array_equal(obs["frame"][i, :3], stack_of(before, i)[1:])
                np.testing.assert_array_equal(obs["frame"][i, 3], expected[i, 0])
                continue
            last = infos[i]["terminal_observation"]["frame"]
            np.testing.assert_array_equal(last[:3], stack_of(before, i)[1:])
            np.testing.assert_array_equal(last[3], expected[i, 0])
            assert infos[i]["TimeLimit.truncated"] is False
            assert infos[i]["episode"]["r"] == returns[i]
            returns[i] = 0
            lives.append(int(hand_infos["lives"][i]))
            first = hand.step(np.zeros(1, np.int64), np.array([i]))[0][0]  # resets it, alone
            np.testing.assert_array_equal(obs["frame"][i], np.repeat(first, 4, axis=0))
            assert (last[3] != obs["frame"][i, 3]).any()
    env.close()
    assert {3, 2, 1, 0} == set(lives)  # whole games were lost, life by life


def stack_of(obs, index: int) -> np.ndarray:
    return (obs["frame"] if isinstance(obs, dict) else obs)[index]


def test_whole_games_are_evaluated():
    env, hand = make_games("Qbert", 1, EVALUATE), by_hand("Qbert", EVALUATE, 1, episodic_life=False)
    env.reset()
    hand.reset()
    lives, score = [], 0.0
    for actions in random_actions(env, 3000):
        _, rewards, dones, infos = env.step(actions)
        _, hand_rewards, ended, _, hand_infos = hand.step(actions)
        assert (rewards[0], dones[0]) == (hand_rewards[0], ended[0])
        lives.append(int(hand_infos["lives"][0]))
        score += float(rewards[0])
        if dones[0]:
            break
    env.close()
    assert sorted(set(lives)) == [0, 1, 2, 3, 4]  # the end was that of the game, not of a life
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["episode"]["l"] == len(lives)
    assert infos[0]["episode"]["r"] == score


def test_frames_are_the_screen_in_gray_scaled_by_area():
    """No trails of earlier frames, which a maximum over frames would leave."""
    env, hand = make_games("Pong", 1, TRAIN), by_hand("Pong", TRAIN, 1, render_mode="rgb_array")
    env.reset()
    hand.reset()
    for actions in random_actions(env, 120):
        obs = env.step(actions)[0]["frame"][0]
        hand.step(actions)
    screen = hand.render()[0]  # (210, 160, 3)
    gray = cv2.resize(cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY), (84, 84), interpolation=3)
    env.close()
    assert np.abs(obs[3].astype(float) - gray).max() <= 3  # ALE's gray differs by a level or two
    assert (obs[3] != obs[0]).any()


def test_the_time_limit_truncates(monkeypatch, coinrun):
    monkeypatch.setattr(envpool_games, "ATARI_TIME_LIMIT", 40)
    env = make_games("Freeway", 1, TRAIN)
    env.reset()
    for _ in range(40):
        obs, _, dones, infos = env.step(np.zeros(1, np.int64))
    env.close()
    assert dones[0]
    assert infos[0]["TimeLimit.truncated"] is True
    assert infos[0]["episode"]["l"] == 40

    coinrun.seed(TRAIN)
    coinrun.reset()
    for _ in range(1000):  # standing still: nobody comes by in these two levels
        obs, _, dones, infos = coinrun.step(np.full(2, 4))
    assert dones.all()
    for i, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        assert (info["terminal_observation"]["frame"] != obs["frame"][i]).any()


def test_an_evaluated_level_is_the_seed_and_its_last_frame_is_kept(coinrun):
    coinrun.seed(EVALUATE)
    coinrun.reset()
    pools = {level: level_by_hand(level) for level in range(EVALUATE, EVALUATE + 8)}
    firsts = {level: pool.reset()[0][0] for level, pool in pools.items()}
    playing, played = [EVALUATE, EVALUATE + 1], set()
    while len(played) < 5:
        obs, rewards, dones, infos = coinrun.step(np.full(2, 7))  # to the right, into anything
        for i, level in enumerate(playing):
            frame, reward, ended, cut, _ = pools[level].step(np.array([7]))
            assert (rewards[i], dones[i]) == (reward[0], ended[0] or cut[0])
            shown = infos[i]["terminal_observation"] if dones[i] else {"frame": obs["frame"][i]}
            np.testing.assert_array_equal(shown["frame"], frame[0])
            if dones[i]:
                assert infos[i]["level_seed"] == level
                played.add(level)
                playing[i] = level + 2
                np.testing.assert_array_equal(obs["frame"][i], firsts[level + 2])
                assert (shown["frame"] != obs["frame"][i]).any()


def level_by_hand(level: int):
    return envpool.make_gymnasium("CoinrunEasy-v0", num_envs=1, start_level=level, num_levels=1)


@pytest.mark.parametrize("name", ["Ninja", "Jumper"])
def test_training_levels_are_the_first_200(name):
    env = make_games(name, 4, TRAIN)
    env.reset()
    levels = set()
    for actions in random_actions(env, 700):
        levels |= {info["level_seed"] for info in env.step(actions)[3] if info}
    env.close()
    assert len(levels) >= 4
    assert levels <= set(range(200))
    assert not set(range(200)) & set(seeds.EVALUATION)
    assert not set(range(200)) & set(seeds.VALIDATION)


def test_seeds_decide(coinrun):
    first = frames_of(coinrun, TRAIN)
    np.testing.assert_array_equal(first, frames_of(coinrun, TRAIN))
    assert (first != frames_of(coinrun, TRAIN + 100)).any()
    again = coinrun.reset()["frame"]  # without a new seed: other episodes
    assert (again != first[0]).any()
    env = make_games("Pong", 2, TRAIN)
    pong = frames_of(env, TRAIN)
    np.testing.assert_array_equal(pong, frames_of(env, TRAIN))
    assert (pong != frames_of(env, TRAIN + 5)).any()
    env.close()


def test_an_evaluation_does_not_depend_on_the_number_of_environments(coinrun):
    task = get_task("CoinRun")

    def act(obs):  # by what is seen, so that other frames make other actions
        return obs["frame"].astype(np.int64).sum(axis=(1, 2, 3)) % 3 + 6

    both = run_episodes(act, coinrun, task, EVALUATE, 5)
    env = make_games("CoinRun", 3, 0)
    others = run_episodes(act, env, task, EVALUATE, 5)
    env.close()
    np.testing.assert_array_equal(both.returns, others.returns)
    np.testing.assert_array_equal(both.lengths, others.lengths)
    assert both.distances is None
    assert len(set(both.lengths.tolist())) > 2


def test_a_part_of_the_environments_plays_what_it_would_in_the_whole():
    whole, part = make_games("CoinRun", 4, EVALUATE), make_games("CoinRun", 2, EVALUATE)
    part.take_rows(2, 4)
    whole.seed(EVALUATE)
    part.seed(EVALUATE)
    obs, own = whole.reset(), part.reset()
    ended = set()
    while len(ended) < 2:
        np.testing.assert_array_equal(own["frame"], obs["frame"][2:])
        obs, _, _, infos = whole.step(np.full(4, 7))
        own, _, _, own_infos = part.step(np.full(2, 7))
        ended |= {info["level_seed"] - EVALUATE for info in own_infos if info}
        assert [info.get("level_seed") for info in infos[2:]] == [
            info.get("level_seed") for info in own_infos
        ]
    whole.close()
    part.close()


def test_a_video_shows_the_frames_that_were_played_from(coinrun, tmp_path):
    task = get_task("CoinRun")
    path = tmp_path / "episode.mp4"
    recording = record_video(lambda obs: np.full(2, 7), coinrun, task, path, EVALUATE, height=256)
    assert recording.path == path
    pictures = list(imageio.v3.imiter(path))
    assert len(pictures) == recording.length + 1
    coinrun.seed(EVALUATE)
    first = coinrun.reset()["frame"][0].transpose(1, 2, 0)  # (64, 64, 3)
    expected = first.repeat(4, axis=0).repeat(4, axis=1).astype(float)
    assert pictures[0].shape == expected.shape
    assert np.abs(pictures[0] - expected).mean() < 8  # H.264 loses a little
    assert np.abs(pictures[-1] - expected).mean() > 8


def test_blind():
    env = make_games("Miner", 1, TRAIN, blind=True)
    seen = [env.reset()["frame"]]
    for actions in random_actions(env, 1001):
        obs, _, _, infos = env.step(actions)
        seen += [obs["frame"], *(info["terminal_observation"]["frame"] for info in infos if info)]
    env.close()
    assert len(seen) > 1002  # an episode ended
    assert not any(frames.any() for frames in seen)


def test_frames_of_another_size():
    env = make_games(dataclasses.replace(get_task("Pong"), frame_size=(48, 64)), 1, TRAIN)
    assert env.reset()["frame"].shape == (1, 4, 48, 64)
    env.close()


def test_what_is_not_there(coinrun):
    with pytest.raises(NoStateError, match="EnvPool, which cannot save"):
        coinrun.save_state()
    with pytest.raises(AttributeError, match="no attribute 'model'"):
        coinrun.get_attr("model")
    with pytest.raises(ValueError, match="expected one integer"):
        coinrun.step(np.zeros((2, 1)))
    with pytest.raises(ValueError, match="must be in 0 to 14"):
        coinrun.step(np.array([0, 15]))
    env = make_games("CoinRun", 1, TRAIN)
    with pytest.raises(RuntimeError, match="reset before step"):
        env.step(np.zeros(1, np.int64))
    env.close()
    with pytest.raises(UserError, match="colour frames of 64x64 only"):
        make_games(dataclasses.replace(get_task("CoinRun"), frame_size=(84, 84)), 1, TRAIN)


def test_a_run_goes_on_at_an_episodes_start_and_says_so(coinrun):
    coinrun.seed(TRAIN)
    first = coinrun.reset()["frame"]
    coinrun.step(np.full(2, 7))
    env = VecNormalize(coinrun, norm_obs=False)
    state = capture_env(env)
    coinrun.seed(TRAIN)
    with pytest.warns(UserWarning, match="at the start of an episode"):
        obs, _ = restore_env(env, state)
    assert isinstance(obs, dict)
    np.testing.assert_array_equal(obs["frame"], first)


def test_bad_arguments():
    with pytest.raises(UserError, match=r"`n_envs` 0.*at least one"):
        make_env("Pong", 0, TRAIN, n_workers=1)
    with pytest.raises(UserError, match=r"Seed -1.*start at 0"):
        make_env("Pong", 1, -1)
    with pytest.raises(UserError, match=r"`n_workers` 3.*1 to 2"):
        make_env("Pong", 2, TRAIN, n_workers=3)
    with pytest.raises(UserError, match=r"`worker_timeout` 0.*more than 0 seconds"):
        make_env("Pong", 1, TRAIN, worker_timeout=0)
    with pytest.raises(UserError, match=r"`max_divergences` -1.*0 or more"):
        make_env("Pong", 1, TRAIN, max_divergences=-1)
    with pytest.raises(UserError, match="Pong has no state, only frames: make_env"):
        make_state_env("Pong", 1, TRAIN)


def test_a_game_that_hangs_is_an_error_and_so_is_what_follows():
    forever = threading.Event()
    patience = envpool_games.Patience(get_task("Pong"), 0.05)
    assert patience.call(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        patience.call(lambda: 1 // 0)
    for _ in range(2):
        with pytest.raises(WorkerError, match=r"Pong hangs.*0\.05 s.*worker_timeout"):
            patience.call(forever.wait)
    forever.set()
    patience.end()


def test_without_a_seed_one_is_drawn_that_games_take(coinrun, monkeypatch):
    monkeypatch.setattr(np.random, "randint", lambda high: high - 1)  # the worst draw
    seeds = coinrun.seed()
    assert seeds == [2**30 - 1, 2**30]
    assert coinrun.reset()["frame"].any()
