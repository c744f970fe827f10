"""The study's Hopper against hand arithmetic, MuJoCo's own compiler, and Gymnasium's Hopper-v5."""

from __future__ import annotations

import copy
import math
import subprocess
import sys

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from Common.errors import UserError
from Enviroment.hopper import LINKS, CustomHopper
from Enviroment.make import make_state_env
from Enviroment.tasks import Camera, Task

SOURCE, TARGET, UDR = (f"CustomHopper-{name}-v0" for name in ("source", "target", "source-udr"))

# Density 1000 kg/m^3 * (pi r^2 L + 4/3 pi r^3) of each capsule in hopper.xml: radius r, length L.
_CAPSULES = {"torso": (0.05, 0.4), "thigh": (0.05, 0.45), "leg": (0.04, 0.5), "foot": (0.06, 0.39)}
MASSES = np.array([1000 * math.pi * (r**2 * L + 4 / 3 * r**3) for r, L in _CAPSULES.values()])


def make(env_id: str) -> CustomHopper:
    env = gym.make(env_id).unwrapped
    assert isinstance(env, CustomHopper)
    return env


def compiled(**density_scales: float) -> mujoco.MjModel:  # pyright: ignore[reportAttributeAccessIssue]
    """The model as MuJoCo compiles it from the XML with other densities."""
    spec = mujoco.MjSpec.from_file(make(TARGET).fullpath)  # pyright: ignore[reportAttributeAccessIssue]
    for link, scale in density_scales.items():
        spec.geom(f"{link}_geom").density *= scale
    return spec.compile()


def rollout(env: gym.Env, seed: int, n_steps: int = 30) -> np.ndarray:
    """Observations and rewards of an episode under actions that are always the same."""
    actions = np.random.default_rng(0).uniform(-1, 1, (n_steps, 3))
    rows = [np.append(env.reset(seed=seed)[0], 0.0)]
    for action in actions:
        obs, reward, *_ = env.step(action)
        rows.append(np.append(obs, float(reward)))
    return np.stack(rows)


def test_masses_by_hand():
    assert tuple(_CAPSULES) == LINKS
    np.testing.assert_allclose(make(TARGET).get_parameters(), MASSES, rtol=1e-12)
    np.testing.assert_allclose(make(SOURCE).get_parameters(), MASSES * [0.7, 1, 1, 1], rtol=1e-12)


def test_target_is_hopper_v5_to_the_bit():
    np.testing.assert_array_equal(
        rollout(gym.make(TARGET), seed=3), rollout(gym.make("Hopper-v5"), seed=3)
    )


def test_a_scaled_mass_is_a_scaled_density():
    """Everything that MuJoCo computes from mass and inertia is what its compiler gives."""
    env = make(TARGET)
    env.set_parameters(MASSES * [0.7, 1.2, 0.9, 1.3])
    other = compiled(torso=0.7, thigh=1.2, leg=0.9, foot=1.3)
    names = [name for name in dir(other) if isinstance(getattr(other, name), np.ndarray)]
    assert {"body_mass", "body_inertia", "dof_invweight0", "body_subtreemass"} <= set(names)
    for name in names:
        np.testing.assert_allclose(
            getattr(env.model, name), getattr(other, name), rtol=1e-9, err_msg=name
        )
    assert env.model.stat.meaninertia == pytest.approx(other.stat.meaninertia, rel=1e-12)


def test_source_moves_as_the_compiled_model_does():
    env, model = make(SOURCE), compiled(torso=0.7)
    env.reset(seed=1)
    data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    for action in np.random.default_rng(0).uniform(-1, 1, (30, 3)):
        env.step(action)
        data.ctrl[:] = action
        mujoco.mj_step(model, data, nstep=env.frame_skip)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(env.data.qpos, data.qpos, atol=1e-9)
    assert not np.allclose(rollout(env, seed=1), rollout(make(TARGET), seed=1))


def test_udr_scales_every_link_but_the_torso():
    env = make(UDR)
    env.reset(seed=0)
    scales = np.stack([env.reset()[1]["parameters"] / MASSES for _ in range(300)])  # (300, 4)
    np.testing.assert_allclose(scales[:, 0], 0.7)
    others = scales[:, 1:]
    assert (others >= 0.7).all() and (others <= 1.3).all()
    # U[0.7, 1.3]: mean 1, deviation 0.6 / sqrt(12) = 0.173; three sigma of 300 samples are 0.03.
    np.testing.assert_allclose(others.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(others.std(axis=0), 0.173, atol=0.02)
    assert (np.abs(np.corrcoef(others.T) - np.eye(3)) < 0.2).all()  # each link of its own


def test_inertia_follows_each_episodes_masses():
    env, nominal = make(UDR), compiled()
    scale = env.reset(seed=4)[1]["parameters"] / MASSES
    inertia = [env.model.body(name).inertia / nominal.body(name).inertia for name in LINKS]
    np.testing.assert_allclose(inertia, np.repeat(scale[:, None], 3, axis=1))


def test_first_state_is_of_the_episodes_masses():
    """Its accelerations, which depend on the masses, are not those of the episode before."""
    env = make(UDR)
    env.reset(seed=4)
    data = mujoco.MjData(env.model)  # pyright: ignore[reportAttributeAccessIssue]
    data.qpos[:], data.qvel[:] = env.data.qpos, env.data.qvel
    mujoco.mj_forward(env.model, data)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(env.data.qacc, data.qacc)


def test_seed_of_the_reset_decides():
    first, second = gym.make(UDR), gym.make(UDR)
    second.reset(seed=11)  # what was played before does not matter
    np.testing.assert_array_equal(rollout(first, seed=5), rollout(second, seed=5))
    masses = [first.reset(seed=seed)[1]["parameters"] for seed in (5, 6, 5)]
    np.testing.assert_array_equal(masses[0], masses[2])
    assert not np.isclose(masses[0][1:], masses[1][1:]).any()


def test_info_holds_the_episodes_own_masses():
    env = make(UDR)
    info = env.reset(seed=0)[1]
    np.testing.assert_array_equal(info["parameters"], env.get_parameters())
    kept = np.array(info["parameters"])
    env.reset()
    np.testing.assert_array_equal(info["parameters"], kept)


def test_set_masses_stay_without_udr():
    env = make(SOURCE)
    masses = [3.0, 4.0, 2.0, 5.0]
    env.set_parameters(masses)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.get_parameters(), masses)


def test_setting_masses_leaves_the_running_episode_where_it_is():
    env = make(TARGET)
    env.reset(seed=0)
    env.step(np.full(3, 0.5))
    before = env.state_vector()
    env.set_parameters(MASSES * 0.9)
    np.testing.assert_array_equal(env.state_vector(), before)


def test_a_copy_is_of_the_same_domain():
    twin = copy.deepcopy(gym.make(UDR))
    np.testing.assert_array_equal(rollout(twin, seed=2), rollout(gym.make(UDR), seed=2))


@pytest.mark.filterwarnings("ignore:.*A Box observation space")  # Hopper-v5's own
def test_gymnasium_finds_nothing_to_complain_about():
    check_env(make(UDR), skip_render_check=True)


def test_episodes_end_after_1000_steps():
    for env_id in (SOURCE, TARGET, UDR):
        spec = gym.spec(env_id)
        assert spec.max_episode_steps == 1000


def test_id_with_its_module_needs_no_import():
    """In a new process, such as a worker, where nothing has imported the module."""
    code = f"import gymnasium; print(gymnasium.make('Enviroment.hopper:{UDR}').unwrapped.udr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_vectorised_and_restored():
    """A saved UDR episode goes on with its own masses."""
    camera = Camera(distance=3.0, lookat=(0.0, 0.0, 1.15), azimuth=90, elevation=-20)
    task = Task("UDR", f"Enviroment.hopper:{UDR}", camera, proprio=((0, 11),), distance=None)
    first, second = make_state_env(task, 2, seed=7), make_state_env(task, 2, seed=100)
    actions = np.full((2, 3), 0.3, np.float32)
    first.reset()
    first.step(actions)
    second.reset()
    second.restore_state(first.save_state())
    masses = [np.stack(env.env_method("get_parameters")) for env in (first, second)]
    np.testing.assert_array_equal(masses[0], masses[1])
    assert not np.isclose(masses[0][0, 1:], masses[0][1, 1:]).any()
    np.testing.assert_array_equal(first.step(actions)[0], second.step(actions)[0])
    first.close()
    second.close()


@pytest.mark.parametrize(
    "masses", [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, -1.0], [1, 2, 3, math.nan]]
)
def test_bad_masses(masses: list[float]):
    env = make(TARGET)
    with pytest.raises(UserError, match="four positive numbers in kg"):
        env.set_parameters(masses)
    np.testing.assert_allclose(env.get_parameters(), MASSES)


def test_bad_domain():
    with pytest.raises(UserError, match="Unknown Hopper domain 'sauce'"):
        CustomHopper("sauce")  # pyright: ignore[reportArgumentType]


def test_misspelled_argument():
    with pytest.raises(TypeError, match="helthy_reward"):
        CustomHopper("source", helthy_reward=2.0)
