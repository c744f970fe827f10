"""--seeds: which are played, which are refused."""

from __future__ import annotations

import pytest

from Common.errors import UserError
from Evaluation.evaluate.seed_range import describe_seeds, parse_seeds


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("evaluation", None, range(80_000_000, 80_000_100)),
        ("evaluation", 3, range(80_000_000, 80_000_003)),
        ("validation", None, range(70_000_000, 70_000_100)),
        ("80000010:80000014", None, range(80_000_010, 80_000_014)),
        ("80000010:80000014", 2, range(80_000_010, 80_000_012)),
    ],
)
def test_seeds_by_name_and_by_number(text, n, expected):
    assert parse_seeds(text, n, default=100) == expected


@pytest.mark.parametrize(
    ("text", "n", "said"),
    [
        ("evaluation", 0, "--episodes 0 must be at least 1"),
        ("test", None, "not one of evaluation, validation, FIRST:STOP"),
        ("-5:5", None, "not one of evaluation"),
        ("80000004:80000004", None, "is empty"),
        ("80000004:80000001", None, "is empty"),
        ("80000000:80000004", 5, "4 seeds, fewer than --episodes"),
        ("0:10", None, "not within one of the known ranges: 10000000:20000000"),
        ("79999999:80000001", None, "not within one of the known ranges"),
        ("20000000:20000010", None, "that students train on (20000000:40000000)"),
        ("10000000:10000010", None, "of datasets"),
        ("1000000000:1000000010", None, "that students train on (1000000000:1500000000)"),
        ("69999999:70000001", None, "not within one of the known ranges"),
    ],
)
def test_seeds_that_mean_nothing_or_trained_something_are_refused(text, n, said):
    with pytest.raises(UserError) as error:
        parse_seeds(text, n, default=100)
    assert said in str(error.value)


def test_training_seeds_are_played_where_that_is_said():
    episodes = parse_seeds("20000000:20000010", None, 100, allow_training=True)
    assert episodes == range(20_000_000, 20_000_010)
    assert describe_seeds(episodes) == "10 training seeds"
    with pytest.raises(UserError, match="not within one of the known ranges"):
        parse_seeds("39999999:40000001", None, 100, allow_training=True)


def test_seeds_are_called_what_they_are():
    assert describe_seeds(range(80_000_000, 80_000_050)) == "50 unseen seeds"
    assert describe_seeds(range(70_000_005, 70_000_006)) == "1 validation seed"
