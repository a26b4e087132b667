"""The cleaning page as a person uses it: headless Chromium, the keyboard, and the catalog after."""

import dataclasses
import re
import shutil
import socket
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from test_review import CONFIG, EVIL, LABELS, SIDES, dataset, elsewhere, ranking

from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.review.app import make_app

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.browser


class Site:
    """The page of one dataset in a thread; it can be lost and come back under its address."""

    def __init__(self, root, evil="", config=CONFIG):
        self.root, self.evil, self.config = root, evil, config
        self.order = self.fill(root)
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.server = None
        self.start()

    def fill(self, root):
        return dataset(root, 40)

    def app(self):
        return make_app(self.root, self.config, ranking(self.order, self.evil))

    def start(self):
        self.server = uvicorn.Server(
            uvicorn.Config(
                self.app(), port=self.port, log_level="error", timeout_graceful_shutdown=1
            )
        )
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        WebDriverWait(self, 60, poll_frequency=0.05).until(lambda site: site.server.started)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(60)

    def states(self):
        with Catalog(self.root) as catalog:
            found = {photo.sha256: photo for photo in catalog.photos()}
        return [(found[sha].label, found[sha].status) for sha in self.order]

    def decided(self):
        with Catalog(self.root) as catalog:
            return {sha: event.action for sha, event in decisions.decided(catalog).items()}

    def events(self):
        with Catalog(self.root) as catalog:
            return decisions.history(catalog)


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "data")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--window-size=1280,900",
                 f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def until(browser, condition, why):
    return WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda b: condition(), why)


def visit(browser, url):
    browser.get("about:blank")  # an address that differs in its hash only would not be loaded
    browser.get(url)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "[data-ready], .thumb, .end"),
          "the page did not come up")  # fmt: skip


def press(browser, *keys):
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def text(browser, selector):
    found = browser.find_elements(By.CSS_SELECTOR, selector)
    return found[0].text if found else ""


def shown(browser):
    """The photo that is shown."""
    found = browser.find_elements(By.CSS_SELECTOR, ".one")
    return found[0].get_attribute("data-sha") if found else ""


def ready(browser, sha256):
    there = f".one[data-sha='{sha256}'][data-ready]"
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, there), "no such photo")


def looked_at(browser, number):
    until(browser, lambda: text(browser, "#progress").startswith(f"{number} of "),
          f"not {number} stored")  # fmt: skip


def waiting(browser):
    script = "return Object.keys(localStorage).filter(key => key.startsWith('bears-review:'))"
    return browser.execute_script(script)


PRESSED = (["k", "d", "1", "2", "3", "k"] * 5)[:30]


def outcome(n):
    """What photo n is after its key of PRESSED."""
    key, label = PRESSED[n], LABELS[n % 3]
    if key == "d":
        return label, "dropped"
    return (label if key == "k" else LABELS[int(key) - 1]), "ok"


def needs_second(n):
    return SIDES[n % 4] == "test" and outcome(n) != (LABELS[n % 3], "ok")


@pytest.mark.long
def test_thirty_photos_three_undone_a_reload_and_a_second_window(browser, site):
    visit(browser, site.url)
    assert browser.title == "Review: tiny"
    for n, key in enumerate(PRESSED):
        assert shown(browser) == site.order[n]  # it has moved on at once
        press(browser, key, *([key] if needs_second(n) else []))
    looked_at(browser, 30)
    before = [(label, "ok") for label in (LABELS * 14)[:40]]
    assert site.states() == [outcome(n) for n in range(30)] + before[30:]

    for n in (29, 28, 27):
        press(browser, "u")
        looked_at(browser, n)
        assert text(browser, "#toast").startswith("Undone: ")
        assert shown(browser) == site.order[n]
    expected = [outcome(n) for n in range(27)] + before[27:]
    assert site.states() == expected
    assert set(site.decided()) == set(site.order[:27])

    browser.refresh()
    ready(browser, site.order[27])
    looked_at(browser, 27)
    assert text(browser, ".badges").startswith("28 of 40")

    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    visit(browser, site.url)
    ready(browser, site.order[27])
    second = browser.current_window_handle
    browser.switch_to.window(first)
    press(browser, "2")
    looked_at(browser, 28)
    browser.switch_to.window(second)
    press(browser, "d")
    until(browser, lambda: "Another window changed this photo" in text(browser, "#outbox"),
          "no conflict")  # fmt: skip
    assert "Not stored yet (1)" in text(browser, "#outbox")
    expected[27] = ("grizzly", "ok")
    assert site.states() == expected
    browser.refresh()
    until(browser, lambda: "Another window" in text(browser, "#outbox"), "lost by a reload")
    assert site.states() == expected
    press(browser, "o")
    until(browser, lambda: not waiting(browser), "not stored after o")
    expected[27] = ("grizzly", "dropped")
    assert site.states() == expected
    assert text(browser, "#outbox") == ""
    browser.close()
    browser.switch_to.window(first)


@pytest.mark.long
def test_reload_instead_of_overwriting(browser, site):
    visit(browser, site.url)
    ready(browser, site.order[0])
    with Catalog(site.root) as catalog, catalog.transaction():
        decisions.drop(catalog, catalog.photo(site.order[0]), "import", "moved away")
    press(browser, "k")
    until(browser, lambda: "dropped this photo" in text(browser, "#outbox"), "no conflict")
    browser.find_element(By.XPATH, "//button[.='Reload what is stored']").click()
    ready(browser, site.order[0])
    assert "Dropped" in text(browser, ".badges")
    assert (waiting(browser), text(browser, "#outbox")) == ([], "")
    press(browser, "k")
    until(browser, lambda: "restore it first" in text(browser, "#toast"), "no word")
    press(browser, "r")
    looked_at(browser, 1)
    assert site.states()[0] == ("black", "ok")


@pytest.mark.long
def test_a_lost_server_loses_nothing(browser, site):
    visit(browser, site.url)
    ready(browser, site.order[0])
    site.stop()
    press(browser, "d", "3")
    until(browser, lambda: "Not stored yet (1)" in text(browser, "#outbox"), "not said")
    assert "The server does not answer" in text(browser, "#outbox")
    assert len(waiting(browser)) == 2
    assert site.events() == []
    site.start()
    browser.refresh()  # what is kept is sent by the page that comes next
    looked_at(browser, 2)
    assert site.states()[:3] == [("black", "dropped"), ("teddy", "ok"), ("teddy", "ok")]
    assert (waiting(browser), text(browser, "#outbox")) == ([], "")

    ready(browser, site.order[2])
    site.stop()
    press(browser, "k")
    until(browser, lambda: "Not stored yet (1)" in text(browser, "#outbox"), "not said")
    site.start()
    browser.find_element(By.XPATH, "//button[.='Try again']").click()
    looked_at(browser, 3)
    assert [event.action for event in site.events()] == ["drop", "relabel", "keep"]


@pytest.mark.long
def test_the_grid(browser, site):
    visit(browser, site.url)
    press(browser, "g")
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, ".thumb")) == 24, "no grid")
    press(browser, Keys.ARROW_RIGHT, " ", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, " ")  # 1 and 3
    chosen = browser.find_elements(By.CSS_SELECTOR, ".thumb[aria-pressed=true]")
    assert [one.get_attribute("data-sha") for one in chosen] == [site.order[1], site.order[3]]
    press(browser, "3")
    looked_at(browser, 2)
    assert [site.states()[n] for n in (1, 3)] == [("teddy", "ok")] * 2
    browser.find_elements(By.CSS_SELECTOR, ".thumb")[2].click()  # on the test split
    press(browser, "d")
    assert "on the test split" in text(browser, "#confirm")
    press(browser, "d")
    looked_at(browser, 3)
    assert site.states()[2][1] == "dropped"

    press(browser, "k")  # the 21 that are open on this page
    looked_at(browser, 24)
    assert set(site.decided()) == set(site.order[:24])
    until(browser, lambda: text(browser, "#range").startswith("25 to 40"), "no next page")
    assert "Undo keep of 21 photos" in text(browser, "#undo").replace("\n", " ")
    press(browser, "u")
    looked_at(browser, 3)
    assert {n for n, sha in enumerate(site.order) if sha in site.decided()} == {1, 2, 3}

    press(browser, "p", "d")
    assert "Select photos first" in text(browser, "#toast")
    press(browser, "a", "d", Keys.ESCAPE)
    assert len(site.decided()) == 3


def test_the_test_side_needs_a_second_press(browser, site):
    visit(browser, f"{site.url}#side=test")
    assert "Test split: changes what the model is judged by" in text(browser, ".badges")
    press(browser, "d", Keys.ESCAPE, "d", "n", "p", "d", "1")  # another key is no confirmation
    assert shown(browser) == site.order[2]
    assert (waiting(browser), site.events()) == ([], [])
    press(browser, "1")
    looked_at(browser, 1)
    press(browser, "k")  # changes nothing, so once is enough
    looked_at(browser, 2)
    assert [event.action for event in site.events()] == ["relabel", "keep"]


@pytest.mark.long
def test_a_photo_that_came_to_the_test_side_meanwhile_is_not_changed(browser, site):
    visit(browser, site.url)
    ready(browser, site.order[0])
    elsewhere(site.root, site.order[0], split="test")
    press(browser, "d")  # once: the page does not know
    until(browser, lambda: "of the test split" in text(browser, "#outbox"), "not said")
    assert site.events() == []
    browser.find_element(By.XPATH, "//button[.='Discard']").click()
    visit(browser, site.url)
    ready(browser, site.order[0])
    press(browser, "d", "d")
    looked_at(browser, 1)
    assert site.states()[0] == ("black", "dropped")


def test_a_key_held_down_decides_once(browser, site):
    visit(browser, site.url)
    browser.execute_script(
        "for (let n = 0; n < 9; n += 1) document.body.dispatchEvent(new KeyboardEvent("
        "'keydown', {key: 'k', repeat: n > 0, bubbles: true}))"
    )
    looked_at(browser, 1)
    assert shown(browser) == site.order[1]
    assert len(site.events()) == 1


@pytest.mark.long
def test_filters_and_place_survive_a_reload(browser, site):
    visit(browser, site.url)
    press(browser, "f")
    Select(browser.find_element(By.ID, "f-label")).select_by_value("grizzly")
    ready(browser, site.order[1])
    press(browser, Keys.ESCAPE, "n", Keys.ARROW_RIGHT)
    ready(browser, site.order[7])
    browser.refresh()
    ready(browser, site.order[7])
    assert text(browser, ".badges").startswith("3 of 13")
    press(browser, "p")
    ready(browser, site.order[4])
    press(browser, Keys.ARROW_LEFT)
    ready(browser, site.order[1])


class Strange(Site):
    """Photos from addresses that are code."""

    def fill(self, root):
        order = super().fill(root)
        with Catalog(root) as catalog, catalog.transaction():
            catalog.put_photos(
                dataclasses.replace(photo, origin=f"{EVIL}{photo.origin}")
                for photo in list(catalog.photos())
            )
        return order


def test_texts_of_strangers_stay_texts(browser, tmp_path):
    site = Strange(tmp_path / "data", EVIL)
    try:
        visit(browser, site.url)
        assert EVIL in text(browser, ".origin")
        assert text(browser, ".reasons") == EVIL
        press(browser, "g")
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".thumb"), "no grid")
        assert browser.title == "Review: tiny"
        assert browser.find_elements(By.CSS_SELECTOR, "main script, main img[onerror]") == []
    finally:
        site.stop()


@pytest.mark.long
def test_a_damaged_photo_is_a_sentence(browser, site):
    next(site.root.glob(f"photos/*/{site.order[0]}.png")).write_bytes(b"<html>")
    visit(browser, site.url)
    until(browser, lambda: "This photo cannot be shown" in text(browser, ".unseen"), "no sentence")


@pytest.mark.long
def test_on_a_phone_and_for_ears(browser, site):
    """No sideways scrolling; buttons have names, pictures have texts, and all is from here."""
    browser.get_log("performance")
    browser.get_log("browser")
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        visit(browser, f"{site.url}#side=train")
        press(browser, "d")
        looked_at(browser, 1)
        with Catalog(site.root) as catalog, catalog.transaction():
            decisions.relabel(catalog, catalog.photo(site.order[3]), "black", "import", "moved")
        press(browser, "k")  # a conflict, so that everything that can be seen is there
        until(browser, lambda: "A run (import)" in text(browser, "#outbox"), "no conflict")
        press(browser, "f", Keys.ESCAPE)
        image = browser.find_element(By.CSS_SELECTOR, ".one > figure > img")
        assert image.get_attribute("alt") == "photo labelled grizzly, suspect 3 of 20"
        for view in ("one", "grid"):
            assert browser.find_element(By.ID, "filters").is_displayed()
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 390, view
            names = [b.accessible_name for b in browser.find_elements(By.TAG_NAME, "button")
                     if b.is_displayed()]  # fmt: skip
            assert all(names)
            pictures = browser.find_elements(By.CSS_SELECTOR, "main img")
            assert all(picture.get_attribute("alt") for picture in pictures)
            browser.find_element(By.ID, "view").click()
        assert browser.find_element(By.ID, "toast").get_attribute("aria-live") == "polite"
        press(browser, "?")
        assert browser.find_element(By.ID, "help").is_displayed()
        press(browser, Keys.ESCAPE)
        assert not browser.find_element(By.ID, "help").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    log = "\n".join(entry["message"] for entry in browser.get_log("performance"))
    asked = set(re.findall(r'"Network\.requestWillBeSent".*?"url":"(https?://[^"/]+)', log))
    assert asked == {site.url.rstrip("/")}
    wrong = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in wrong if "409 (Conflict)" not in message] == []


def test_times_are_those_of_the_clocks_here_and_no_number_breaks(browser, site):
    """The catalog holds UTC, which is 5:30 earlier there; "100 %" stands in one line."""
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    try:
        visit(browser, site.url)
        said = browser.execute_async_script(
            "import('./dom.js').then((dom) => arguments[0](dom.when('2026-03-01T20:05:06+00:00')))"
        )
        assert said == "2026-03-02 01:35"
        heights = browser.execute_script(
            "const last = [...document.querySelectorAll('.prob span:last-child')];"
            "last.forEach((span) => { span.textContent = '100 %'; });"
            "return last.map((span) => span.getClientRects()[0].height)"
        )
        lines = browser.execute_script(
            "return getComputedStyle(document.querySelector('.prob span:last-child')).whiteSpace"
        )
        assert len(set(heights)) == 1
        assert lines == "nowrap"
    finally:
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
