"""The report's page in a real browser: without network, by mouse and by keyboard, on a phone."""

from __future__ import annotations

import shutil

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
    write_video(runs / "Pusher_PPD_ImpaalaSmall_0" / "videos" / "student.mp4")
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


def test_the_page_opens_without_errors_or_requests_and_hostile_text_is_text(opened):
    page = opened()
    assert page.locator("h2").first.inner_text() == NASTY
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    statement = page.locator("section[data-task=Pusher] .statement").first.inner_text()
    assert statement == "PPD beats BC: skill 0.920 against 0.530."
    page.locator("summary").last.click()
    assert page.evaluate("document.querySelectorAll('.chart path.mean').length") == 1


def test_filters_filter_tables_curves_videos_and_details(opened):
    page = opened()
    assert shown(page) == ["PPD, Small", "student-distill, Big", "BC, Small"]
    assert page.locator("#shown").inner_text() == "5 of 5 experiments shown"
    page.get_by_label("PPD", exact=True).uncheck()
    assert shown(page) == ["student-distill, Big", "BC, Small"]
    assert page.locator("#shown").inner_text() == "3 of 5 experiments shown"
    assert page.locator("section[data-task=Reacher]").is_hidden()
    assert page.locator("video").first.is_hidden()
    assert page.locator(".chart path.mean").count() == 0
    page.get_by_label("Big", exact=True).uncheck()
    assert shown(page) == ["BC, Small"]
    for name in ("BC", "student-distill"):
        page.get_by_label(name, exact=True).uncheck()
    page.locator("input[name=task]").first.uncheck()
    assert "No experiments match" in page.locator("#shown").inner_text()
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("only experiments with a finished run").check()
    assert page.locator("#shown").inner_text() == "4 of 5 experiments shown"
    assert page.locator("section[data-task=Reacher]").is_hidden()
    page.get_by_role("button", name="Show all").click()
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

    page.locator(".chart:visible").last.focus()
    chart = page.locator("figure.curves").filter(has=page.locator("path.mean"))
    chart.locator(".chart").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    # Means over 2 runs at 1000 env steps: PPD 0.55; BC's run was cut short there, at 0.25.
    values = chart.locator(".readout p").all_inner_texts()
    lines = [" ".join(value.split()) for value in values]
    assert lines == ["environment steps 1000", "\u25a0PPD, Small 0.55", "\u25a0BC, Small 0.25"]
    page.keyboard.press("Escape")
    assert chart.locator(".readout").is_hidden()

    table.get_by_role("link", name="PPD, Small").focus()
    page.keyboard.press("Enter")
    page.locator("details.run:target[open]").wait_for()


def test_a_video_plays(opened):
    page = opened()
    player = page.locator("video").first
    assert player.get_attribute("controls") is not None
    assert player.get_attribute("preload") == "metadata"
    player.evaluate("""video => new Promise((done, failed) => {
        video.ontimeupdate = () => video.currentTime > 0.5 && done();
        video.play().catch(failed);
    })""")
    assert player.evaluate("video => video.videoWidth") == 32


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
    page.wait_for_function("picture => picture.naturalWidth === 8", arg=picture.element_handle())
    hidden = "tables => tables.filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.locator("figure .scroll").evaluate_all(hidden) == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_on_a_phone_nothing_is_wider_than_the_screen(opened):
    page = opened(width=375)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    inside = """() => [...document.querySelectorAll('main *')].filter(e =>
        e.getClientRects().length && !e.closest('.scroll, svg') &&
        e.getBoundingClientRect().right > 375.5).map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(inside) == []
    sorter = page.locator("section[data-task=Pusher] .sorter")
    sorter.locator("select").select_option(label="Env steps")
    assert shown(page)[0] == "student-distill, Big"
    sorter.get_by_role("button", name="Reverse order").click()
    assert shown(page)[-1] == "student-distill, Big"


def test_the_page_is_dark_where_that_is_preferred_and_light_on_paper(opened):
    ground = "getComputedStyle(document.body).backgroundColor"
    page = opened(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(20, 21, 23)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 29, 31)"
    assert page.locator("#filters").is_hidden()


def test_every_control_has_a_name(opened):
    page = opened()
    nameless = """() => [...document.querySelectorAll('input, select, button, video, [tabindex]')]
        .filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label')))
        .length"""
    assert page.evaluate(nameless) == 0
    assert page.locator("table.results caption").count() == page.locator("table.results").count()


def test_a_link_to_a_run_opens_it(opened):
    assert opened(fragment="#row-1").locator("#row-1").get_attribute("open") is not None
