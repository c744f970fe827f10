"""Diagnostics in a report: as tables where they are known, and named where they are damaged."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from tests.support.report.runs import write, write_diagnostics, write_runs, write_video


class Tables(HTMLParser):
    """The texts of the cells of all `measured` tables, by their captions and rows."""

    def __init__(self, page):
        super().__init__()
        self.tables = []
        self._inside = self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self._inside = dict(attrs).get("class") == "measured"
            self.tables += [[]] if self._inside else []
        elif self._inside and tag == "tr":
            self.tables[-1].append([])
        elif self._inside and tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self._in_cell = False

    def handle_data(self, data):
        if self._inside and self._in_cell:
            so_far = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = f"{so_far} {data}".strip().replace("\u00a0", " ")


def minus(text):
    return text.replace("-", "\u2212")


@pytest.fixture
def folder(tmp_path):
    """A run's diagnostics."""
    write_runs(tmp_path / "r", "PPD", (0.9,))
    return write_diagnostics(tmp_path / "r" / "Pusher_PPD_ImpaalaSmall_0" / "diagnostics")


def report_of(folder):
    return write(folder.parents[1])


def change(path, how):
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


def test_each_known_measurement_is_a_table(folder):
    page = report_of(folder)
    probe, robustness, sight = Tables(page).tables
    titles = ["Return", "Change of return", "Skill", "Success"]
    interval = minus("-32.00 to -28.00")
    assert sight == [
        ["The student", *titles],
        ["as it is", f"{minus('-30.00')} {interval}", "\u2013", "0.500", "25%"],
        [
            "frames <zeroed>",
            f"{minus('-40.00')} {interval}",
            minus("-10.00 -12.50 to -8.00"),  # the fall, turned round
            *("0.500", "25%"),
        ],
    ]
    assert robustness == [
        ["Level", *titles],
        [minus("-2"), f"{minus('-28.00')} {interval}", "+2.00", "0.500", "25%"],
        ["0 undisturbed", f"{minus('-30.00')} {interval}", "\u2013", "0.500", "25%"],
        ["4", f"{minus('-34.00')} {interval}", minus("-4.00"), "0.500", "25%"],
    ]
    assert probe == [
        ["Outside proprioception", "R\u00b2, held out"],
        ["state[17]", "0.950"],
        ["state[18]", "constant"],
    ]
    assert '<span class="pill ahead">sight is used</span>' in page
    assert '<span class="pill undecided">frames may not be needed</span>' in page
    assert '<p class="verdict">Sight is used: so it seems.</p>' in page
    assert "<caption>Camera shift, pixels to the right</caption>" in page
    assert "length: 9.0" in page
    assert "teacher_return: -26.0" in page  # what has no column is not lost
    assert "<zeroed>" not in page


def test_a_picture_stands_with_its_numbers(folder):
    page = report_of(folder)
    assert page.count("<img ") == 1
    card = page[page.index("<strong>robustness") :]
    assert card.index("<img ") < card.index("<table") < card.index("</figure>")


def test_tables_are_known_by_their_content_and_what_is_unknown_is_as_it_is(folder):
    (folder / "sight.json").rename(folder / "mine.json")
    (folder / "sight.json").write_text('{"variants": {"a": {"b": 1.5}}, "curves": [3]}')
    (folder / "r2.json").write_text('{"r2": {"place": 0.5}}')
    page = report_of(folder)
    assert [table[0][0] for table in Tables(page).tables] == [
        *("Outside proprioception", "The student", "Level"),  # linear_probe, mine, robustness
    ]
    assert "  place: 0.5" in page


def test_what_is_cut_short_is_named_in_its_place_and_the_rest_is_drawn(folder, capsys):
    text = (folder / "sight.json").read_bytes()
    (folder / "sight.json").write_bytes(text[: len(text) // 2])
    (folder / "empty.json").write_text("{}")
    (folder / "list.json").write_text("[1]")
    picture = (folder / "robustness.png").read_bytes()
    (folder / "robustness.png").write_bytes(picture[:-9])
    write_video(folder / "saliency.mp4")
    video = (folder / "saliency.mp4").read_bytes()
    (folder / "saliency.mp4").write_bytes(video[: len(video) // 2])
    (folder / "saliency.png").write_text("no picture")
    page = report_of(folder)
    said = capsys.readouterr().err
    for name in ("empty", "list", "saliency", "sight"):
        assert f'<strong>{name} <span class="pill cut">cut short or damaged</span>' in page
    assert page.count("cut short or damaged</span>") == 6  # of saliency two, and robustness.png
    for name in ("sight.json", "empty.json", "list.json"):
        assert f"diagnostics/{name}" in said
    for name in ("robustness.png", "saliency.mp4", "saliency.png"):
        assert f"diagnostics/{name} is cut short or damaged" in said
    assert "<img" not in page
    assert [len(table) for table in Tables(page).tables] == [3, 4]  # the probe, robustness


def test_figures_that_are_missing_are_dashes_and_their_row_is_marked(folder):
    change(folder / "sight.json", lambda sight: sight["variants"].update({"as it is": 7}))
    change(folder / "sight.json", lambda sight: sight["variants"]["frames <zeroed>"].pop("drop"))

    def spoil(robustness):
        curves = robustness["curves"]
        curves["camera_shift"]["levels"][1].pop("return")  # the undisturbed one
        curves["camera_shift"]["levels"].append([1])
        curves |= {"brightness": {"levels": []}, "noise": None}

    change(folder / "robustness.json", spoil)
    change(folder / "linear_probe.json", lambda probe: probe["r2"].update({"17": "much"}))
    page = report_of(folder)
    probe, robustness, sight = Tables(page).tables
    assert sight[1] == ["as it is cut short or damaged", *["\u2013"] * 4]
    assert sight[2][2] == "\u2013"
    assert [row[0] for row in robustness[1:]] == [
        *(minus("-2"), "0 undisturbed cut short or damaged", "4", "? cut short or damaged")
    ]
    assert [row[2] for row in robustness[1:]] == ["\u2013"] * 4
    assert probe[1] == ["state[17]", "cut short or damaged"]
    for name in ("Brightness", "Noise"):
        assert f"<strong>{name}</strong> <span" in page


@pytest.mark.parametrize("number", ["NaN", "Infinity", "true", '"-30"'])
def test_what_is_no_number_is_a_dash(folder, number):
    path = folder / "sight.json"
    path.write_text(path.read_text().replace('"return": -30.0', f'"return": {number}'))
    *_, sight = Tables(report_of(folder)).tables
    assert sight[1] == ["as it is cut short or damaged", "\u2013", "\u2013", "0.500", "25%"]
