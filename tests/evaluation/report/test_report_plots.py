"""The report's plots in a real browser: what they show, their downloads and links to them."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import pytest

from tests.support.report.page import downloaded, plot, traces


def test_curves_are_chosen_scaled_smoothed_hidden_and_zoomed_and_linked_to(opened):
    page = opened()
    curves = plot(page, "curves")
    # Means over 2 runs; BC's run was cut short at 1000 env steps.
    expected = {
        "PPD, Small": [[0, 1000, 2000], [0.0, 0.55, 0.92]],
        "BC, Small": [[0, 1000], [0.0, 0.25]],
        "teacher": [[0, 2000], [1, 1]],
    }
    assert traces(curves, "x", "y") == expected
    curves.get_by_label("against").select_option(label="seconds of the run")
    assert traces(curves, "x")["PPD, Small"] == [[0, 10, 20]]
    curves.get_by_label("log x").check()
    curves.get_by_label("scale").select_option("log")
    types = "plot => [plot.layout.xaxis.type, plot.layout.yaxis.type]"
    assert curves.locator(".plot").evaluate(types) == ["log", "log"]
    curves.get_by_label("smoothing").fill("0.5")
    # With weight 0.5: (0.55 / 2) / (3 / 4), and (0.55 / 4 + 0.92 / 2) / (7 / 8).
    (smooth,) = traces(curves, "y")["PPD, Small"]
    assert smooth == pytest.approx([0, 0.275 / 0.75, 0.5975 / 0.875])
    page.get_by_role("button", name="BC, Small").first.click()
    assert traces(curves).keys() == {"PPD, Small", "teacher"}
    page.get_by_role("button", name="Reset view").click()
    curves.locator(".plot").evaluate(
        "plot => Plotly.relayout(plot, {'xaxis.range': [500, 1500], 'yaxis.range': [0, 1]})"
    )
    page.get_by_role("button", name="BC, Small").first.click()
    again = opened(fragment=page.evaluate("location.hash"))
    same = plot(again, "curves")
    assert traces(same).keys() == {"PPD, Small", "teacher"}
    ranges = "plot => [plot._fullLayout.xaxis.range, plot._fullLayout.yaxis.range]"
    assert same.locator(".plot").evaluate(ranges) == [[500, 1500], [0, 1]]
    same.get_by_label("against").select_option(label="gradient steps")
    assert same.locator(".plot").evaluate(ranges)[0] != [500, 1500]  # of another axis


def test_comparisons_show_the_statistics_of_the_runs(opened):
    page = opened()
    scores = traces(plot(page, "scores"), "x")
    names = ("PPD, Small", "student-distill, Big", "BC, Small")
    assert scores == {name: [[x]] for name, x in zip(names, (0.92, 0.7, 0.53), strict=True)}
    plot(page, "scores").locator("select").select_option(label="env steps")
    assert traces(plot(page, "scores"), "x")["student-distill, Big"] == [[90]]
    profiles = traces(plot(page, "profile"), "x", "y")
    assert profiles.keys() == {"PPD, Small", "BC, Small"}  # of two runs each
    for x, y in zip(*profiles["PPD, Small"], strict=True):
        assert y == ((x < 0.90) + (x < 0.94)) / 2
    improvement = plot(page, "improvement")
    assert traces(improvement, "x") == {"BC, Small": [[1]]}
    improvement.locator("select").select_option(label="BC, Small")
    assert traces(improvement, "x") == {"PPD, Small": [[0]]}
    empty = plot(page, "profile", task="Reacher")
    assert "two finished runs" in empty.locator("[data-empty]").inner_text()
    assert empty.locator(".plot").is_hidden()


def test_downloads_hold_what_is_shown(opened):
    page = opened(color_scheme="dark")
    text, name = downloaded(page, plot(page, "curves"), "csv")
    assert name == "pusher-2-curves.csv"
    lines = list(csv.reader(text.splitlines()))
    title = ["environment steps", "skill (0 blind, 1 teacher)", "low", "high"]
    assert lines[0] == ["experiment", "run", *title]
    assert ["PPD, Small", "1", "2000", "0.94", "", ""] in [
        line + [""] * (6 - len(line)) for line in lines
    ]
    assert [line[:4] for line in lines if line[1] == "mean"][-1] == [
        "PPD, Small",
        "mean",
        "2000",
        "0.92",
    ]
    table = page.locator("section[data-task=Pusher] .ranking")
    text, _ = downloaded(page, table, "csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["experiment"], row["runs"], row["skill"]) for row in rows] == [
        *(("PPD, Small", "2", "0.92"), ("student-distill, Big", "1", "0.7")),
        ("BC, Small", "2", "0.53"),
    ]
    nasty, _ = downloaded(page, page.locator(".ranking").first, "csv")
    assert next(csv.DictReader(nasty.splitlines()))["experiment"].startswith("</script>")
    for kind in ("curves", "scores", "profile"):
        picture, name = downloaded(page, plot(page, kind), "svg")
        assert name == f"pusher-2-{kind}.svg"
        texts = [element.text for element in ElementTree.fromstring(picture).iter()]
        assert "BC, Small" in texts  # in the legend, or on the axis
        assert "rgb(255, 255, 255)" in picture  # white paper, though the screen is dark
