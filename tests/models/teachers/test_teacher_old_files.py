"""Files of early versions of SB3, gym and torch, against the agents that they were made from.

Nothing here needs those versions: the text beside a zip's pickles is rewritten as they wrote it,
and Python and torch still write their older formats.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from Common.errors import UserError
from Models.sb3.spaces import read_space
from Models.sb3.torch_file import RefusedTensorsError, read_tensors
from Models.sb3.trust import NeedsTrustError
from Models.sb3.vecnormalize import read_vecnormalize
from Models.sb3.zip_file import read_sb3_zip
from Models.teacher.policy import Teacher, TeacherDescription
from tests.support.faults.payloads import Payload, replace_member

PROVENANCE = {"task": "", "command": "none", "versions": {}, "baselines": {}}


def teacher_of(path: Path, vecnormalize: Path | None) -> Teacher:
    tensors, fields = read_sb3_zip(path, vecnormalize)
    return Teacher(TeacherDescription(**fields, **PROVENANCE), tensors, min_std=1e-9)


def old_torch_file(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def age(path: Path) -> None:
    """A zip as SB3 1.0 with gym 0.17 and torch 1.5 would have written it."""
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
        policy = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    for name in ("observation_space", "action_space"):
        space = data[name]
        space["shape"] = space.pop("_shape")
        space[":type:"] = space[":type:"].replace("gymnasium", "gym")
        for added in ("low_repr", "high_repr", "start"):
            space.pop(added, None)
    replace_member(path, "data", json.dumps(data).encode())
    replace_member(path, "policy.pth", old_torch_file(policy))


@pytest.mark.parametrize(("algorithm", "env_id"), [(A2C, "CartPole-v1"), (SAC, "Pendulum-v1")])
def test_an_early_zip_is_the_agent_that_it_was(algorithm: Any, env_id: str, tmp_path: Path) -> None:
    env = VecNormalize(make_vec_env(env_id, 1, seed=0), clip_obs=float("inf"))
    agent = algorithm("MlpPolicy", env, seed=1, device="cpu", policy_kwargs={"net_arch": [9, 7]})
    agent.learn(20)
    agent.save(tmp_path / "agent.zip")
    age(tmp_path / "agent.zip")
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(env, protocol=2))
    teacher = teacher_of(tmp_path / "agent.zip", tmp_path / "v.pkl")
    space = env.observation_space
    # Further out than any clipping at 10 deviations would let through.
    raw = np.random.default_rng(0).normal(0, 50, (64, *(space.shape or ()))).astype(np.float32)
    expected = agent.predict(env.normalize_obs(raw), deterministic=True)[0]
    np.testing.assert_allclose(teacher.predict(raw)[0], expected, rtol=0, atol=1e-6)
    assert teacher.description.normaliser_clip is None
    teacher.check_fits("Any", space, env.action_space)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            {":type:": "<class 'gym.spaces.box.Box'>", "dtype": "float32", "shape": [2]}
            | {"low": "[-4.8000002e+00 -3.4028235e+38]", "high": "[4.8000002e+00 3.4028235e+38]"},
            spaces.Box(
                np.array([-4.8, np.finfo(np.float32).min], np.float32),
                np.array([4.8, np.finfo(np.float32).max], np.float32),
            ),
        ),
        (
            {":type:": "<class 'gym.spaces.discrete.Discrete'>", "n": 2, "shape": []},
            spaces.Discrete(2),
        ),
        (
            {":type:": "<class 'gym.spaces.dict.Dict'>", "shape": None, "dtype": None}
            | {
                "spaces": "OrderedDict([('goal', Box([-10. -10.], [10. 10.], (2,), float32)), "
                "('seen', Box([-1.  0.], [1. 1.], (2,), float32))])"
            },
            spaces.Dict(
                [
                    ("goal", spaces.Box(-10, 10, (2,))),
                    ("seen", spaces.Box(np.array([-1, 0], np.float32), np.ones(2, np.float32))),
                ]
            ),
        ),
    ],
)
def test_spaces_of_gym_0_21(text: dict[str, Any], expected: spaces.Space) -> None:
    assert read_space(text) == expected


# -- torch's older format --------------------------------------------------------------------


def test_tensors_of_the_older_format_are_those_of_torch() -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    saved = {
        "a": shared,
        "b": shared[1:, ::2],  # of the same storage, with strides
        "c": torch.nn.Parameter(torch.tensor([1.5, -2.0], dtype=torch.float64)),
        "d": torch.tensor([3, 4]),
        "e": torch.empty(0),
    }
    read = read_tensors(old_torch_file(saved))
    assert read.keys() == saved.keys()
    for name, tensor in saved.items():
        assert torch.equal(read[name], tensor), name
        assert read[name].dtype == tensor.dtype


def test_every_truncation_of_the_older_format_is_refused() -> None:
    content = old_torch_file({"a": torch.arange(5.0)})
    for length in range(0, len(content), 3):
        with pytest.raises(RefusedTensorsError):
            read_tensors(content[:length])


def _lengthened(content: bytes) -> bytes:
    """The storage says of itself that it has 6 numbers, not 5."""
    return content.replace(struct.pack("<q", 5), struct.pack("<q", 6))


def _of_another_magic(content: bytes) -> bytes:
    return content.replace(b"\x6c\xfc\x9c\x46", b"\x6d\xfc\x9c\x46", 1)


def _big_endian(content: bytes) -> bytes:
    before, name, after = content.partition(b"little_endian")
    return before + name + after.replace(pickle.NEWTRUE, pickle.NEWFALSE, 1)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (_lengthened, "does not have the length"),
        (_of_another_magic, "neither"),
        (_big_endian, "not little-endian"),
    ],
)
def test_an_older_file_that_lies_is_refused(forge: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(RefusedTensorsError, match=message):
        read_tensors(forge(old_torch_file({"a": torch.arange(5.0)})))


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_a_payload_in_any_pickle_of_the_older_format_is_refused(place: int, tmp_path: Path) -> None:
    """The file is five pickles; in each the payload takes the place of what should be there."""
    content = old_torch_file({})
    stream, pieces = io.BytesIO(content), []
    for _ in range(5):
        start = stream.tell()
        pickle.load(stream)
        pieces.append(content[start : stream.tell()])
    pieces[place] = pickle.dumps(Payload(tmp_path / "ran"), protocol=2)
    with pytest.raises(RefusedTensorsError, match="mkdir"):
        read_tensors(b"".join(pieces))
    assert not (tmp_path / "ran").exists()


# -- VecNormalize ----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_statistics_beside_a_set_are_read(protocol: int, tmp_path: Path) -> None:
    """Protocols up to 3 spell a set as a call of `set`, and up to 2 bytes as one of `encode`."""
    env = VecNormalize(make_vec_env("Pendulum-v1", 2, seed=0))
    env.obs_rms.update(np.random.default_rng(0).normal(size=(50, 3)))  # pyright: ignore
    env.marks = {"a", "b"}  # pyright: ignore[reportAttributeAccessIssue]
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(env, protocol=protocol))
    normaliser = read_vecnormalize(tmp_path / "v.pkl", 3)
    np.testing.assert_array_equal(normaliser.mean, env.obs_rms.mean)  # pyright: ignore
    np.testing.assert_array_equal(normaliser.var, env.obs_rms.var)  # pyright: ignore
    assert normaliser.clip == 10.0


def test_numbers_of_other_types_are_read(tmp_path: Path) -> None:
    env = VecNormalize(make_vec_env("Pendulum-v1", 1), epsilon=0.25)
    env.clip_obs = np.float32(7.5)  # pyright: ignore[reportAttributeAccessIssue]
    env.obs_rms.mean = np.array([1, 2, 3])  # pyright: ignore
    env.obs_rms.var = np.array([0.5, 1, 2], np.float32)  # pyright: ignore
    env.save(str(tmp_path / "v.pkl"))
    normaliser = read_vecnormalize(tmp_path / "v.pkl", 3)
    assert (normaliser.mean.tolist(), normaliser.var.tolist()) == ([1, 2, 3], [0.5, 1, 2])
    assert (normaliser.clip, normaliser.epsilon) == (7.5, 0.25)


def test_a_clip_that_is_no_number_is_refused(tmp_path: Path) -> None:
    env = VecNormalize(make_vec_env("Pendulum-v1", 1), clip_obs=float("nan"))
    env.save(str(tmp_path / "v.pkl"))
    with pytest.raises(UserError, match="clip_obs is NaN"):
        read_vecnormalize(tmp_path / "v.pkl", 3)


class Harmless:
    """What a user may have put into their environment, which no list can know."""


def test_a_file_is_never_said_to_hold_code_that_it_may_not_hold(tmp_path: Path) -> None:
    env = VecNormalize(make_vec_env("Pendulum-v1", 1))
    env.mark = Harmless()  # pyright: ignore[reportAttributeAccessIssue]
    env.save(str(tmp_path / "v.pkl"))
    with pytest.raises(NeedsTrustError, match=r"needs .*Harmless.*`trust`") as error:
        read_vecnormalize(tmp_path / "v.pkl", 3)
    A2C("MlpPolicy", make_vec_env("Pendulum-v1", 1)).save(tmp_path / "agent.zip")
    replace_member(tmp_path / "agent.zip", "policy.pth", old_torch_file({"a": Harmless()}))
    with pytest.raises(UserError, match=r"policy\.pth is refused") as tensors:
        read_sb3_zip(tmp_path / "agent.zip", None)
    for text in (str(error.value), str(tensors.value)):
        assert "code" not in text
