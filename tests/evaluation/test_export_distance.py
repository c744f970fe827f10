"""How far an exported file's actions are from the student's, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium import spaces

from Evaluation.export.student_file import _distance


def box(*bounds: float) -> spaces.Box:
    high = np.array(bounds, np.float32)
    return spaces.Box(-high, high, dtype=np.float32)


def test_bounded_actions_differ_by_a_share_of_their_range() -> None:
    ours, theirs = np.array([[1.0, 0.0]]), np.array([[0.0, 0.5]])
    assert _distance(ours, theirs, box(2.0, 0.5)) == pytest.approx(0.5)  # 1 of 4, 0.5 of 1


@pytest.mark.parametrize("bound", [np.inf, np.finfo(np.float32).max])
def test_without_real_bounds_they_differ_by_a_share_of_the_largest(bound: float) -> None:
    ours, theirs = np.array([[9.0, 0.2], [3.0, 0.0]]), np.array([[10.0, 0.2], [4.0, 0.3]])
    assert _distance(ours, theirs, box(bound, bound)) == pytest.approx(0.3)  # 1 of 10, 0.3 of 1


def test_what_is_no_number_is_not_near() -> None:
    far = _distance(np.array([[math.nan]]), np.array([[0.0]]), box(1.0))
    assert not far <= 1e-4


def test_of_discrete_actions_it_is_the_share_that_differ() -> None:
    assert _distance(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0]), spaces.Discrete(4)) == 0.25
