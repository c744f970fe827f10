"""Spaces from the text in a zip, as SB3's own writer puts it there."""

import json

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.save_util import data_to_json

from Models.sb3.spaces import UnreadableSpaceError, read_space

UNEVEN = spaces.Box(np.array([-2.5, -1, -np.inf], np.float32), np.array([2, 3e4, 1], np.float32))


def text_of(space):
    return json.loads(data_to_json({"space": space}))["space"]


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (3,)),
        UNEVEN,
        spaces.Box(-1, 1, (2, 3), np.float64),
        spaces.Box(0, 255, (3, 40, 50), np.uint8),
        spaces.Box(-np.inf, np.inf, (400, 400)),
        spaces.Discrete(7),
        spaces.MultiDiscrete([2, 3, 11]),
        spaces.MultiBinary(4),
        spaces.Dict({"b": UNEVEN, "a": spaces.Box(0, 255, (3, 40, 50), np.uint8)}),
        spaces.Dict([("z", spaces.Discrete(2)), ("a b", spaces.MultiDiscrete([2, 3]))]),
        spaces.Dict({"one": spaces.MultiBinary(3)}),
    ],
)
def test_what_is_written_is_read(space):
    read = read_space(text_of(space))
    assert read == space
    if isinstance(read, spaces.Dict) and isinstance(space, spaces.Dict):
        assert list(read.spaces) == list(space.spaces)  # the order of the features


def test_the_text_of_older_versions():
    old = "OrderedDict([('b', Discrete(3)), ('a', Box(-1.0, 1.0, (2,), float32))])"
    data = {":type:": "<class 'gym.spaces.dict.Dict'>", "spaces": old}
    expected = spaces.Dict([("b", spaces.Discrete(3)), ("a", spaces.Box(-1, 1, (2,)))])
    assert read_space(data) == expected
    data = {":type:": "<class 'gym.spaces.discrete.Discrete'>", "n": 3}
    assert read_space(data) == spaces.Discrete(3)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=1),
        spaces.Text(4),
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Dict({"inner": spaces.Dict({"a": spaces.Discrete(2)})}),
        spaces.Dict({"it's": spaces.Discrete(2)}),
        spaces.Dict({"a": spaces.Discrete(2), "t": spaces.Text(4)}),
        spaces.Dict({"a": spaces.Discrete(3, start=1)}),
    ],
)
def test_what_the_text_does_not_tell_is_refused(space):
    with pytest.raises(UnreadableSpaceError):
        read_space(text_of(space))


@pytest.mark.parametrize(
    "data", [None, 3, "Box", {}, {":type:": "<class 'os.Box'>"}, {":type:": 3}]
)
def test_what_is_no_space_is_refused(data):
    with pytest.raises(UnreadableSpaceError):
        read_space(data)
