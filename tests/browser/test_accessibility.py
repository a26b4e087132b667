"""axe-core finds nothing to mend on any page, by day and by night, and in what opens on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import test_page
import test_review_page
import test_review_views
import test_studio
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from studio_site import Site, empty, filled, job, learned
from test_lesson_pages import write_moving_pages
from test_report import hostile, made  # noqa: F401  # made is a fixture
from test_review import CONFIG
from test_static_page import Host
from waiting import until

from bear_classifier.collect.rights.attribution import as_page, credit
from bear_classifier.dataset.schema import Photo, Source
from bear_classifier.lesson import contents, page
from bear_classifier.report import build
from bear_classifier.report.html import report_page
from bear_classifier.serve import routes
from bear_classifier.serve.static_page import static_page
from bear_classifier.ship import bundle
from bear_classifier.web.static_files import files_of_page

pytestmark = [pytest.mark.browser, pytest.mark.long]
CSS = files_of_page(Path(routes.__file__).parent / "static")
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RUN = """
const done = arguments[0], beyond = ["deprecated", "wcag2aaa"];
const rules = axe.getRules().filter((rule) => !rule.tags.some((tag) => beyond.includes(tag)));
const on = Object.fromEntries(rules.map((rule) => [rule.ruleId, { enabled: true }]));
const line = (rule, node) => `${rule.id}: ${node.html.slice(0, 160)}: ${node.failureSummary}`;
const lines = (found) => found.violations.flatMap((rule) => rule.nodes.map((n) => line(rule, n)));
axe.run(document, { resultTypes: ["violations"], rules: on }).then(
  (found) => done({ rules: rules.length, violations: lines(found) }),
  (error) => done({ rules: 0, violations: [String(error)] }));
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    software = "--enable-unsafe-swiftshader"  # WebGL without a GPU
    driver = test_page.start_browser(tmp_path_factory.mktemp("profile"), software)
    yield driver
    driver.quit()


@pytest.fixture(params=["light", "dark"])
def browser(driver: webdriver.Chrome, request: pytest.FixtureRequest) -> webdriver.Chrome:
    """In one of both colour schemes, and still: contrast is not measured while colours change."""
    features = [
        {"name": "prefers-color-scheme", "value": request.param},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    scheme = "return matchMedia('(prefers-color-scheme: dark)').matches"
    driver.get("about:blank")
    assert driver.execute_script(scheme) == (request.param == "dark")
    return driver


def violations(browser: webdriver.Chrome) -> list[str]:
    """What axe-core has to say of the page as it is now; every rule but those of level AAA."""
    browser.execute_script(AXE)
    found = browser.execute_async_script(RUN)
    assert found["rules"] > 80 or found["violations"]
    return list(found["violations"])


def written(folder: Path, **pages: str) -> dict[str, str]:
    """Their addresses."""
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


def check(browser: webdriver.Chrome, addresses: Mapping[str, str]) -> None:
    """Pages, with everything that can be unfolded open."""
    found = {}
    for name, address in addresses.items():
        browser.get(address)
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        found[name] = violations(browser)
    assert_none(found)


def assert_none(found: Mapping[str, Sequence[str]]) -> None:
    lines = [f"{state}: {line}" for state, lines in found.items() for line in lines]
    assert lines == [], "\n".join(lines)


def test_the_report(browser: webdriver.Chrome, made: Any, tmp_path: Path) -> None:  # noqa: F811
    shown = build.mistake_pictures(made.catalog, made.found, bundle.load(made.project.model))
    few = json.loads(json.dumps(made.found))
    few["test"] |= {"pairs": [], "confusion": [[40, 1, 0], [3, 30, 2], [0, 9, 31]]}
    few["shortcuts"][0] |= {"clear": True, "accuracy": 0.9, "interval": [0.8, 0.95], "chance": 0.3}
    few["slices"][0] |= {"word": "more mistakes than elsewhere"}
    pages = {
        "plain": made.html,
        "hostile": report_page(hostile(made.found), shown, b"\x89PNG"),
        "few": report_page({**few, "warnings": []}, {}),
    }
    check(browser, written(tmp_path, **pages))


def test_the_lesson(browser: webdriver.Chrome, lesson: Path) -> None:
    addresses = {path.stem: path.as_uri() for path in sorted(lesson.glob("*.html"))}
    assert set(addresses) == {"sgd", "surface", "sliders", "classes", "glossary", "index"}
    check(browser, addresses)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages that move, and one with everything that a page is made of."""
    place = tmp_path_factory.mktemp("lesson")
    write_moving_pages(place)
    sheet = page.Sheet("classes", "All <parts>", vocab=["grizzly", "teddy"])
    sheet.say("class_order")
    sheet.code(page.glossary)
    sheet.say("formula")
    sheet.say("softmax_table", rows=[("grizzly", 3), ("teddy", 4)])
    sheet.claim("knows_nothing", True, start=1.1, log_3=1.1)
    sheet.claim("sums_to_one", False, sums="2 > 1")
    page.save(sheet.page(), place, contents.TITLES)
    return place


def test_the_attribution(
    browser: webdriver.Chrome, make: Callable[..., Photo], tmp_path: Path
) -> None:
    known = Source("https://a.example/1.jpg", "grizzly", "openverse", page="https://a.example/1",
                   author="Ann", licence="CC0 (search filter)", licence_url="https://b.example/",
                   title="bear " * 40, via="thumbnail", query="bears", rank=3)  # fmt: skip
    rows = [credit(make(1, split="test"), [known], "1.jpg"), credit(make(2), [], "2.jpg")]
    pages = {
        "some": as_page("bears", rows, 2, {rows[1].sha256: ""}),
        "one": as_page("bears", rows[1:], 0),
    }
    check(browser, written(tmp_path, **pages))


def test_the_model_card(browser: webdriver.Chrome, made: Any, tmp_path: Path) -> None:  # noqa: F811
    card = routes.render_card("tiny", bundle.load(made.project.model).card())
    for name in ("base.css", "page.css"):
        card = card.replace(f"../../../../{name}", CSS[name].as_uri())
    check(browser, written(tmp_path, card=card))


@pytest.fixture
def visited() -> Iterator[test_page.Site]:
    site = test_page.Site()
    yield site
    site.shutdown()
    site.server_close()


def test_the_page_for_visitors(
    browser: webdriver.Chrome, visited: test_page.Site, tmp_path: Path
) -> None:
    """Empty, an answer with its reasons, a refusal, a failure, many photos, the camera, and photos
    that were to stay on the device and cannot."""
    to_try = {"examples": [{"label": "teddy", "image": "try.jpeg"}]}
    visited.pictures = {"try.jpeg": test_page.photo("teddy")}
    visited.models, visited.corrections = [test_page.BEARS | to_try, test_page.FRUIT], True
    visited.on_device = True
    visited.similar = lambda body: [{"label": "teddy", "image": test_page.data_url(3)}]
    test_page.visit(browser, visited)
    found = {"empty": violations(browser)}

    def choose(*words: str) -> None:
        paths = [tmp_path / f"{word} {n}.png" for n, word in enumerate(words)]
        for n, path in enumerate(paths):
            path.write_bytes(test_page.photo(words[n], seed=n))
        browser.find_element(By.ID, "files").send_keys("\n".join(map(str, paths)))

    choose("teddy")
    test_page.says(browser, "Teddy, quite sure.")
    browser.find_element(By.ID, "why").click()
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#why-panel img"))
    browser.find_element(By.ID, "wrong").click()
    found["answer"] = violations(browser)
    choose("refused")
    test_page.says(browser, test_page.REFUSED)
    found["refusal"] = violations(browser)
    choose("broken")
    until(lambda: test_page.text(browser, "#trouble") == test_page.BROKEN, "no sentence")
    found["failure"] = violations(browser)
    choose("teddy", "grizzly", "broken", "refused")
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) >= 4)
    found["many"] = violations(browser)
    browser.find_element(By.ID, "camera").click()
    until(browser.find_element(By.ID, "shoot").is_enabled, "the camera did not open")
    found["camera"] = violations(browser)
    browser.find_element(By.ID, "camera-close").click()
    browser.find_element(By.ID, "place-other").click()
    until(lambda: "cannot run" in test_page.text(browser, "#place-now"), "no sentence")
    found["not on this device"] = violations(browser)
    browser.execute_script("localStorage.clear()")
    assert_none(found)


@pytest.mark.assets
def test_the_live_camera(browser: webdriver.Chrome, model_dir: Path, tmp_path: Path) -> None:
    """With its answer, the map over the picture, and frozen."""
    static_page(model_dir, tmp_path / "site")
    host = Host(tmp_path / "site")
    try:
        browser.get(host.url)
        until(lambda: test_page.text(browser, "#limits"), "the page is not up")
        browser.find_element(By.ID, "camera").click()
        said = lambda: test_page.text(browser, "#live-said")  # noqa: E731
        until(lambda: said() not in ("", "Looking"), "the camera got no answer")
        browser.find_element(By.ID, "where").click()
        until(browser.find_element(By.ID, "live-map").is_displayed, "no map was drawn")
        browser.find_element(By.ID, "freeze").click()
        found = {"frozen": violations(browser)}
        browser.find_element(By.ID, "freeze").click()
        found["live"] = violations(browser)
    finally:
        host.close()
    assert_none(found)


def test_the_review_page(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """One photo, a question on the test split, the filters, the keys, the grid, and the end."""
    site = test_review_page.Site(tmp_path / "data")
    try:
        test_review_page.visit(browser, site.url)
        found = {"one": violations(browser)}
        for name, keys, there in (
            ("decided", ["k", "p"], ".badge.set"),
            ("filters", ["f"], "#filters:not([hidden])"),
            ("question", [Keys.ESCAPE, *"nnd"], "#confirm:not([hidden])"),
            ("grid", [Keys.ESCAPE, "g", Keys.ARROW_RIGHT, " "], ".thumb[aria-pressed='true']"),
            ("help", ["?"], "#help[open]"),
        ):
            test_review_page.press(browser, *keys)
            until(lambda there=there: browser.find_elements(By.CSS_SELECTOR, there), name)
            found[name] = violations(browser)
        test_review_page.visit(browser, f"{site.url}#state=dropped")
        found["end"] = violations(browser)
        test_review_page.visit(browser, site.url)
        site.stop()
        test_review_page.press(browser, "k")
        until(lambda: browser.find_elements(By.CSS_SELECTOR, "#outbox:not([hidden])"))
        found["not stored"] = violations(browser)
    finally:
        site.stop()
    assert CONFIG.name in browser.title
    assert_none(found)


def test_the_views_of_the_review_page(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Groups, one of them, "more like this", the map with and without selected photos, classes."""
    site = test_review_views.Looks(tmp_path / "data")
    found = {}
    try:
        test_review_page.visit(browser, site.url)
        for name, keys, there in (
            ("classes", ["0"], "#classes[open]"),
            ("loaded", [Keys.ESCAPE, "l"], ".thumb"),
            ("alike", [Keys.ARROW_RIGHT, " "], ".thumb[aria-pressed='true']"),
            ("groups", ["c"], ".group.at"),
            ("decided group", ["k"], "#undo:not([disabled])"),
            ("one group", [Keys.ARROW_UP, Keys.ENTER], ".thumb"),
            ("map", ["m"], ".stage[data-pictures]"),
            ("selected", ["b", Keys.ENTER], ".map .thumb"),
        ):
            test_review_page.press(browser, *keys)
            until(lambda there=there: browser.find_elements(By.CSS_SELECTOR, there), name)
            found[name] = violations(browser)
    finally:
        site.stop()
    assert_none(found)


def test_the_studio(browser: webdriver.Chrome) -> None:
    """Each step empty, with photos, at work, and done; what failed; what opens; a lost studio."""
    site, found = Site(), {}
    bar = {"name": "train", "n": 8, "total": 30, "unit": "photo", "words": "", "left_seconds": 9}
    epochs = [{"epoch": k, "epochs": 5, "error": 0.1 / k} for k in (1, 2, 3)]
    failure = {"code": "DISK_FULL", "sentence": "The disk is full."}
    steps = {
        "work": ("photos", "learn", "clean"),
        "failed": ("learn",),
        "photos": ("photos", "learn"),
    }
    states = {
        "empty": empty(),
        "photos": filled(),
        "work": {**filled(), "jobs": [job("train", bar=bar, epochs=epochs)]},
        "failed": {**filled(), "jobs": [job("train", "failed", error=failure)]},
        "done": learned(),
    }
    try:
        for name, state in states.items():
            site.push(state)
            for step in steps.get(name, ("name", "photos", "learn", "clean", "publish")):
                test_studio.visit(browser, site, step)
                open_all = "document.querySelectorAll('details').forEach(d => d.open = true)"
                browser.execute_script(open_all)
                found[f"{name} {step}"] = violations(browser)
        for name, words in (
            ("commands", "Show the commands"),
            ("log", "Details"),
            ("question", "Delete"),
        ):
            test_studio.visit(browser, site, "name")
            test_studio.button(browser, words)
            until(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog[open]"))
            found[name] = violations(browser)
        site.lose(True)
        test_studio.press(browser, Keys.ESCAPE)
        test_studio.shows(browser, "The studio does not answer.", place="#jobbar")
        found["lost"] = violations(browser)
        site.lose(False)
        test_studio.visit(browser, site, "")
        found["projects"] = violations(browser)
        site.projects = []
        for step in ("", "new"):
            browser.get("about:blank")
            browser.get(f"{site.url}#step={step}" if step else site.url)
            until(lambda: browser.find_elements(By.TAG_NAME, "h1"))
            found[f"begin {step}"] = violations(browser)
    finally:
        site.close()
    assert_none(found)
