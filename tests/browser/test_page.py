"""The page as a person sees it: headless Chromium against a served bundle on loopback."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from bear_classifier.ship import golden
from bear_classifier.ship.bundle import load
from bear_classifier.ship.predict import Model

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen) -> None:
    for _ in range(240):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"{url} did not answer within a minute")


@pytest.fixture(scope="module", params=["bears serve", "app.py"])
def url(request, model_dir):
    port = free_port()
    env = os.environ | {"BEARS_MODEL": str(model_dir), "GRADIO_SERVER_PORT": str(port),
                        "GRADIO_SERVER_NAME": "127.0.0.1"}  # fmt: skip
    serve = ["-m", "bear_classifier", "serve", str(model_dir), "--port", str(port)]
    words = serve if request.param == "bears serve" else ["app.py"]
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=env)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
                 "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--window-size=1200,1000",
                 f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def show(browser, path: Path) -> str:
    """Upload a file on a fresh page; return the sentence that the page says."""
    WebDriverWait(browser, 60).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, "input[type=file]")
    )[0].send_keys(str(path))
    return WebDriverWait(browser, 60).until(lambda b: b.find_element(By.ID, "said").text)


def test_a_photo_gets_a_sentence_and_bars(browser, url, model_dir, tmp_path):
    browser.get(url)
    path = tmp_path / "photo.png"
    path.write_bytes(golden.draw(1)[1])
    said = show(browser, path)
    answer = Model(load(model_dir)).predict(path)
    assert answer.label in said
    text = browser.find_element(By.TAG_NAME, "body").text
    assert "Black, grizzly or teddy?" in text
    assert re.search(rf"{answer.label}\s+{answer.confidence:.0%}", text)
    assert "Wrong on 0.0% of 3 test photos" in text
    assert "It gives no answer to pictures that are unlike the photos it learned from" in text


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("cut.jpg", golden.draw(0)[1][:900], "download or copy it again"),
        ("page.jpg", b"<html><body>404</body></html>", "the file is a web page"),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40,
         "HEIC photos are not supported; save as JPEG"),
        ("tiny.png", None, "each side needs at least 16 pixels"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_used_gets_a_reason(browser, url, tmp_path, name, data, sentence):
    if data is None:
        import io

        from PIL import Image

        buffer = io.BytesIO()
        Image.new("RGB", (4, 4)).save(buffer, "png")
        data = buffer.getvalue()
    (tmp_path / name).write_bytes(data)
    browser.get(url)
    said = show(browser, tmp_path / name)
    assert said.startswith("This picture cannot be used.")
    assert sentence in said


def test_the_page_asks_nobody_else(browser, url, tmp_path):
    """No font, script or call from outside, and nothing of the page goes anywhere else."""
    browser.get_log("performance")
    browser.get(url)
    (tmp_path / "photo.png").write_bytes(golden.draw(1)[1])
    show(browser, tmp_path / "photo.png")
    asked = re.findall(
        r'"Network\.requestWillBeSent".*?"url":"(https?://[^"/]+)',
        "\n".join(entry["message"] for entry in browser.get_log("performance")),
    )
    assert len(asked) > 3
    assert set(asked) == {url.rstrip("/")}


def test_it_fits_a_phone(browser, url):
    browser.set_window_size(500, 900)  # the narrowest that Chromium allows
    browser.get(url)
    WebDriverWait(browser, 60).until(lambda b: b.find_elements(By.CSS_SELECTOR, "input[type=file]"))
    wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    browser.set_window_size(1200, 1000)
    assert wide <= 0


def test_a_taken_port_is_a_sentence(model_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "bear_classifier", "serve", str(model_dir), "--port", str(port)],
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert f"PORT_TAKEN: cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_damaged_model_opens_no_port(model_dir, tmp_path):
    """Checksums corrected, one weight changed: the self-test refuses, exit code 3."""
    sys.path.insert(0, str(ROOT / "tests"))
    import numpy as np
    import onnx
    from test_bundle import rewrite

    place = shutil.copytree(model_dir, tmp_path / "tiny")
    model = onnx.load(place / "model.onnx")
    values = np.frombuffer(model.graph.initializer[0].raw_data, np.float32).copy()
    values[len(values) // 2] += 0.01
    model.graph.initializer[0].raw_data = values.tobytes()
    onnx.save(model, place / "model.onnx")
    rewrite(place)
    done = subprocess.run(
        [sys.executable, "-m", "bear_classifier", "serve", str(place), "--port", str(free_port())],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3
    assert "MODEL_SELF_TEST_FAILED" in done.stderr
    assert "Serving" not in done.stdout
