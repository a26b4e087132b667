"""Gallery, labelling and new classes as a person uses them: headless Chromium, mouse, keyboard."""

import dataclasses

import numpy as np
import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from test_review import CONFIG, LABELS
from test_review_page import (  # noqa: F401  the browser is a fixture
    Site,
    browser,
    press,
    text,
    until,
)

from bear_classifier.config.project_file import class_names, create
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.judge import label as label_module
from bear_classifier.judge.label import Pool
from bear_classifier.review.app import make_app
from bear_classifier.runtime.shards import StoredRows

pytestmark = pytest.mark.browser


def not_probed(*_):
    raise DataError("NOT_PROBED", "there is no first model of these photos; run: bears probe")


class Unranked(Site):
    """A page before there is a first model: 28 photos with a label, 12 without."""

    def app(self):
        with Catalog(self.root) as catalog, catalog.transaction():
            photos = {photo.sha256: photo for photo in catalog.photos()}
            catalog.put_photos(
                dataclasses.replace(photos[sha], label="", status="unlabelled", split=None)
                for sha in self.order[28:]
                if not catalog.events("WHERE sha256 = ?", (sha,))
            )
        self.file = self.root.parent / "tiny.toml"
        if not self.file.exists():
            create("tiny", {label: [label] for label in LABELS}, self.root.parent, "test")
        return make_app(self.root, CONFIG, not_probed, file=self.file, who="ann")

    def photos(self):
        with Catalog(self.root) as catalog:
            return {photo.sha256: photo for photo in catalog.photos()}

    def who(self):
        return [event.who for event in self.events()]


@pytest.fixture
def site(tmp_path, monkeypatch):
    made = Unranked(tmp_path / "data")
    dice = np.random.default_rng(0)
    classes = np.arange(40) % 3
    features = (20 * np.eye(8)[classes] + dice.normal(size=(40, 8))).astype(np.float32)
    pool = Pool(StoredRows.in_memory(made.order, features=features))
    monkeypatch.setattr(label_module, "load_pool", lambda *_: pool)
    yield made
    made.stop()


def visit(browser, site, view=""):  # noqa: F811
    browser.get("about:blank")
    browser.get(f"{site.url}{f'#view={view}' if view else ''}")
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".thumb, .end"), "no page")


def thumbs(browser):  # noqa: F811
    return browser.find_elements(By.CSS_SELECTOR, ".thumb")


def click(browser, selector):  # noqa: F811
    """A click of the mouse on the first of these; what is drawn anew meanwhile is found again."""

    def done():
        try:
            browser.find_element(By.CSS_SELECTOR, selector).click()
        except (NoSuchElementException, StaleElementReferenceException):
            return False
        return True

    until(browser, done, f"nothing to click: {selector}")


def stored(browser, site, n):  # noqa: F811
    until(browser, lambda: len(site.events()) == n, f"not {n} events")


def test_before_a_first_model_the_gallery_is_the_first_view(site, browser):  # noqa: F811
    visit(browser, site)
    until(browser, lambda: len(thumbs(browser)) == 40, "no photos")
    assert text(browser, "main h2") == "All photos"
    assert "1 to 40 of 40" in text(browser, "#range")
    assert "No first model yet" in text(browser, "#progress")
    shown = [b.text for b in browser.find_elements(By.CSS_SELECTOR, "#views button")]
    assert [word.split("\n")[-1] for word in shown] == ["All photos", "Label"]
    press(browser, "g")
    until(browser, lambda: "Nothing is ranked yet" in text(browser, "main"), "no reason")


def test_choose_enlarge_and_decide_with_the_mouse(site, browser):  # noqa: F811
    visit(browser, site, "gallery")
    Select(browser.find_element(By.CSS_SELECTOR, "[data-name=label]")).select_by_value("teddy")
    until(browser, lambda: len(thumbs(browser)) == 9, "not filtered")
    sha = thumbs(browser)[0].get_attribute("data-sha")
    click(browser, f".thumb[data-sha='{sha}']")
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, f".large[data-sha='{sha}'] img"),
          "not enlarged")  # fmt: skip
    if site.photos()[sha].split == "test":
        press(browser, "d")
    click(browser, "#actions [data-key=d]")
    stored(browser, site, 1)
    assert site.photos()[sha].status == "dropped"
    until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, f"[data-sha='{sha}']"),
          "the next photo did not come")  # fmt: skip
    click(browser, "#undo")
    stored(browser, site, 2)
    assert site.photos()[sha].status == "ok"
    click(browser, ".facts button")
    until(browser, lambda: len(thumbs(browser)) == 9, "not back")


def test_the_keyboard_selects_and_relabels_several(site, browser):  # noqa: F811
    visit(browser, site, "gallery")
    Select(browser.find_element(By.CSS_SELECTOR, "[data-name=label]")).select_by_value("black")
    until(browser, lambda: len(thumbs(browser)) == 10, "not filtered")
    thumbs(browser)[0].send_keys(Keys.SPACE)
    press(browser, Keys.ARROW_RIGHT)
    press(browser, Keys.SPACE)
    until(browser, lambda: "2 selected" in text(browser, "#range"), "not two")
    chosen = [t.get_attribute("data-sha") for t in thumbs(browser)[:2]]
    number = str(LABELS.index("teddy") + 1)
    press(browser, number)
    if any(site.photos()[sha].split == "test" for sha in chosen):
        press(browser, number)
    stored(browser, site, 2)
    assert [site.photos()[sha].label for sha in chosen] == ["teddy", "teddy"]
    press(browser, Keys.ENTER)
    until(browser, lambda: browser.find_elements(By.CLASS_NAME, "large"), "not enlarged")
    press(browser, Keys.ARROW_RIGHT, Keys.ESCAPE)
    until(browser, lambda: not browser.find_elements(By.CLASS_NAME, "large"), "not back")


def test_label_by_class_that_is_proposed(site, browser):  # noqa: F811
    """Some by their keys, the rest as proposed; then nothing is left, and undo brings them back."""
    visit(browser, site, "label")
    until(browser, lambda: len(thumbs(browser)) == 12, "no batch")
    heads = [h.text for h in browser.find_elements(By.CSS_SELECTOR, ".sheet h3")]
    assert heads == [f"{label}? 4 photos" for label in LABELS]
    wrong = thumbs(browser)[0].get_attribute("data-sha")
    thumbs(browser)[0].click()
    press(browser, str(LABELS.index("teddy") + 1))
    stored(browser, site, 1)
    assert (site.photos()[wrong].label, site.photos()[wrong].status) == ("teddy", "ok")
    thumbs(browser)[1].click()
    press(browser, "d")
    stored(browser, site, 2)
    press(browser, "k")
    stored(browser, site, 12)
    until(browser, lambda: "Nothing is left to label" in text(browser, "main"), "not all")
    expected = {sha: LABELS[n % 3] for n, sha in enumerate(site.order) if n >= 28}
    found = {sha: photo.label for sha, photo in site.photos().items() if sha in expected}
    differ = [sha for sha in expected if found[sha] != expected[sha]]
    assert len(differ) == 2 and wrong in differ
    press(browser, "u")
    stored(browser, site, 22)
    until(browser, lambda: len(thumbs(browser)) == 10, "they did not come back")


def test_without_a_proposal_nothing_is_confirmed(site, browser, monkeypatch):  # noqa: F811
    monkeypatch.setattr(label_module, "_chances", lambda x, photos, seen: np.ones((len(x), 1)))
    with Catalog(site.root) as catalog, catalog.transaction():
        rows = [p for p in catalog.photos() if p.label in LABELS[1:]]
        catalog.put_photos(dataclasses.replace(p, status="dropped", reason="x") for p in rows)
    visit(browser, site, "label")
    until(browser, lambda: "No class is proposed yet" in text(browser, "main"), "no batch")
    thumbs(browser)[0].click()
    press(browser, "k")
    until(browser, lambda: "No class is proposed yet" in text(browser, "#toast"), "no word")
    assert site.events() == []


def test_a_new_class_by_its_name_and_back(site, browser):  # noqa: F811
    before = site.file.read_bytes()
    visit(browser, site, "label")
    until(browser, lambda: len(thumbs(browser)) == 12, "no batch")
    sha = thumbs(browser)[0].get_attribute("data-sha")
    thumbs(browser)[0].click()
    press(browser, "0")
    browser.find_element(By.ID, "class-name").send_keys("polar bear", Keys.ENTER)
    assert class_names(site.file.read_text(encoding="utf-8")) == LABELS  # not by a slip
    click(browser, "#class-list .new")
    stored(browser, site, 1)
    assert site.photos()[sha].label == "polar bear"
    assert class_names(site.file.read_text(encoding="utf-8")) == [*LABELS, "polar bear"]
    until(browser, lambda: "polar bear" in text(browser, "#actions"), "no button")
    press(browser, "u")
    stored(browser, site, 2)
    until(browser, lambda: "new class polar bear" in text(browser, "#undo"), "not next")
    press(browser, "u")
    until(browser, lambda: "polar bear" not in text(browser, "#actions"), "still there")
    assert site.file.read_bytes() == before


def test_who_decides_is_asked_once_and_kept(site, browser):  # noqa: F811
    visit(browser, site, "gallery")
    field = browser.find_element(By.ID, "who-name")
    assert field.get_attribute("value") == "ann"
    field.clear()
    field.send_keys("Bo", Keys.ENTER)
    until(browser, lambda: not browser.find_element(By.ID, "who").is_displayed(), "still asked")
    thumbs(browser)[0].send_keys(Keys.SPACE)
    press(browser, "k")
    until(browser, lambda: "Bo" in site.who() or text(browser, "#toast"), "not stored")
    visit(browser, site, "gallery")
    assert not browser.find_element(By.ID, "who").is_displayed()
    press(browser, "?")
    assert "by Bo" in text(browser, "#who-is")
    click(browser, "#who-is button")
    field = browser.find_element(By.ID, "who-name")
    field.send_keys("Bob", Keys.ENTER)
    press(browser, "?")
    until(browser, lambda: "by Bob" in text(browser, "#who-is"), "not changed")
    press(browser, Keys.ESCAPE)
    Select(browser.find_element(By.CSS_SELECTOR, "[data-name=use]")).select_by_value("in use")
    until(browser, lambda: len(thumbs(browser)) == 28, "not filtered")
    thumbs(browser)[-1].send_keys(Keys.SPACE)
    press(browser, "k")
    until(browser, lambda: site.who()[-1:] == ["Bob"], "not by Bob")
    assert decisions.LONGEST_NAME == 100
