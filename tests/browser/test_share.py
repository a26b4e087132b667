"""An answer saved as a picture, and drawn pictures to try."""

# ruff: noqa: F401, F811 (fixtures of another file)
from __future__ import annotations

import base64
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_page
from corpus import drawn, saved
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_page import (
    Site,
    browser,
    choose,
    driver,
    photo,
    posted,
    says,
    seen,
    server,
    site,
    text,
)
from waiting import until

pytestmark = pytest.mark.browser
MAKE = """
const [answer, photo, model, done] = arguments, texts = [];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (words, x, y) {
  const wide = this.measureText(words).width, size = Number(/(\\d+)px/.exec(this.font)[1]);
  texts.push({ words, left: this.textAlign === "right" ? x - wide : x, wide, y, size });
  write.call(this, words, x, y);
};
const bytes = Uint8Array.from(atob(photo), (one) => one.charCodeAt(0));
import("./page_share.js").then(async ({ pictureOf }) => {
  const item = { answer, name: "holiday.png", file: new File([bytes], "holiday.png") };
  const blob = await pictureOf(item, model), reader = new FileReader();
  reader.onload = () => done({ texts, png: reader.result.split(",")[1] });
  reader.readAsDataURL(blob);
}).finally(() => { CanvasRenderingContext2D.prototype.fillText = write; });
"""
MODEL = {"name": "bears", "version": 3, "title": "Grizzly, black or teddy?"}


def made(
    browser: webdriver.Chrome,
    chances: dict[str, float],
    reason: str = "ok",
    sentence: str = "",
    picture: bytes = b"",
    model: dict[str, Any] = MODEL,
) -> tuple[list[dict[str, Any]], Image.Image]:
    """The texts that were drawn, and the picture."""
    label = max(chances, key=lambda name: chances[name])
    answer = {
        "label": label, "confidence": chances[label], "probabilities": chances,
        "reason": reason, "accepted": reason == "ok",
        "sentence": sentence or f"{label.capitalize()}, quite sure.",
    }  # fmt: skip
    data = base64.b64encode(picture or saved(drawn(320, 200, seed=3), "PNG")).decode()
    found = browser.execute_async_script(MAKE, answer, data, model)
    return found["texts"], Image.open(io.BytesIO(base64.b64decode(found["png"]))).convert("RGB")


def check(texts: list[dict[str, Any]], picture: Image.Image) -> list[str]:
    """Every text is within the picture, and none lies on another; what they say."""
    for one in texts:
        assert one["left"] >= 60 and one["left"] + one["wide"] <= picture.width - 60, one
        assert one["size"] <= one["y"] <= picture.height - 40, one
    for a, b in itertools.combinations(texts, 2):
        beside = a["left"] + a["wide"] <= b["left"] or b["left"] + b["wide"] <= a["left"]
        assert beside or abs(a["y"] - b["y"]) >= 0.9 * max(a["size"], b["size"]), (a, b)
    return [one["words"] for one in texts]


def test_it_says_what_the_page_says(browser: webdriver.Chrome) -> None:
    source = drawn(320, 200, seed=3)
    chances = {"black": 0.002, "grizzly": 0.972, "teddy": 0.026}
    texts, picture = made(browser, chances)
    assert check(texts, picture) == [
        "Grizzly, quite sure.", "Grizzly", "97 %", "Teddy", "3 %", "Black", "under 1 %",
        "bears, version 3 · Grizzly, black or teddy?",
    ]  # fmt: skip
    assert picture.width == 1080
    photo_there = np.asarray(picture.crop((64, 64, 1016, 64 + 595)).resize((32, 20)), dtype=float)
    assert np.abs(photo_there - np.asarray(source.resize((32, 20)), dtype=float)).mean() < 12


@pytest.mark.long
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("reason", ["ok", "too_close", "unlike_training"])
def test_long_names_and_many_classes_fit(
    browser: webdriver.Chrome, classes: int, reason: str
) -> None:
    names = [
        f"Northern Hairy-nosed Wombat of the {n} Valleys" * (1 + n % 2) for n in range(classes)
    ]
    names[0] = "W" * 90
    rest = 0.3 / (classes - 1)
    chances = dict.fromkeys(names, rest) | {names[0]: 0.7}
    sentence = {
        "ok": f"Probably {names[0]}.",
        "too_close": f"Between {names[0]} and {names[1]}: too close to call.",
        "unlike_training": f"This does not look like any of the {classes}: {', '.join(names)}.",
    }[reason]
    model = {"name": "n" * 200, "title": " or ".join(names)}
    words = check(*made(browser, chances, reason, sentence, model=model))
    shown = [word for word in words if word.endswith(" %")]
    assert len(shown) == (
        0 if reason == "unlike_training" else min(classes, 7 if classes > 8 else 8)
    )
    if classes > 8 and reason != "unlike_training":
        assert (
            f"{classes - 7} other classes: {round(100 * rest * (classes - 7))} % together" in words
        )


@pytest.mark.long
def test_a_photo_that_the_browser_cannot_show(browser: webdriver.Chrome) -> None:
    texts, picture = made(browser, {"a": 0.9, "b": 0.1}, picture=b"no picture at all")
    assert check(texts, picture)[0] == "holiday.png"


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_colours_are_those_of_the_page(browser: webdriver.Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    _, picture = made(browser, {"a": 0.9, "b": 0.1})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (np.asarray(picture)[5, 5].mean() > 200) == (scheme == "light")


def test_its_button_saves_it_and_sends_nothing(
    browser: webdriver.Chrome, site: Site, choose: Any, tmp_path: Path
) -> None:  # fmt: skip
    folder = tmp_path / "downloads"
    where = {"behavior": "allow", "downloadPath": str(folder)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    assert not seen(browser, "share")
    choose({"my bear.png": photo("teddy")})
    says(browser, "Teddy, quite sure.")
    browser.find_element(By.ID, "share").send_keys(Keys.ENTER)
    path = folder / "my bear answer.png"
    until(path.exists, "no file")
    until(lambda: path.stat().st_size, "empty file")
    assert Image.open(path).size[0] == 1080
    said = "return document.getElementById('shared').textContent"
    until(lambda: browser.execute_script(said) == "Saved as my bear answer.png.", "not said")
    assert len(site.asked) == 1  # the answer itself
    choose({"cut.png": b"\x89PNG#broken"})
    until(lambda: text(browser, "#trouble") == test_page.BROKEN, "no sentence")
    assert not seen(browser, "share")


def test_a_drawn_picture_can_be_tried(browser: webdriver.Chrome, site: Site) -> None:
    assert not seen(browser, "examples")
    data = photo("teddy")
    site.pictures = {"api/v1/models/bears/examples/0.jpeg": data}
    here = [{"label": "teddy", "image": name} for name in site.pictures]
    site.models = [{**test_page.BEARS, "examples": here}]
    test_page.visit(browser, site)
    button = browser.find_element(By.CSS_SELECTOR, "#examples button")
    image = button.find_element(By.TAG_NAME, "img")
    assert image.get_attribute("alt") == "Try a drawn picture: teddy"
    button.send_keys(Keys.ENTER)
    says(browser, "Teddy, quite sure.")
    assert posted(site) == [data]
    assert text(browser, "#name") == "drawn teddy.jpg"
    assert not seen(browser, "examples")  # there is a photo now
    site.pictures = {}
    test_page.visit(browser, site)
    browser.find_element(By.CSS_SELECTOR, "#examples button").click()
    until(lambda: text(browser, "#examples-note").startswith("The picture did not come."), "?")
