"""The report's page in a real browser: without network, by mouse and by keyboard, on a phone."""

from __future__ import annotations

import pytest

from tests.support.report.page import address, plot, shown, traces, until
from tests.support.report.runs import NASTY


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
    until(page, "document.getElementById('spoken').textContent.startsWith('1000')")
    spoken = page.locator("#spoken").inner_text()
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
