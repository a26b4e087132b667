"""The page without a server, in headless Chromium: the model answers in the browser, as the bundle
does, offline too, and no photo leaves it.

The libraries for it (`bears assets`) are no part of the checkout: without them these tests skip.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_page
from corpus import drawn, exif, good, saved
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from waiting import until

from bear_classifier.images import decoder
from bear_classifier.serve import static_page
from bear_classifier.serve.messages import answer_sentence
from bear_classifier.ship import bundle
from bear_classifier.ship.predict import Model, Prediction
from bear_classifier.web import page_assets

pytestmark = [pytest.mark.browser, pytest.mark.assets]
LIMITS = '{"least": 0.0, "close": 0.2}'


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers.get("Content-Length")))
        if self.path.endswith("/about.json"):
            self.server.about.wait(30)
        super().do_GET()

    do_POST = do_PUT = do_GET


class Host(ThreadingHTTPServer):
    """A static host. asked: method, path and length of the body of each request."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Handler, directory=str(folder))
        super().__init__(("127.0.0.1", 0), handler)
        self.asked: list[tuple[str, str, str | None]] = []
        self.about = threading.Event()  # until then about.json does not come
        self.about.set()
        self.url = (
            f"http://localhost:{self.server_port}/"  # a secure context, for its service worker
        )
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: Any, address: Any) -> None:
        """A browser that stops a request is no error."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture(scope="module")
def folder(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("static") / "site"
    static_page.static_page(model_dir, out)
    return out


@pytest.fixture
def host(folder: Path, tmp_path: Path) -> Iterator[Host]:
    """Of a copy, at a port of its own: nothing that the browser kept is of another test."""
    copy = tmp_path / "site"
    for path in folder.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(folder)).write_bytes(path.read_bytes())
    made = Host(copy)
    made.folder = copy  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    made = test_page.start_browser(tmp_path_factory.mktemp("profile"))
    made.set_script_timeout(120)
    yield made
    made.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome, host: Host) -> Iterator[webdriver.Chrome]:
    """On the page. Afterwards: no rule of the page was broken."""
    driver.get_log("browser")
    visit(driver, host)
    yield driver
    lines = [entry["message"] for entry in driver.get_log("browser")]
    assert [line for line in lines if "Content Security" in line or "Uncaught" in line] == []


def visit(driver: webdriver.Chrome, host: Host) -> None:
    driver.get(host.url)
    until(lambda: text(driver, "title") == "Black, grizzly or teddy?", "it did not open")


def text(driver: webdriver.Chrome, name: str) -> str:
    return driver.find_element(By.ID, name).text.replace("\n", " ")


def give(driver: webdriver.Chrome, *files: Path) -> list[dict[str, Any]]:
    """What the page knows of each of these photos, once all are answered or refused."""
    driver.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))
    code = """
        const done = arguments[arguments.length - 1];
        const plain = ({ code, message }) => ({ code, message });
        const plainly = ({ name, state, answer, trouble }) =>
          ({ name, state, answer, trouble: trouble && plain(trouble) });
        import("./page_ask.js").then(({ S }) => done(S.items.map(plainly)));"""

    def ended() -> list[dict[str, Any]] | None:
        items = driver.execute_async_script(code)
        over = len(items) == len(files) and all(i["state"] in ("answered", "failed") for i in items)
        return items if over else None

    return until(ended, "photos were not answered")


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def photos() -> dict[str, bytes]:
    """Of many sizes, and one of each kind that the decoder takes."""
    sizes = [(64, 64), (300, 200), (201, 301), (97, 640), (800, 601)]
    files = {
        f"{width}x{height}.png": saved(drawn(width, height, seed=n), "PNG")
        for n, (width, height) in enumerate(sizes)
    }
    turned = {
        f"turned {turn}.{form}": saved(drawn(120, 80, seed=turn), form, exif=exif(turn), quality=95)
        for turn in range(2, 9)
        for form in ("jpeg", "webp")
    }
    kinds = {f"{name}.{name.split()[0]}": data for name, data in good().items()}
    for name in ("alpha", "animated"):  # refused, see below
        del kinds[f"avif {name}.avif"]
    return files | turned | kinds | four_colours()


def four_colours() -> dict[str, bytes]:
    """JPEGs in CMYK with much black: with Adobe's mark, without it, in YCCK, in several scans."""
    inks = np.asarray(drawn(120, 90, seed=7).convert("CMYK")).copy()
    inks[..., 3] = np.arange(120)
    picture = Image.fromarray(inks, "CMYK")
    marked = saved(picture, "JPEG", quality=95)
    ycck = bytearray(marked)
    ycck[marked.index(b"Adobe") + 11] = 2
    return {
        "marked.jpeg": marked,
        "unmarked.jpeg": marked.replace(b"Adobe", b"Adobo", 1),
        "ycck.jpeg": bytes(ycck),
        "scans.jpeg": saved(picture, "JPEG", quality=95, progressive=True),
    }


def test_it_answers_as_the_bundle_and_sends_nothing(
    browser: webdriver.Chrome, host: Host, model_dir: Path, tmp_path: Path
) -> None:
    files = write(tmp_path / "photos", photos())
    model = Model(bundle.load(model_dir))
    for path, item in zip(files, give(browser, *files), strict=True):
        assert item["state"] == "answered", (path.name, item)
        ours, theirs = model.predict(path), item["answer"]
        assert theirs["probabilities"] == pytest.approx(ours.probabilities, abs=0.02), path.name
        assert (theirs["label"], theirs["reason"]) == (ours.label, ours.reason), path.name
        assert theirs["sentence"] == answer_sentence(ours)
    assert {(method, size) for method, _, size in host.asked} == {("GET", None)}
    known = {f"/{path.relative_to(host.folder)}" for path in host.folder.rglob("*")}  # type: ignore[attr-defined]
    assert {path for _, path, _ in host.asked} <= known | {"/"}
    assert not any(path.startswith("/heif/") for _, path, _ in host.asked)


@pytest.mark.long
def test_a_heic_brings_its_decoder_and_is_answered(
    browser: webdriver.Chrome, host: Host, model_dir: Path, tmp_path: Path
) -> None:
    heif = pytest.importorskip("pillow_heif", reason="HEIC: pip install bear-classifier[heic]")
    file = BytesIO()
    picture = drawn(320, 240, seed=5)
    heif.from_pillow(picture).save(file, quality=95)
    (path,) = write(tmp_path / "photos", {"phone.heic": file.getvalue()})
    (item,) = give(browser, path)
    assert item["state"] == "answered", item
    wanted = Model(bundle.load(model_dir)).predict(path).probabilities
    assert item["answer"]["probabilities"] == pytest.approx(wanted, abs=0.05)
    assert any(path.startswith("/heif/") for _, path, _ in host.asked)


@pytest.mark.long
def test_what_cannot_be_used_gets_a_sentence(browser: webdriver.Chrome, tmp_path: Path) -> None:
    jpeg, png = saved(drawn(seed=1), "JPEG"), saved(drawn(seed=1), "PNG")
    profile = b"\0" * 16 + b"CMYK" + b"\0" * 200
    four = saved(drawn(seed=2).convert("CMYK"), "JPEG", icc_profile=profile)
    kinds = good()
    cases = {
        "empty.jpg": (b"", "EMPTY_FILE"),
        "page.jpg": (b"<html>not found</html>" * 9, "NOT_AN_IMAGE"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "TRUNCATED"),
        "cut.png": (png[: len(png) // 2], "TRUNCATED"),
        "broken.png": (png[:40] + b"\0" * 20 + png[60:], "DAMAGED"),
        "tiny.png": (saved(drawn(8, 8), "PNG"), "TOO_SMALL"),
        "long.png": (saved(drawn(1700, 20), "PNG"), "ODD_SHAPE"),
        "large.png": (png + b"\0" * 20_000_001, "TOO_LARGE"),
        "printed.jpg": (four, "UNSUPPORTED_FORMAT"),
        "clear.avif": (kinds["avif alpha"], "UNSUPPORTED_FORMAT"),
        "moving.avif": (kinds["avif animated"], "UNSUPPORTED_FORMAT"),
        "wide.webp": (saved(Image.new("L", (4100, 4000)), "WEBP"), "TOO_MANY_PIXELS"),
    }
    files = write(tmp_path / "photos", {name: data for name, (data, _) in cases.items()})
    for item, (name, (_, code)) in zip(give(browser, *files), cases.items(), strict=True):
        assert item["state"] == "failed", name
        assert item["trouble"]["code"] == code, item
        assert item["trouble"]["message"].endswith("."), item


@pytest.mark.long
def test_it_works_without_a_network_after_the_first_visit(
    browser: webdriver.Chrome, host: Host, tmp_path: Path
) -> None:
    offline(browser)
    host.close()
    visit(browser, host)
    assert browser.execute_script("return crossOriginIsolated"), "several threads are not possible"
    (item,) = give(browser, *write(tmp_path / "photos", {"a.png": saved(drawn(99, 80), "PNG")}))
    assert item["state"] == "answered"
    assert item["answer"]["sentence"] == text(browser, "said")


def offline(browser: webdriver.Chrome) -> None:
    code = "return document.body.dataset.offline"
    until(lambda: browser.execute_script(code) == "ready", "its service worker did not start")


def test_a_photo_may_be_chosen_before_the_page_knows_its_model(
    driver: webdriver.Chrome, host: Host, tmp_path: Path
) -> None:
    host.about.clear()
    driver.get(host.url)
    (path,) = write(tmp_path / "photos", {"a.png": saved(drawn(99, 80), "PNG")})
    driver.find_element(By.ID, "files").send_keys(str(path))
    states = """
        const done = arguments[arguments.length - 1];
        import("./page_ask.js").then(({ S }) => done(S.items.map((item) => item.state)));"""
    until(lambda: driver.execute_async_script(states) == ["asking"], "it is not asked")
    host.about.set()
    until(lambda: driver.execute_async_script(states) == ["answered"], "it is not answered")


@pytest.mark.long
def test_a_model_that_was_changed_answers_nothing(
    driver: webdriver.Chrome, host: Host, tmp_path: Path
) -> None:
    model = host.folder / "model" / "complete.onnx"  # type: ignore[attr-defined]
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(bytes(data))
    visit(driver, host)
    (item,) = give(driver, *write(tmp_path / "photos", {"a.png": saved(drawn(99, 80), "PNG")}))
    assert item["state"] == "failed"
    assert "is not the file that was published with this page" in item["trouble"]["message"]


@pytest.mark.long
def test_a_new_version_takes_the_place_of_the_kept_one(
    browser: webdriver.Chrome, host: Host, folder: Path
) -> None:
    """At the next visit, and the page says so."""
    offline(browser)
    assert text(browser, "news") == ""
    about = host.folder / "about.json"  # type: ignore[attr-defined]
    changed = json.loads(about.read_bytes())
    changed["published"] = "another"
    changed["models"][0]["figures"] = "Another model."
    about.write_bytes(json.dumps(changed).encode())
    worker = host.folder / "sw.js"  # type: ignore[attr-defined]
    lines = worker.read_text(encoding="utf-8").splitlines(keepends=True)
    files = json.loads(lines[1].removeprefix("const FILES = ").rstrip(";\n"))
    files["about.json"] = static_page.checksums({"about.json": about.read_bytes()})[0]["about.json"]
    lines[:2] = ['const VERSION = "another";\n', f"const FILES = {json.dumps(files)};\n"]
    worker.write_text("".join(lines), encoding="utf-8")
    kept = "const done = arguments[0]; caches.keys().then((names) => done(names.join()));"
    visit(browser, host)
    assert text(browser, "figures") != "Another model."  # the kept one, while the new one comes
    until(lambda: "page-another" in browser.execute_async_script(kept), "nothing new was fetched")
    until(lambda: browser.execute_async_script(kept) == "page-another", "the old one is still kept")
    visit(browser, host)
    assert text(browser, "figures") == "Another model."
    assert text(browser, "news") == "This page was updated since your last visit."


@pytest.mark.long
def test_why_shows_maps_of_the_same_picture(browser: webdriver.Chrome, tmp_path: Path) -> None:
    give(browser, *write(tmp_path / "photos", {"a.png": saved(drawn(300, 200, seed=3), "PNG")}))
    browser.find_element(By.ID, "why").click()
    shown = "#why-panel .maps img"
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, shown)) == 4, "no maps were drawn")


def test_sentences_are_those_of_the_service(browser: webdriver.Chrome) -> None:
    """For every reason and every step of the words, with names that need care."""
    answers = []
    for names in (["black", "grizzly", "teddy"], ["épagneul", "ß"], [f"c{n}" for n in range(12)]):
        for first, reason in itertools.product(
            (0.34, 0.59, 0.6, 0.89, 0.9, 0.98, 0.99, 1.0), ("ok", "too_close", "unlike_training")
        ):
            rest = (1 - first) / (len(names) - 1)
            p = dict(zip(names, [rest, first, *[rest] * (len(names) - 2)], strict=True))
            answers.append(Prediction(names[1], first, p, reason == "ok", reason))  # type: ignore[arg-type]
    given = [
        {"pairs": [*a.probabilities.items()], "confidence": a.confidence, "reason": a.reason}
        for a in answers
    ]
    code = """const [given, done] = arguments;
        const whole = ({ pairs, ...rest }) =>
          ({ ...rest, probabilities: Object.fromEntries(pairs) });
        import("./page_sentences.js").then(
          ({ sentence }) => done(given.map(whole).map(sentence)));"""
    assert browser.execute_async_script(code, given) == [answer_sentence(a) for a in answers]


STEADY = """
const [frames, limits, done] = arguments;
import("./page_live.js").then(({ steady }) => {
  const next = steady(limits);
  done(frames.map(([seconds, p, score]) => {
    const { label, reason } = next({ probabilities: { a: p, b: 1 - p }, score }, seconds);
    return reason === "ok" ? label : reason;
  }));
});"""


def steady(browser: webdriver.Chrome, *scenes: tuple[float, float, float]) -> list[str]:
    """What is shown after each frame, ten a second. scenes: seconds, probability of a, score."""
    frames, now = [], 0.0
    for seconds, p, score in scenes:
        for _ in range(round(10 * seconds)):
            frames.append([now, p, score])
            now += 0.1
    return list(browser.execute_async_script(STEADY, frames, {"least": -3.0, "close": 0.2}))


def test_a_live_answer_follows_within_a_second(browser: webdriver.Chrome) -> None:
    shown = steady(browser, (1, 0.95, 0), (2, 0.95, -9), (2, 0.05, 0))
    assert set(shown[:10]) == {"a"}
    assert shown[10] == "a" and set(shown[20:30]) == {"unlike_training"}
    assert set(shown[40:]) == {"b"}


@pytest.mark.long
def test_a_live_answer_does_not_flicker(browser: webdriver.Chrome) -> None:
    """On one picture, of which two frames in five are answered otherwise."""
    frames = [[n / 10, (0.95, 0.95, 0.95, 0.3, 0.3)[n % 5], 0.0] for n in range(100)]
    shown = browser.execute_async_script(STEADY, frames, {"least": -3.0, "close": 0.0})
    assert set(shown) == {"a"}


@pytest.mark.long
def test_the_camera_is_answered_live(browser: webdriver.Chrome) -> None:
    """By Chromium's own picture of a camera; what it is called is not asked."""
    browser.find_element(By.ID, "camera").click()
    said = lambda: text(browser, "live-said")  # noqa: E731
    until(lambda: said() not in ("", "Looking"), "the camera got no answer")
    browser.find_element(By.ID, "where").click()
    canvas = browser.find_element(By.ID, "live-map")
    until(canvas.is_displayed, "no map was drawn over the picture")
    browser.find_element(By.ID, "freeze").click()
    assert text(browser, "freeze") == "Go on"
    browser.find_element(By.ID, "shoot").click()
    until(lambda: browser.find_element(By.ID, "one").get_attribute("data-state") == "answered")
    assert text(browser, "name") == "camera 1.jpg"
    assert not browser.find_element(By.ID, "live").is_displayed()


SQUARE = """
const [png, way, done] = arguments;
const code = async () => {
  const { fitSquare, pixelsOf } = await import("./page_resize.js");
  const bytes = Uint8Array.from(atob(png), (one) => one.charCodeAt(0));
  const square = fitSquare(await createImageBitmap(new Blob([bytes])), way);
  const { rgb, dims } = pixelsOf(square, way);
  const plain = (all) => btoa(Array.from(all, (one) => String.fromCharCode(one)).join(""));
  return [plain(square), plain(rgb), dims];
};
code().then(done, (error) => done(String(error)));"""


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_square_is_pillow_s_to_the_last_bit(
    browser: webdriver.Chrome, interpolation: str
) -> None:
    """And the model, which cuts and resizes what it gets, sees just that square."""
    cases = [(640, 97, 64, 1.0), (50, 61, 64, 1.0), (700, 531, 224, 0.875), (333, 400, 96, 0.89)]
    for number, (width, height, size, crop) in enumerate(cases):
        image = drawn(width, height, seed=number)
        png = base64.b64encode(saved(image, "PNG")).decode()
        way = {"size": size, "crop": crop, "interpolation": interpolation}
        square, pixels, dims = browser.execute_async_script(SQUARE, png, way)
        wanted = decoder.fit_square(image, size, crop, interpolation)
        assert base64.b64decode(square) == wanted.tobytes(), way
        given = Image.frombytes("RGB", (dims[1], dims[0]), base64.b64decode(pixels))
        assert decoder.fit_square(given, size, crop, interpolation).tobytes() == wanted.tobytes()


def test_what_lies_in_the_folder(folder: Path) -> None:
    """All addresses are relative: a page of a repository lies below a path."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert 'data-engine="device"' in page and "'wasm-unsafe-eval'" in page
    for path in folder.glob("*.*"):
        if path.suffix in (".html", ".js", ".webmanifest"):
            words = path.read_text(encoding="utf-8")
            assert 'href="/' not in words and 'src="/' not in words, path.name
    assert "sdk: static" in (folder / "README.md").read_text(encoding="utf-8")
    (model,) = json.loads((folder / "about.json").read_bytes())["models"]
    for one in model["examples"]:
        assert (folder / one["image"]).read_bytes()[:3] == b"\xff\xd8\xff"
    assert (folder / "licences" / "onnxruntime-web.txt").is_file()
    assert (
        page_assets.HEIF.folder.startswith("libheif-js") and (folder / "heif" / "LICENSE").is_file()
    )
