"""SB3's files are read without running anything in them."""

import base64
import io
import json
import os
import pickle
import zipfile
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch._utils import _rebuild_tensor_v2

from Common.errors import UserError
from Models.sb3 import vecnormalize as vecnormalize_module
from Models.sb3 import zip_file as sb3_zip
from Models.sb3.torch_file import RefusedTensorsError, read_tensors
from Models.sb3.trust import Trust
from Models.sb3.vecnormalize import read_vecnormalize
from Models.sb3.zip_file import read_sb3_zip

QUICK = {"n_steps": 16, "batch_size": 16, "device": "cpu"}


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def saved(tmp_path):
    """A PPO's zip and VecNormalize file."""
    env = VecNormalize(make_vec_env("Pusher-v5", 2))
    agent = PPO("MlpPolicy", env, seed=0, **QUICK)
    agent.learn(32)
    agent.save(tmp_path / "agent.zip")
    env.save(str(tmp_path / "vecnormalize.pkl"))
    return tmp_path / "agent.zip", tmp_path / "vecnormalize.pkl", env


def rewrite(path, **members):
    """The zip with some members replaced (`policy` stands for policy.pth), or dropped by None."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, value in members.items():
        content["policy.pth" if name == "policy" else name] = value
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)


def edit_data(path, **changes):
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
    rewrite(path, data=json.dumps({**data, **changes}))


# -- the zip -----------------------------------------------------------------------------------


def test_a_payload_beside_the_plain_data_is_never_read(saved, tmp_path):
    path, vecnormalize, _ = saved
    blob = {
        ":type:": "<class 'x.Y'>",
        ":serialized:": pickle.dumps(Payload(tmp_path / "ran")).hex(),
    }
    harmless = {**blob, "__module__": "stable_baselines3.common.policies"}
    edit_data(path, policy_class=harmless, lr_schedule=blob, extra=blob)
    read_sb3_zip(path, vecnormalize)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: {"log_std": p}])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_in_the_weights_is_refused(saved, tmp_path, wrap, zipped):
    path, vecnormalize, _ = saved
    buffer = io.BytesIO()
    content = wrap(Payload(tmp_path / "ran"))
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    rewrite(path, policy=buffer.getvalue())
    with pytest.raises(UserError, match=r"policy\.pth is refused"):
        read_sb3_zip(path, vecnormalize)
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_as_weights_is_refused(saved, tmp_path):
    path, vecnormalize, _ = saved
    rewrite(path, policy=pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(UserError, match=r"policy\.pth is refused"):
        read_sb3_zip(path, vecnormalize)
    assert not (tmp_path / "ran").exists()


class OwnPolicy(ActorCriticPolicy):
    pass


def save_own(folder, policy: Any = "MlpPolicy", **policy_kwargs):
    env = make_vec_env("Pusher-v5", 1)
    folder.mkdir(exist_ok=True)
    PPO(policy, env, policy_kwargs=policy_kwargs, **QUICK).save(folder / "agent.zip")
    return folder / "agent.zip"


def trust_in(path):
    return Trust([sha256(path.read_bytes()).hexdigest()])


def test_sb3s_own_extractor_needs_no_trust(tmp_path):
    path = save_own(tmp_path, features_extractor_class=FlattenExtractor)
    assert read_sb3_zip(path, None)[1]["state_dim"] == 23


def test_a_policy_that_is_not_sb3s_is_refused_by_name(tmp_path):
    path = save_own(tmp_path, policy=OwnPolicy)
    with pytest.raises(UserError, match=r"test_teacher_sb3_zip.*`trust`"):
        read_sb3_zip(path, None)


def test_only_the_trusted_files_own_hash_opens_it(tmp_path):
    path, plain = save_own(tmp_path, policy=OwnPolicy), save_own(tmp_path / "plain")
    digest = sha256(path.read_bytes()).hexdigest()
    for trust in (Trust(), Trust(["0" * 64])):
        with pytest.raises(UserError, match=r"`trust`"):
            read_sb3_zip(path, None, trust=trust)
    tensors, network = read_sb3_zip(path, None, trust=Trust([digest.upper()]))
    assert (network["algo"], network["family"]) == ("ppo", "gaussian")
    assert tensors.keys() == read_sb3_zip(plain, None)[0].keys()


def test_a_trusted_file_is_unpickled_no_further_than_needed(tmp_path):
    path = save_own(tmp_path, policy=OwnPolicy)
    blob = pickle.dumps(Payload(tmp_path / "ran"))
    payload = {":type:": "x", ":serialized:": base64.b64encode(blob).decode()}
    edit_data(path, lr_schedule=payload, clip_range=payload, rollout_buffer_class=payload)
    read_sb3_zip(path, None, trust=trust_in(path))
    assert not (tmp_path / "ran").exists()


def test_a_trusted_vecnormalize_is_read_inertly_where_that_will_do(saved, tmp_path):
    path, _, env = saved
    env.metadata = {"harmless": Payload(tmp_path / "ran")}
    env.save(str(tmp_path / "v.pkl"))
    tensors, _ = read_sb3_zip(path, tmp_path / "v.pkl", trust=trust_in(tmp_path / "v.pkl"))
    np.testing.assert_array_equal(tensors["state_normaliser.mean"], env.obs_rms.mean)
    assert not (tmp_path / "ran").exists()


def test_trust_takes_hashes_only():
    with pytest.raises(UserError, match="'yes' is not a SHA-256"):
        Trust(["yes"])


# -- tensors -----------------------------------------------------------------------------------


def tensor_file(rebuild_arguments, storage=b"\0" * 16, compression=zipfile.ZIP_STORED):
    """A file as torch.save writes it, with one tensor `a` of these arguments."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(4)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(content)).split("/")[0]
    content[f"{root}/data.pkl"] = _pickled(rebuild_arguments)
    content[f"{root}/data/0"] = storage
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return buffer.getvalue()


def _pickled(arguments):
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=2)
    storage = object()
    pickler.persistent_id = lambda x: (
        ("storage", torch.FloatStorage, "0", "cpu", arguments[0]) if x is storage else None
    )
    rebuild = _Reduced(_rebuild_tensor_v2, (storage, *arguments[1:], False, {}))
    pickler.dump({"a": rebuild})
    return buffer.getvalue()


class _Reduced:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def test_a_tensor_is_read_as_it_was_written():
    tensor = read_tensors(tensor_file((4, 1, (3,), (1,)), np.arange(4, dtype="<f4").tobytes()))
    assert tensor["a"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 0, (5,), (1,)), "does not have the length"),  # more than the storage holds
        ((4, 1, (4,), (1,)), "beyond its storage"),
        ((4, 0, (2, 2), (3, 1)), "beyond its storage"),
        ((4, 0, (10**12,), (0,)), "beyond its storage"),  # a terabyte from four bytes
        ((4, -1, (2,), (1,)), "invalid sizes"),
        ((4, 0, (2,), (1, 1)), "invalid sizes"),
        ((4, 0, 3, (1,)), "header is invalid"),
        ((4, 0, ("4",), (1,)), "invalid sizes"),
    ],
)
def test_a_header_that_lies_is_refused_before_reading(arguments, message):
    with pytest.raises(RefusedTensorsError, match=message):
        read_tensors(tensor_file(arguments))


def test_compressed_tensors_are_refused():
    with pytest.raises(RefusedTensorsError, match="uncompressed"):
        read_tensors(tensor_file((4, 0, (4,), (1,)), compression=zipfile.ZIP_DEFLATED))


def test_every_truncation_of_tensors_is_refused():
    content = tensor_file((4, 0, (4,), (1,)))
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(RefusedTensorsError):
            read_tensors(content[:length])


def test_an_activation_that_is_not_torchs_is_refused(saved):
    path, vecnormalize, _ = saved
    edit_data(path, policy_kwargs={":type:": "<class 'dict'>", "activation_fn": "<class 'os.X'>"})
    with pytest.raises(UserError, match=r"os\.X"):
        read_sb3_zip(path, vecnormalize)


def test_an_agent_without_an_adapter_is_refused(saved):
    with zipfile.ZipFile(saved[0]) as archive:
        data = json.loads(archive.read("data"))
    del data["clip_range"], data["gae_lambda"]
    rewrite(saved[0], data=json.dumps(data))
    with pytest.raises(UserError, match="holds no agent of ppo"):
        read_sb3_zip(saved[0], None)


@pytest.mark.parametrize("member", ["data", "policy"])
def test_a_missing_member_is_a_clear_error(saved, member):
    path, vecnormalize, _ = saved
    rewrite(path, **{member: None})
    with pytest.raises(UserError, match="not a zip of SB3"):
        read_sb3_zip(path, vecnormalize)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04"])
def test_a_file_that_is_no_zip_is_a_clear_error(tmp_path, content):
    (tmp_path / "agent.zip").write_bytes(content)
    with pytest.raises(UserError, match="not a zip of SB3"):
        read_sb3_zip(tmp_path / "agent.zip", None)


def test_missing_files_are_clear_errors(saved, tmp_path):
    with pytest.raises(UserError, match="no SB3 agent"):
        read_sb3_zip(tmp_path / "none.zip", None)
    with pytest.raises(UserError, match=r"none\.pkl"):
        read_sb3_zip(saved[0], tmp_path / "none.pkl")
    with pytest.raises(UserError, match=r"is a pickle.*Give the zip of the agent.*`vecnormalize`"):
        read_sb3_zip(saved[1], None)  # the statistics in place of the agent


def test_a_truncated_zip_is_a_clear_error(saved):
    path, vecnormalize, _ = saved
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a zip of SB3"):
        read_sb3_zip(path, vecnormalize)


def test_files_that_unpack_to_too_much_are_refused_unread(saved, monkeypatch):
    path, vecnormalize, _ = saved
    bomb = path.with_name("bomb.zip")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b" " * 2**20)
    monkeypatch.setattr(sb3_zip, "_MAX_DATA", 2**19)
    monkeypatch.setattr(vecnormalize_module, "_MAX_BYTES", 1000)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_sb3_zip(bomb, None)
    monkeypatch.setattr(sb3_zip, "_MAX_BYTES", 1000)
    with pytest.raises(UserError, match="larger than"):
        read_sb3_zip(path, None)
    with pytest.raises(UserError, match="larger than"):
        read_vecnormalize(vecnormalize, 23)


# -- VecNormalize --------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_statistics_are_exact_in_every_protocol(saved, tmp_path, protocol):
    env = saved[2]
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(env, protocol=protocol))
    if protocol == 3:  # spells bytes without _codecs, which is not on the list
        assert b"_codecs" not in path.read_bytes()
    normaliser = read_vecnormalize(path, 23)
    np.testing.assert_array_equal(normaliser.mean, env.obs_rms.mean)
    np.testing.assert_array_equal(normaliser.var, env.obs_rms.var)
    assert (normaliser.clip, normaliser.epsilon) == (env.clip_obs, env.epsilon)
    assert normaliser.reward_scale == np.sqrt(env.ret_rms.var + env.epsilon)


def test_without_normalised_states_the_state_passes_unchanged(tmp_path):
    env = VecNormalize(make_vec_env("Pusher-v5", 1), norm_obs=False, norm_reward=False)
    env.save(str(tmp_path / "v.pkl"))
    normaliser = read_vecnormalize(tmp_path / "v.pkl", 23)
    np.testing.assert_array_equal(normaliser.mean, np.zeros(23))
    np.testing.assert_array_equal(normaliser.var, np.ones(23))
    assert (normaliser.clip, normaliser.epsilon, normaliser.reward_scale) == (None, 0.0, 1.0)


def test_statistics_of_another_agent_are_refused(saved, tmp_path):
    other = VecNormalize(make_vec_env("Reacher-v5", 1))
    other.save(str(tmp_path / "other.pkl"))
    with pytest.raises(UserError, match="of another agent"):
        read_sb3_zip(saved[0], tmp_path / "other.pkl")


def test_an_agent_in_place_of_its_statistics_is_called_a_zip_file(saved):
    """Not a pickle to trust: the two files were given in the wrong order."""
    path, *_ = saved
    with pytest.raises(UserError, match=r"is a zip file.*Give that one as `vecnormalize`"):
        read_sb3_zip(path, path)


def test_a_payload_is_refused_by_name(tmp_path):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(UserError, match=r"posix\.mkdir|os\.mkdir|nt\.mkdir"):
        read_vecnormalize(tmp_path / "v.pkl", 23)
    assert not (tmp_path / "ran").exists()


def test_a_payload_inside_a_true_vecnormalize_is_refused(saved, tmp_path):
    env = saved[2]
    env.metadata = {"harmless": Payload(tmp_path / "ran")}
    env.save(str(tmp_path / "v.pkl"))
    with pytest.raises(UserError, match="mkdir"):
        read_vecnormalize(tmp_path / "v.pkl", 23)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        b"builtins\neval",
        b"builtins\ngetattr",
        b"numpy\nload",
        b"numpy.core.multiarray\nfromfile",
        b"stable_baselines3.common.save_util\nload_from_pkl",
        b"stable_baselines3.common.vec_env.vec_normalize\nVecNormalize.load",
        b"gymnasium.spaces.box\nBox.__init__.__globals__",
    ],
)
def test_names_near_the_list_are_refused(tmp_path, name):
    (tmp_path / "v.pkl").write_bytes(b"c" + name + b"\n.")
    with pytest.raises(UserError, match="refused: it needs"):
        read_vecnormalize(tmp_path / "v.pkl", 23)


def test_an_allowed_name_is_never_the_real_thing(tmp_path):
    # np.dtype called with nonsense would raise; a record just keeps it, and no VecNormalize it is.
    (tmp_path / "v.pkl").write_bytes(b"cnumpy\ndtype\n(S'nonsense'\ntR.")
    with pytest.raises(UserError, match="not a VecNormalize"):
        read_vecnormalize(tmp_path / "v.pkl", 23)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04", b"\x80\x04N.", b"."])
def test_what_is_no_pickle_of_one_is_refused(tmp_path, content):
    (tmp_path / "v.pkl").write_bytes(content)
    with pytest.raises(UserError, match=r"v\.pkl"):
        read_vecnormalize(tmp_path / "v.pkl", 23)


def test_every_truncation_is_refused(saved):
    path = saved[1]
    content = path.read_bytes()
    for length in range(0, len(content) - 1, max(1, len(content) // 200)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError):
            read_vecnormalize(path, 23)
