"""Look at the report's page, opened by playwright."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs


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
