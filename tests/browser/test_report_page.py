"""The report as a person sees it: headless Chromium, a phone and a desk, day and night."""

import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from test_report import EVIL, hostile, made  # noqa: F401  # made is a fixture

from bear_classifier.report import build
from bear_classifier.report.html import report_page
from bear_classifier.ship import bundle

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(made, tmp_path_factory):  # noqa: F811
    """Addresses of the page as it is, and with texts of strangers, long words and ten classes."""
    folder = tmp_path_factory.mktemp("pages")
    shown = build.mistake_pictures(made.catalog, made.found, bundle.load(made.project.model))
    (folder / "plain.html").write_text(made.html, encoding="utf-8")
    (folder / "hostile.html").write_text(report_page(hostile(made.found), shown), encoding="utf-8")
    wide = hostile(made.found)
    labels = ["x" * 100, *(f"class {n}" for n in range(9))]
    row = next(iter(wide["test"]["per_class"].values()))
    wide["test"] |= {
        "labels": labels,
        "per_class": dict.fromkeys(labels, row),
        "confusion": [[1000] * 10] * 10,
    }
    wide["data"]["sites"] = [{"site": "y" * 200, "n": 1, "classes": labels}]
    (folder / "wide.html").write_text(report_page(wide, shown), encoding="utf-8")
    return {path.stem: path.as_uri() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def show(browser, url, width=1280, scheme="light"):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(url)


@pytest.mark.long
@pytest.mark.parametrize("name", ["plain", "hostile", "wide"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_sticks_out(browser, pages, name, width):
    show(browser, pages[name], width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    out = browser.execute_script(
        "return [...document.querySelectorAll('body *')]"
        ".filter(e => !e.closest('.scroll, svg, details')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert out == []


def test_it_asks_nobody_for_anything(browser, pages):
    for name in ("plain", "hostile"):
        browser.get("about:blank")
        browser.get_log("performance")
        browser.get_log("browser")
        show(browser, pages[name])
        log = "\n".join(entry["message"] for entry in browser.get_log("performance"))
        asked = set(re.findall(r'"Network\.requestWillBeSent".*?"url":"([^"]+)"', log))
        assert {url for url in asked if not url.startswith("data:image/")} == {pages[name]}
        assert browser.get_log("browser") == []


def test_texts_of_strangers_stay_texts(browser, pages):
    show(browser, pages["hostile"])
    assert browser.title == f"Report: {EVIL}"
    assert EVIL in browser.find_element(By.CSS_SELECTOR, ".verdict").text
    strange = "script, [onerror], [onmouseover], img:not([src^='data:image/'])"
    assert browser.find_elements(By.CSS_SELECTOR, strange) == []


@pytest.mark.long
def test_pictures_are_shown_and_described(browser, pages):
    show(browser, pages["plain"])
    images = browser.find_elements(By.TAG_NAME, "img")
    assert len(images) == 6
    for image in images:
        assert image.get_attribute("alt")
        assert int(image.get_property("naturalWidth")) == 64
    names = [svg.accessible_name for svg in browser.find_elements(By.CSS_SELECTOR, "svg.chart")]
    assert len(names) == 6
    assert all(names)


@pytest.mark.long
def test_day_and_night(browser, pages):
    script = (
        "return ['backgroundColor', 'color'].map(k => getComputedStyle(document.body)[k]"
        ".match(/[0-9]+/g).slice(0, 3).reduce((a, b) => a + +b, 0))"
    )
    for scheme in ("light", "dark"):
        show(browser, pages["plain"], scheme=scheme)
        paper, ink = browser.execute_script(script)
        assert (paper > ink + 400) if scheme == "light" else (ink > paper + 400)


@pytest.mark.long
def test_links_inside_lead_somewhere(browser, pages):
    show(browser, pages["plain"])
    links = browser.find_elements(By.CSS_SELECTOR, "nav a")
    assert len(links) == 7
    for link in links:
        target = link.get_attribute("href").partition("#")[2]
        assert browser.find_elements(By.ID, target)
