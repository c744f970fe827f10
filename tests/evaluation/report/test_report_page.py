"""The report's page in a real browser: without network, by mouse and by keyboard, on a phone."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

from tests.support.report_runs import (
    NASTY,
    nasty_run,
    write,
    write_curve,
    write_diagnostics,
    write_runs,
    write_video,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A report of two tasks, four methods' runs, with a video, diagnostics and hostile text."""
    runs = tmp_path_factory.mktemp("site") / "runs"
    write_runs(runs, "PPD", (0.90, 0.94))
    write_runs(runs, "BC_phase", (0.50, 0.56, None))
    write_runs(runs, "Sdistillation", (0.7,), mode="ImpaalaBig", env_steps=90)
    write_runs(runs, "PPD", (None,), task="Reacher")
    for i in (0, 1):
        write_curve(runs / f"Pusher_PPD_ImpaalaSmall_{i}", (0.0, 0.5 + 0.1 * i, 0.9 + 0.04 * i))
    write_curve(runs / "Pusher_BC_phase_ImpaalaSmall_2", (0.0, 0.25))
    for method in ("PPD", "BC_phase"):
        write_video(runs / f"Pusher_{method}_ImpaalaSmall_0" / "videos" / "student.mp4")
    nasty_run(runs / "nasty")
    return write(runs) and runs.parent / "report" / "index.html"


@pytest.fixture(scope="module")
def measured_site(tmp_path_factory):
    """A report of one run with diagnostics, of which one is cut short."""
    runs = tmp_path_factory.mktemp("measured") / "runs"
    write_runs(runs, "PPD", (0.90,))
    folder = write_diagnostics(runs / "Pusher_PPD_ImpaalaSmall_0" / "diagnostics")
    (folder / "more.json").write_text('{"a": 1, "b"')
    return write(runs) and runs.parent / "report" / "index.html"


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is in the dev extra")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, site):
    """Opens the page; at the end nothing may have been said in the console or asked outside."""
    contexts, said, asked = [], [], []

    def outside(route):
        asked.append(route.request.url)
        route.abort()

    def open_page(width=1280, fragment="", at=site, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(120_000)  # ms; a machine at work is slow
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.route(lambda url: not url.startswith((at.parent.as_uri(), "data:")), outside)
        page.goto(at.as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert asked == []


def shown(page):
    """The experiments of the first table, as shown, from above."""
    rows = page.locator("section[data-task=Pusher] .results tbody tr:visible th a")
    return rows.all_inner_texts()


def plot(page, kind, task="Pusher"):
    """A plot of a task, scrolled to, so that it is drawn."""
    figure = page.locator(f"section[data-task='{task}'] figure[data-kind={kind}]")
    figure.scroll_into_view_if_needed()
    return figure


def traces(figure, *keys):
    """The named curves and points of a drawn plot, by their names."""
    figure.locator(".main-svg").first.wait_for()
    script = """(plot, keys) => plot.data.filter(trace => trace.name).map(
        trace => [trace.name, keys.map(key => trace[key])])"""
    return dict(figure.locator(".plot").evaluate(script, keys))


def until(page, condition):
    """Wait for a condition. The page's policy forbids `wait_for_function`, which uses eval."""
    page.evaluate(f"""() => new Promise(done => {{
        const look = () => ({condition}) ? done() : setTimeout(look, 20);
        look();
    }})""")


def address(page):
    return parse_qs(page.evaluate("location.hash.slice(1)"), keep_blank_values=True)


def downloaded(page, figure, kind):
    with page.expect_download() as download:
        figure.locator(f"[data-save={kind}]").click()
    return Path(download.value.path()).read_text(), download.value.suggested_filename


def test_the_page_opens_without_errors_or_requests_and_hostile_text_is_text(opened):
    page = opened()
    assert page.locator("h2").first.inner_text().startswith(NASTY)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    statement = page.locator("section[data-task=Pusher] .statement").first.inner_text()
    assert statement == "PPD beats BC: skill 0.920 against 0.530."
    for kind in ("curves", "scores", "profile", "improvement"):
        plot(page, kind)
    page.locator("summary").last.click()


def test_filters_filter_everything_and_an_address_shows_the_same_view(opened):
    page = opened()
    assert shown(page) == ["PPD, Small", "student-distill, Big", "BC, Small"]
    assert page.locator("#shown").inner_text() == "5 of 5 experiments shown"
    assert address(page) == {}
    page.get_by_label("PPD", exact=True).uncheck()
    assert shown(page) == ["student-distill, Big", "BC, Small"]
    assert page.locator("#shown").inner_text() == "3 of 5 experiments shown"
    assert page.locator("section[data-task=Reacher]").is_hidden()
    assert page.locator("video").first.is_hidden()
    assert traces(plot(page, "curves")).keys() == {"BC, Small", "teacher"}
    page.get_by_label("Big", exact=True).uncheck()
    assert shown(page) == ["BC, Small"]
    again = opened(fragment=page.evaluate("location.hash"))
    assert shown(again) == ["BC, Small"]
    for name in ("BC", "student-distill"):
        page.get_by_label(name, exact=True).uncheck()
    page.locator("input[name=method]").first.uncheck()
    assert address(page)["method"] == [""]
    assert "No experiments match" in page.locator("#shown").inner_text()
    page.get_by_role("button", name="Reset view").click()
    assert address(page) == {}
    page.get_by_label("only experiments with a finished run").check()
    assert page.locator("#shown").inner_text() == "4 of 5 experiments shown"
    assert page.locator("section[data-task=Reacher]").is_hidden()
    page.get_by_role("button", name="Reset view").click()
    assert page.locator("#shown").inner_text() == "5 of 5 experiments shown"
    assert page.locator("video").first.is_visible()


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


def test_the_keyboard_alone_filters_sorts_reads_curves_and_opens_runs(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("input[name=method][value=BC]").focus()
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Space")
    assert "BC, Small" not in shown(page)
    assert page.evaluate(ring) == "solid"
    page.keyboard.press("Space")

    table = page.locator("section[data-task=Pusher] .results")
    assert table.locator("th[aria-sort]").inner_text() == "Skill"
    head = table.get_by_role("button", name="Env steps")
    head.focus()
    page.keyboard.press("Enter")
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert shown(page)[0] == "student-distill, Big"  # 90 env steps
    page.keyboard.press("Enter")
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert shown(page) == ["PPD, Small", "BC, Small", "student-distill, Big"]
    assert address(page) == {"pusher-2.sort": ["env_steps descending"]}

    curves = plot(page, "curves")
    traces(curves)
    curves.locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    spoken = page.locator("#spoken").inner_text()
    assert "1000" in spoken
    assert "PPD, Small : 0.55" in spoken
    assert "BC, Small : 0.25" in spoken
    page.keyboard.press("+")
    width = "plot => plot._fullLayout.xaxis.range[1] - plot._fullLayout.xaxis.range[0]"
    zoomed = curves.locator(".plot").evaluate(width)
    page.keyboard.press("0")
    assert curves.locator(".plot").evaluate(width) == pytest.approx(2 * zoomed, rel=1e-3)
    legend = page.locator("section[data-task=Pusher] .legend").get_by_role("button", name="BC")
    legend.focus()
    page.keyboard.press("Enter")
    assert legend.get_attribute("aria-pressed") == "false"
    assert traces(curves).keys() == {"PPD, Small", "teacher"}

    table.get_by_role("link", name="PPD, Small").focus()
    page.keyboard.press("Enter")
    page.locator("details.run[open]").wait_for()
    assert address(page)["run"] == ["pusher-a-ppd-small"]


def test_videos_play_together_stop_together_and_are_sought_together(opened):
    page = opened()
    together = page.locator(".together", has=page.get_by_role("heading", name="Videos", exact=True))
    films = together.locator("video")
    assert films.count() == 2
    assert films.first.get_attribute("preload") == "metadata"
    until(page, "[...document.querySelectorAll('video')].every(v => v.duration)")
    together.get_by_label("at").fill("0.5")
    times = "films => films.map(film => film.currentTime)"
    assert films.evaluate_all(times) == pytest.approx([1.0, 1.0], abs=0.05)  # of 40 pictures at 20
    together.get_by_role("button", name="Play together").click()
    until(page, "[...document.querySelectorAll('video')].every(v => v.currentTime > 1.2)")
    together.get_by_role("button", name="Pause").click()
    assert films.evaluate_all("films => films.every(film => film.paused)")
    first, second = films.evaluate_all(times)
    assert first == pytest.approx(second, abs=0.5)
    assert films.first.evaluate("video => video.videoWidth") == 32


@pytest.mark.parametrize("width", [1280, 375])
def test_diagnostics_are_tables_that_fit_and_a_picture_that_shows(opened, measured_site, width):
    page = opened(width, at=measured_site)
    cards = page.locator("figure.wide")
    titles = [title.split("\n")[0] for title in cards.locator("strong").all_inner_texts()]
    assert titles == [
        "linear probe frames may not be needed",
        "more cut short or damaged",
        "robustness",
        "sight sight is used",
    ]
    row = cards.last.locator("tr", has=page.get_by_role("rowheader", name="frames <zeroed>"))
    assert row.locator("td").all_inner_texts() == [
        "\u221240.00\n\u221232.00 to\u00a0\u221228.00",
        "\u221210.00\n\u221212.50 to\u00a0\u22128.00",
        "0.500",
        "25%",
    ]
    picture = cards.nth(2).locator("img")
    picture.scroll_into_view_if_needed()
    picture.evaluate("picture => picture.decode()")
    assert picture.evaluate("picture => picture.naturalWidth") == 8
    hidden = "tables => tables.filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.locator("figure .scroll").evaluate_all(hidden) == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_on_a_phone_nothing_is_wider_than_the_screen(opened):
    page = opened(width=375)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    inside = """() => [...document.querySelectorAll('main *')].filter(e =>
        e.getClientRects().length && !e.closest('.scroll, .frame, .plot, .skip') &&
        e.getBoundingClientRect().right > 375.5).map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(inside) == []
    name = page.locator("section[data-task=Pusher] .results tbody th").first
    page.locator("section[data-task=Pusher] .frame").evaluate("frame => frame.scrollBy(500, 0)")
    assert 0 <= name.bounding_box()["x"] < 60  # names stay beside what has scrolled
    width = "e => Math.round(e.getBoundingClientRect().right)"
    assert plot(page, "curves").locator(".main-svg").first.evaluate(width) <= 375


def test_the_page_is_dark_where_that_is_preferred_and_light_on_paper(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    page = opened(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(20, 21, 23)"
    curves = plot(page, "curves")
    traces(curves)
    paper = "plot => plot.layout.paper_bgcolor"
    assert curves.locator(".plot").evaluate(paper) == "#1c1e21"
    page.emulate_media(media="print", color_scheme="dark")
    pusher = "document.querySelector('[data-task=Pusher] .plot')"
    until(page, f"{pusher}.layout.paper_bgcolor === '#ffffff'")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 29, 31)"
    assert page.locator("#filters").is_hidden()


def test_every_control_has_a_name(opened):
    page = opened()
    nameless = """() => [...document.querySelectorAll('input, select, button, video, [tabindex]')]
        .filter(e => e.type !== 'hidden')
        .filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label')))
        .length"""
    assert page.evaluate(nameless) == 0
    described = page.locator("table.results").evaluate_all(
        "tables => tables.every(e => document.getElementById(e.getAttribute('aria-describedby')))"
    )
    assert described


def test_a_link_to_a_run_opens_it(opened):
    run = opened(fragment="#run=pusher-a-bc-small").locator("#pusher-a-bc-small")
    assert run.get_attribute("open") is not None
