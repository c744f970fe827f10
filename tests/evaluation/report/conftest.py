"""Reports in a real browser."""

from __future__ import annotations

import shutil

import pytest

from tests.support.report.runs import (
    nasty_run,
    write,
    write_curve,
    write_diagnostics,
    write_runs,
    write_video,
)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def measured_site(tmp_path_factory):
    """A report of one run with diagnostics, of which one is cut short."""
    runs = tmp_path_factory.mktemp("measured") / "runs"
    write_runs(runs, "PPD", (0.90,))
    folder = write_diagnostics(runs / "Pusher_PPD_ImpaalaSmall_0" / "diagnostics")
    (folder / "more.json").write_text('{"a": 1, "b"')
    return write(runs) and runs.parent / "report" / "index.html"


@pytest.fixture(scope="session")
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
        context.set_default_timeout(400_000)  # ms; a machine at work is slow
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
