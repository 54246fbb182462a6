"""The report in a real browser: every page of it, from disk, without a complaint; what a reader does works."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.named import known_suites
from bench.report.build import build_reports
from bench.spec import Suite
from bench.store import Store
from tests.report.browser import Browser, find_browser, open_browser

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
SHOWN = ("scenes64", "oracle", "table1", "table9", "figure1", "figure2")
DESKTOP, PHONE = 1280, 390  # pixels wide
ONE_SCREEN = 800  # pixels high
LAST_TABLE = "[...document.querySelectorAll('table.sortable')].at(-1)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the records that git has, beside a copy of them; some exhibits of each kind."""
    root = tmp_path_factory.mktemp("site")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "results"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    build_reports(Store(root / "results"), [one for one in known_suites() if one.name in SHOWN], {}, root / "reports")
    return root / "reports"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium here: `apt-get install chromium` brings it")
    with open_browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def complaints(browser: Browser) -> list[str]:
    """What the console, the log and the network told of the last page."""
    found = []
    for event in browser.events:
        method, given = event.get("method"), event.get("params", {})
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed"):
            found.append(f"{method}: {json.dumps(given)[:300]}")
        if method == "Network.requestWillBeSent" and not given["request"]["url"].startswith(("file:", "data:")):
            found.append(f"asked for {given['request']['url']}")
    return found


LOOK = """(() => {
  const broken = [...document.images].filter((one) => one.naturalWidth === 0).map((one) => one.src);
  const silent = [...document.images].filter((one) => !one.alt.trim()).map((one) => one.src);
  const unnamed = [...document.querySelectorAll("a[href^='#']")].map((one) => decodeURIComponent(one.hash.slice(1)))
    .filter((name) => document.getElementById(name) === null);
  return { broken, silent, unnamed, images: document.images.length, width: document.documentElement.scrollWidth };
})()"""


def test_every_page_loads_without_a_complaint_shows_its_pictures_and_fits(report: Path, browser: Browser) -> None:
    pages, pictures = sorted(report.rglob("*.html")), 0
    assert len(pages) > 25
    for width in (DESKTOP, PHONE):
        browser.width(width)
        for page in pages:
            browser.visit(page)
            seen = browser.run(LOOK)
            assert not complaints(browser), page.name
            assert (seen["broken"], seen["silent"], seen["unnamed"]) == ([], [], []), page.name
            assert seen["width"] <= width, (page.name, width)
            pictures += seen["images"]
    assert pictures > 100


def test_every_link_leads_to_a_file(report: Path, browser: Browser) -> None:
    links = set()
    for page in report.rglob("*.html"):
        browser.visit(page)
        links |= set(browser.run("[...document.links].map((one) => one.href.split('#')[0])"))
    paths = {Path(link.removeprefix("file://")) for link in links}
    assert len(paths) > 150
    assert [path for path in paths if not path.is_file()] == []


def column(browser: Browser, number: int) -> list[str]:
    return list(browser.run(f"[...{LAST_TABLE}.tBodies[0].rows].map((row) => row.cells[{number}].textContent.trim())"))


def test_a_click_on_a_head_sorts_down_up_and_back(report: Path, browser: Browser) -> None:
    """The list of runs: column 8 is the seconds that each took, 10 the memory; some have none."""
    browser.width(DESKTOP)
    browser.visit(report / "runs.html")
    state = f"{LAST_TABLE}.querySelectorAll('th.by')[8].getAttribute('aria-sort')"
    click = f"{LAST_TABLE}.querySelectorAll('th.by')[8].querySelector('button').click()"
    before, names = column(browser, 8), column(browser, 0)
    known = sorted(float(text) for text in before if text != "-")
    assert browser.run(state) == "none"
    browser.run(click)
    assert browser.run(state) == "descending"
    assert [float(text) for text in column(browser, 8) if text != "-"] == known[::-1]
    browser.run(click)
    assert browser.run(state) == "ascending"
    assert [float(text) for text in column(browser, 8)[: len(known)]] == known
    browser.run(click)
    assert browser.run(state) == "none"
    assert column(browser, 0) == names


def test_what_is_missing_comes_last_both_ways_and_words_are_sorted_as_words(report: Path, browser: Browser) -> None:
    browser.visit(report / "scenes64.html")
    table = "document.querySelector('table.sortable')"
    cells = f"[...{table}.tBodies[0].rows].map((row) => row.cells[1].textContent.trim())"
    lacking = browser.run(cells).count("-")
    assert lacking
    for _ in range(2):
        browser.run(f"{table}.querySelectorAll('th.by')[1].querySelector('button').click()")
        assert set(browser.run(cells)[-lacking:]) == {"-"}
    browser.run(f"{table}.querySelectorAll('th.by')[0].querySelector('button').click()")
    names = browser.run(f"[...{table}.tBodies[0].rows].map((row) => row.cells[0].textContent.trim())")
    assert names == sorted(names, key=str.casefold)
    assert browser.run(f"{table}.querySelectorAll('[aria-sort=ascending], [aria-sort=descending]').length") == 1


def test_the_keyboard_alone_reaches_a_head_and_sorts(report: Path, browser: Browser) -> None:
    browser.visit(report / "runs.html")
    for _ in range(10):
        browser.press("Tab")
        if browser.run("document.activeElement.tagName") == "BUTTON":
            break
    assert browser.run("document.activeElement.tagName") == "BUTTON"
    browser.press("Enter")
    assert browser.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"


def test_the_overview_answers_in_one_screen(report: Path, browser: Browser) -> None:
    browser.width(DESKTOP, ONE_SCREEN)
    browser.visit(report / "index.html")
    boxes = "[...document.querySelectorAll('.answers section, .card')]"
    lowest = f"Math.max(...{boxes}.map((one) => one.getBoundingClientRect().bottom))"
    assert browser.run(lowest) <= ONE_SCREEN
    assert browser.run("document.querySelectorAll('.cards')[0].children.length") >= 16


def test_dark_and_light_differ_and_words_stand_out_in_both(report: Path, browser: Browser) -> None:
    """Contrast of text and of quiet text against the page, by WCAG's formula: 4.5 at least."""
    contrast = """(selector) => {
      const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
        .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, n) => sum + one * [0.2126, 0.7152, 0.0722][n], 0);
      const of = (element, key) => light(getComputedStyle(element)[key]);
      const [a, b] = [of(document.querySelector(selector), "color"), of(document.body, "backgroundColor")];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }"""
    pages = set()
    for dark in (False, True):
        browser.dark(dark)
        browser.visit(report / "scenes64.html")
        pages.add(browser.run("getComputedStyle(document.body).backgroundColor"))
        for selector in ("h1", "p.quiet", "main a", "td.ours a"):
            assert browser.run(f"({contrast})('{selector}')") >= 4.5, (selector, dark)
    browser.dark(False)
    assert len(pages) == 2


def test_a_script_in_a_name_does_not_run(fake: Any, suite: Suite, tmp_path: Path, browser: Browser) -> None:
    evil = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    fake.done("unet", attempt={"device": evil, evil: evil})
    fake.ended("detr-r50", "failed", evil)
    build_reports(fake.store, [suite.model_copy(update={"title": evil})], {}, tmp_path / "reports")
    pages = sorted((tmp_path / "reports").rglob("*.html"))
    for page in pages:
        browser.visit(page)
        assert not complaints(browser), page.name
        assert browser.run("document.title") != "taken"
        assert browser.run("document.images.length") == 0
    assert len(pages) == 8
