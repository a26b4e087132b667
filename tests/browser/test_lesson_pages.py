"""What moves on the pages of the lesson, in headless Chromium, from files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from waiting import until

from bear_classifier.lesson import animation, contents, page
from bear_classifier.lesson.basics import loss_surface, sgd

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.browser


def write_moving_pages(place: Path) -> None:
    """Pages whose GIFs have two pictures: they take the time."""

    def short(draw: Callable[[int], Figure], steps: Sequence[int], *more: int) -> bytes:
        return animation.gif(draw, steps[-2:], *more)

    with pytest.MonkeyPatch.context() as patch:
        for module in (sgd, loss_surface):
            patch.setattr(module, "gif", short)
        for name in ("sgd", "surface", "sliders"):
            page.save(contents.page(name), place, contents.TITLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lesson")
    write_moving_pages(place)
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=900,1400"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(browser: webdriver.Chrome, folder: Path, name: str) -> None:
    browser.get((folder / f"{name}.html").as_uri())
    assert browser.get_log("browser") == [], "no error, and nothing refused by the page's policy"


def number(browser: webdriver.Chrome, selector: str) -> float:
    text = browser.find_element(By.CSS_SELECTOR, selector).text
    return float(re.findall(r"-?\d+\.\d+", text)[-1])


def moved(browser: webdriver.Chrome, selector: str, value: float) -> None:
    browser.execute_script(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input'))", selector, value,
    )  # fmt: skip


def test_the_loss_of_the_sliders_is_the_mean_squared_error(
    browser: webdriver.Chrome, folder: Path
) -> None:
    opened(browser, folder, "sliders")
    X, y = sgd.points()
    for a in ((-1.0, 1.0), (2.5, 2.0), (3.0, -4.0)):
        for j, value in enumerate(a):
            moved(browser, f"#sliders label:nth-of-type({j + 1}) input", value)
        wanted = float(sgd.mse(X @ torch.tensor(a), y))
        assert number(browser, "#sliders .loss") == pytest.approx(wanted, abs=2e-3)


@pytest.mark.long
def test_descent_goes_on_from_where_one_is(browser: webdriver.Chrome, folder: Path) -> None:
    opened(browser, folder, "sliders")
    X, y = sgd.points()
    browser.find_element(By.CSS_SELECTOR, "#sliders .one").click()
    wanted = sgd.descend(X, y, steps=1).losses[1]
    assert number(browser, "#sliders .loss") == pytest.approx(float(wanted), abs=1e-3)
    assert "1 step of descent" in browser.find_element(By.CSS_SELECTOR, "#sliders .said").text
    browser.find_element(By.CSS_SELECTOR, "#sliders .all").click()
    said = browser.find_element(By.CSS_SELECTOR, "#sliders .said")
    until(lambda: "101 steps" in said.text)
    assert "within a hundredth of the best" in said.text
    browser.find_element(By.CSS_SELECTOR, "#sliders .again").click()
    assert number(browser, "#sliders .loss") == pytest.approx(8.90, abs=0.02)


@pytest.mark.long
def test_the_line_walks_by_key_and_by_button(browser: webdriver.Chrome, folder: Path) -> None:
    opened(browser, folder, "sgd")
    output = browser.find_element(By.CSS_SELECTOR, "#line output")
    assert output.text == "0, loss 8.903"
    browser.find_element(By.CSS_SELECTOR, "#line input").send_keys(Keys.ARROW_RIGHT)
    assert output.text.startswith("1, loss ")
    browser.find_element(By.CSS_SELECTOR, "#line button").click()
    until(lambda: int(output.text.split(",")[0]) > 5)


@pytest.mark.long
def test_the_bowl_turns(browser: webdriver.Chrome, folder: Path) -> None:
    opened(browser, folder, "surface")
    canvas = browser.find_element(By.CSS_SELECTOR, "#turn canvas")
    look = "return document.querySelector('#turn canvas').toDataURL()"
    before = browser.execute_script(look)
    canvas.send_keys(Keys.ARROW_RIGHT)
    after = browser.execute_script(look)
    assert before != after
    moved(browser, "#turn input", 0)
    text = browser.find_element(By.CSS_SELECTOR, "#turn output").text
    assert text.startswith("0: a = (-1.00, 1.00), loss 8.9")
