"""Which lines of a panel have a name in its legend."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from Evaluation.plots.run_curves import BLACK, BLUE, Line, Panel, draw_panel

TWO = (Line("a", "first", BLUE), Line("b", "second", BLACK))


@pytest.mark.parametrize(
    ("lines", "logged", "names"),
    [
        (TWO, ("a", "b"), ["first", "second"]),
        (TWO, ("b",), ["second"]),  # the panel's title does not say which of the two
        (TWO[:1], ("a",), None),  # the title names it
    ],
)
def test_a_line_is_named_where_the_panel_has_several(
    lines: tuple[Line, ...], logged: tuple[str, ...], names: list[str] | None
) -> None:
    axes = Figure().add_subplot()
    series = (np.array([0, 1]), np.array([0.0, 1.0]))
    draw_panel(axes, Panel("Share", lines), dict.fromkeys(logged, series))
    legend = axes.get_legend()
    shown = None if legend is None else [text.get_text() for text in legend.get_texts()]
    assert shown == names
