"""The report in a real browser, served from this machine; skipped where there is none."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

from rgbx.report import build_report
from tests.report.made import prompted_test, saliency_test, semantic_test, trained_run

NOTHING = "\N{EN DASH}"  # where a table has no number
COUNT = 130  # more than the gallery makes at a time


def browser_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser():
    path = browser_path()
    if path is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install .[dev]"
    )
    # a container's only user may be root, whom the sandbox refuses
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=options)
        yield opened
        opened.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and keeps a list of what was asked for."""

    asked: list[str]

    def log_message(self, *args):
        self.asked.append(self.path)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run = trained_run(folder / "runs/tasseg/version_0", surgery=True)
    test = semantic_test(run / "test_MFNet_best", count=COUNT, size=24)
    (test / "data/rgb/00003N.png").unlink()
    trained_run(folder / "runs/tasseg/version_1", epochs=2)
    saliency_test(folder / "runs/result_samsod")
    prompted_test(folder / "runs/result_stable_sam")
    return build_report([str(folder / "runs")], folder / "out").path


@pytest.fixture(scope="module")
def address(report):
    handler = type("Handler", (Quiet,), {"asked": []})
    made = functools.partial(handler, directory=str(report.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html", handler.asked
    server.shutdown()
    server.server_close()


@pytest.fixture(params=[(1280, 900, "light"), (400, 800, "dark")], ids=["wide", "narrow"])
def page(browser, address, request):
    """The page, opened; afterwards nothing may have been complained of or asked for."""
    width, height, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    opened, complaints = context.new_page(), []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    url, asked = address
    asked.clear()
    opened.goto(url)
    opened.wait_for_selector("#entries .entry")
    yield opened
    assert complaints == []
    assert set(asked) == {"/index.html"}
    context.close()


def names(page) -> list[str]:
    return page.locator("#entries .entry .name").all_text_contents()


def show_all(page, count: int) -> None:
    for _ in range(count):
        if page.locator("#entries .entry").count() >= count:
            return
        page.locator("#more").scroll_into_view_if_needed()
        page.wait_for_timeout(50)
    raise AssertionError("the gallery does not grow")


def test_every_panel_loads(page):
    page.select_option("select[name=run]", label="tasseg/version_0")
    show_all(page, COUNT)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(sizes) == 5 * COUNT - 1 and min(sizes) > 0
    assert page.locator(".missing").all_text_contents() == ["missing"]


def test_worst_first_best_first_and_by_name(page):
    page.select_option("select[name=run]", label="tasseg/version_0")
    first = names(page)[0]
    assert int(first[:5]) % 24 == 23  # 23 of 24 columns are wrong
    page.select_option("select[name=order]", "best")
    assert int(names(page)[0][:5]) % 24 == 0
    page.select_option("select[name=sort]", "name")
    page.select_option("select[name=order]", "worst")
    shown = names(page)
    assert shown == sorted(shown) and shown[0] == "00000D"


def test_scores_fall_or_rise_all_the_way(page):
    page.select_option("select[name=run]", label="tasseg/version_0")
    for order, sign in (("worst", 1), ("best", -1)):
        page.select_option("select[name=order]", order)
        show_all(page, COUNT)
        texts = page.locator("#entries .entry .score").all_text_contents()
        scores = [sign * float(text.split()[0]) for text in texts]
        assert len(scores) == COUNT and scores == sorted(scores)


def test_filters_by_run_subset_prompt_and_name(page):
    count = page.locator("#count")
    assert count.text_content() == f"{COUNT + 2} results"
    page.select_option("select[name=subset]", label="night")
    assert count.text_content() == f"{COUNT // 2} of {COUNT + 2} results"
    assert all(name.endswith("N") for name in names(page))
    page.select_option("select[name=subset]", label="all")
    page.fill("input[name=name]", "0000")
    assert count.text_content() == f"10 of {COUNT + 2} results"
    page.fill("input[name=name]", "no such name")
    assert names(page) == []
    page.fill("input[name=name]", "")
    page.select_option("select[name=prompt]", label="1 point")
    assert names(page) == ["a"]
    assert "mSF 50.0" in page.locator("#entries .entry").text_content()


def test_tables_sort_by_any_column(page):
    table = page.locator("#scores figure", has_text="MFNet test").locator("table")
    heading = table.locator("thead tr:last-child th", has_text="miou_image").last
    place = heading.evaluate("th => th.cellIndex")

    def column() -> list[float]:
        texts = table.locator("tbody tr").evaluate_all(
            "(rows, place) => rows.map(row => row.cells[place].textContent)", place
        )
        return [float(text) for text in texts if text != NOTHING]

    heading.click()
    assert len(column()) > 1 and column() == sorted(column(), reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.press("Enter")
    assert column() == sorted(column())
    bars = page.locator("#classes table")
    bars.locator("th").first.click()
    assert bars.locator("tbody td.text").first.text_content().startswith("car")


def test_nothing_overflows_but_tables(page):
    show_all(page, COUNT)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == page.evaluate("innerWidth")
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => e.getClientRects().length"
        " && e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('.scroll, .rgbx-table')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []


def test_light_and_dark(page):
    colours = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light, ink = (sum(map(int, c[4:-1].split(","))) / 3 for c in colours)
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (light < 60 and ink > 180) if dark else (light > 230 and ink < 80)


def test_a_panel_opens_large_and_leads_to_the_next(page):
    page.select_option("select[name=run]", label="tasseg/version_0")
    shown = names(page)
    page.locator("#entries img").first.click()
    zoom = page.locator("#zoom")
    assert zoom.locator(".name").text_content() == shown[0]
    page.keyboard.press("ArrowRight")
    assert zoom.locator(".name").text_content() == shown[1]
    page.keyboard.press("Escape")
    assert not zoom.is_visible()


def test_charts_tell_their_values(page):
    chart = page.locator("#training svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 0.13 * box["width"], box["y"] + box["height"] / 2)
    text = page.locator("#tip").inner_text().split("\n")
    assert text == ["step 0", "tasseg/version_0: 1", "tasseg/version_1: 1"]
