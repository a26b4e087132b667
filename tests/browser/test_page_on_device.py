"""The page of `bears serve` with the model in the visitor's browser: where photos are looked at is
said and chosen, none is sent that was to stay on the device, and no HEIC reaches the server.

The libraries for it (`bears assets`) are no part of the checkout: without them these tests skip.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from corpus import drawn, saved
from selenium import webdriver
from selenium.webdriver.common.by import By
from serving import Serving
from test_static_page import driver as driver
from test_static_page import give, text, write
from waiting import until

from bear_classifier.ship import bundle
from bear_classifier.ship.predict import Model

pytestmark = [pytest.mark.browser, pytest.mark.assets]
SERVER, HERE = "Photos are sent to this server.", "Photos stay on this device."
CLASSIFY = "/api/v1/classify"


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(model_dir, tmp_path_factory.mktemp("serving")) as running:
        until(lambda: running.ask("GET", "/api/v1/models/tiny/device").status == 200)
        yield running


@pytest.fixture
def browser(driver: webdriver.Chrome, server: Serving) -> Iterator[webdriver.Chrome]:
    """On the page, as at the first visit. Afterwards: no rule of the page was broken."""
    driver.get(f"http://localhost:{server.port}/livez")
    driver.execute_script("localStorage.clear()")
    driver.get_log("browser")
    visit(driver, server)
    yield driver
    lines = [entry["message"] for entry in driver.get_log("browser")]
    assert [line for line in lines if "Content Security" in line or "Uncaught" in line] == []


def visit(driver: webdriver.Chrome, server: Serving) -> None:
    driver.get(f"http://localhost:{server.port}/")
    until(lambda: text(driver, "place-now"), "it does not say who looks at photos")


def switch(browser: webdriver.Chrome) -> None:
    browser.find_element(By.ID, "place-other").click()


def asked(server: Serving) -> Counter[str]:
    """Requests by their route, of those that were answered."""
    lines = [line for line in server.log().splitlines() if '"event": "request"' in line]
    return Counter(line.partition('"route": "')[2].partition('"')[0] for line in lines)


def test_photos_may_stay_on_this_device(
    browser: webdriver.Chrome, server: Serving, model_dir: Path, tmp_path: Path
) -> None:
    """The choice is said, holds for the next visit, and can be taken back."""
    assert text(browser, "place-now") == SERVER
    assert browser.execute_script("return crossOriginIsolated"), "several threads are not possible"
    assert not browser.find_element(By.ID, "live-tools").is_displayed()
    before = asked(server)[CLASSIFY]
    switch(browser)
    until(lambda: text(browser, "place-now") == HERE, "it does not answer here")
    pictures = {f"{n}.png": saved(drawn(200 + n, 160, seed=n), "PNG") for n in range(3)}
    files, model = write(tmp_path / "photos", pictures), Model(bundle.load(model_dir))
    for path, item in zip(files, give(browser, *files), strict=True):
        wanted = model.predict(path)
        assert item["answer"]["label"] == wanted.label
        assert item["answer"]["probabilities"] == pytest.approx(wanted.probabilities, abs=0.01)
    visit(browser, server)
    assert text(browser, "place-now") == HERE
    give(browser, files[0])
    assert asked(server)[CLASSIFY] == before
    switch(browser)
    until(lambda: text(browser, "place-now") == SERVER)
    visit(browser, server)
    assert text(browser, "place-now") == SERVER
    (item,) = give(browser, files[0])
    assert item["state"] == "answered"
    until(lambda: asked(server)[CLASSIFY] == before + 1, "nothing was sent")


@pytest.mark.long
def test_the_camera_is_answered_live_here(browser: webdriver.Chrome) -> None:
    switch(browser)
    until(lambda: text(browser, "place-now") == HERE)
    browser.find_element(By.ID, "camera").click()
    until(lambda: text(browser, "live-said") not in ("", "Looking"), "the camera got no answer")
    assert browser.find_element(By.ID, "freeze").is_displayed()
    browser.find_element(By.ID, "camera-close").click()


HELD = """
const real = window.fetch;
window.fetch = (path, ...rest) => (String(path).endsWith("/device")
  ? new Promise((done) => { window.end = () => done(new Response("{}", { status: 404 })); })
  : real(path, ...rest));"""
STATES = """
const done = arguments[0];
import("./page_ask.js").then(({ S }) => done(S.items.map((item) => item.state)));"""


def test_a_model_that_does_not_come_sends_no_photo_by_itself(
    browser: webdriver.Chrome, server: Serving, tmp_path: Path
) -> None:
    """It says so, and sends the photos when a person asks again."""
    browser.execute_script(HELD)
    before = asked(server)[CLASSIFY]
    switch(browser)
    until(lambda: text(browser, "place-now") == HERE)
    pictures = {f"{n}.png": saved(drawn(99, 80, seed=n), "PNG") for n in range(4)}
    paths = "\n".join(map(str, write(tmp_path / "photos", pictures)))
    browser.find_element(By.ID, "files").send_keys(paths)
    until(lambda: "asking" in browser.execute_async_script(STATES), "it does not begin")
    browser.execute_script("window.end()")
    until(lambda: SERVER in text(browser, "place-now"), "it does not say that it fell back")
    assert text(browser, "place-now").startswith("The model cannot run in this browser: ")
    assert browser.execute_async_script(STATES) == ["failed"] * 4
    assert asked(server)[CLASSIFY] == before
    browser.find_element(By.ID, "retry").click()
    until(lambda: browser.execute_async_script(STATES) == ["answered"] * 4, "nothing was sent")
    until(lambda: asked(server)[CLASSIFY] == before + 4)


@pytest.mark.long
def test_a_changed_model_is_not_run(
    browser: webdriver.Chrome, server: Serving, tmp_path: Path
) -> None:
    name = server.ask("GET", "/api/v1/models/tiny/device").json()["model"]["name"]
    (file,) = Path(os.environ["BEARS_CACHE"]).glob(f"device/*/{Path(name).name}")
    kept = shutil.copy(file, file.with_suffix(".kept"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    try:
        switch(browser)
        until(lambda: "is not the file that was published" in text(browser, "place-now"))
    finally:
        Path(kept).rename(file)


def test_a_heic_is_sent_as_an_upright_jpeg(
    browser: webdriver.Chrome, server: Serving, model_dir: Path, tmp_path: Path
) -> None:
    """The API refuses HEIC of strangers, so what is answered was a JPEG. The photo is shown."""
    heif = pytest.importorskip("pillow_heif", reason="HEIC: pip install bear-classifier[heic]")
    file = BytesIO()
    heif.from_pillow(drawn(320, 240, seed=5)).save(file, quality=95)
    (path,) = write(tmp_path / "photos", {"phone.heic": file.getvalue()})
    assert server.ask("POST", CLASSIFY, path.read_bytes()).status == 415
    (item,) = give(browser, path)
    assert item["state"] == "answered", item
    wanted = Model(bundle.load(model_dir)).predict(path).probabilities
    assert item["answer"]["probabilities"] == pytest.approx(wanted, abs=0.05)
    until(browser.find_element(By.ID, "photo").is_displayed, "it is not shown")
    assert asked(server)["/ort/{name}"] == 0 or asked(server)["/heif/{name}"] > 0


@pytest.mark.long
def test_a_damaged_heic_is_not_sent(
    browser: webdriver.Chrome, server: Serving, tmp_path: Path
) -> None:
    before = asked(server)[CLASSIFY]
    broken = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08mdat" + b"\7" * 400
    (item,) = give(browser, *write(tmp_path / "photos", {"broken.heic": broken}))
    assert (item["state"], item["trouble"]["code"]) == ("failed", "DAMAGED")
    assert asked(server)[CLASSIFY] == before
