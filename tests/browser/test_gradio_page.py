"""gradio's page says what ours says: sentence, bars, rounding, what a refusal hides, the card."""

# ruff: noqa: F401, F811 (fixtures of another file)
from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_page
from bundles import rewrite
from corpus import drawn, saved
from selenium import webdriver
from selenium.webdriver.common.by import By
from serving import Serving
from test_page import Site, browser, choose, driver, photo, says, server, site
from waiting import until

from bear_classifier.serve.gradio_app import about_html, answer_html
from bear_classifier.serve.messages import whole_percent

pytestmark = pytest.mark.browser
WORDS = """
const words = (nodes) => {
  const found = [], meters = [];
  for (const node of nodes) {
    const walk = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    let text = "", last = null;
    while (walk.nextNode()) {
      const at = walk.currentNode, block = at.parentElement.closest("p, summary, span");
      if (!at.textContent.trim()) continue;
      if (block !== last) { found.push(text); text = ""; last = block; }
      text += at.textContent;
    }
    found.push(text);
    for (const one of node.querySelectorAll("[role=meter]")) {
      meters.push([one.ariaLabel, one.ariaValueText, Number(one.ariaValueNow)]);
    }
  }
  const plain = found.map((text) => text.replace(/\\s+/g, " ").trim()).filter(Boolean);
  return { words: plain, meters };
};
"""
OURS = "return words([document.getElementById('said'), document.getElementById('bars')]);"
THEIRS = "return words([new DOMParser().parseFromString(arguments[0], 'text/html').body]);"
LIVE = "return words([document.querySelector('.bears-answer')]);"


@pytest.mark.parametrize("word", ["grizzly", "refused", "close"])
def test_an_answer_is_in_the_same_words(
    browser: webdriver.Chrome, site: Site, choose: Any, word: str
) -> None:
    choose({f"{word}.png": photo(word)})
    answer = site.said(word, {}, b"")
    says(browser, answer["sentence"])
    ours = browser.execute_script(WORDS + OURS)
    html = re.sub(r' style="[^"]*"', "", answer_html(answer))  # which our page's rules forbid
    assert ours == browser.execute_script(WORDS + THEIRS, html)
    assert answer["sentence"] in ours["words"]
    assert len(ours["meters"]) == 3


def test_percent_is_rounded_alike(browser: webdriver.Chrome) -> None:
    edges = [0.004999, 0.005, 0.0149999, 0.015, 0.025, 0.125, 0.5, 0.565, 0.9949999, 0.995, 0.9999]
    values = [0, 1, 1e-9, 1 - 1e-12, *edges, *(n / 997 for n in range(997))]
    code = """const [values, done] = arguments;
        import("./page_parts.js").then(({ percent }) => done(values.map(percent)));"""
    assert browser.execute_async_script(code, values) == [whole_percent(value) for value in values]
    assert whole_percent(math.nextafter(1, 0)) == "over 99 %"


def test_what_an_author_wrote_is_text() -> None:
    odd = {"<b>bold</b>": 0.7, "\"'&": 0.3}
    said = {
        "sentence": "<script>1</script>",
        "probabilities": odd,
        "accepted": True,
        "reason": "ok",
    }
    html = answer_html(said)
    assert "<b>" not in html and "<script" not in html and "&lt;b&gt;bold" in html
    about = {"figures": "<i>x</i>", "limits": "<u>y</u>", "card": 'a"b'}
    assert "<i>" not in about_html(about) and 'a"b' not in about_html(about)


@pytest.fixture(scope="module")
def running(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A service whose model has a picture to try; which ones it gets right is left to chance."""
    folder = tmp_path_factory.mktemp("gradio")
    model = Path(shutil.copytree(model_dir, folder / "tiny"))
    (model / "example-00.jpeg").write_bytes(saved(drawn(200, 150, seed=8), "JPEG"))
    rewrite(model, examples=["teddy"])
    with Serving(model, folder) as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("how", ["file", "example"])
def test_both_pages_of_a_service_say_the_same(
    driver: webdriver.Chrome, running: Serving, tmp_path: Path, how: str
) -> None:
    """A photo that is chosen, and the drawn one that both offer."""
    path = tmp_path / "a.png"
    path.write_bytes(saved(drawn(320, 200, seed=4), "PNG"))
    base = f"http://127.0.0.1:{running.port}"
    driver.get(f"{base}/")
    until(lambda: driver.find_element(By.ID, "card").get_attribute("href"), "the page is not up")
    if how == "file":
        driver.find_element(By.ID, "files").send_keys(str(path))
    else:
        driver.find_element(By.CSS_SELECTOR, "#examples button").click()
    state = lambda: driver.find_element(By.ID, "one").get_attribute("data-state")  # noqa: E731
    until(lambda: state() == "answered", "no answer")
    ours = driver.execute_script(WORDS + OURS)
    card = driver.find_element(By.ID, "card").get_attribute("href")
    figures = test_page.text(driver, "#figures")

    driver.get(f"{base}/gradio/")
    until(lambda: driver.find_elements(By.CSS_SELECTOR, "input[type=file]"), "no form")
    if how == "file":
        driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))
    else:
        find = "//button[contains(., 'Try a drawn picture: teddy')]"
        until(lambda: driver.find_elements(By.XPATH, find), "no button")[0].click()
    until(lambda: driver.find_elements(By.CSS_SELECTOR, ".bears-answer .said"), "no answer")
    assert driver.execute_script(WORDS + LIVE) == ours
    link = driver.find_element(By.CSS_SELECTOR, ".bears-about a")
    assert link.get_attribute("href") == card
    assert figures in test_page.text(driver, ".bears-about")
