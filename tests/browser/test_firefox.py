"""The main path in Firefox: open the page, choose a photo, read the answer; by the server, by the
model in the browser, on the page of `bears serve` and on the one without a server.

Firefox is Debian's firefox-esr; without it, or without `bears assets`, tests skip.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved
from firefox import Firefox
from serving import Serving
from test_static_page import Host, photos, write
from waiting import until

from bear_classifier.serve import static_page
from bear_classifier.serve.messages import answer_sentence
from bear_classifier.ship import bundle
from bear_classifier.ship.predict import Model

pytestmark = pytest.mark.firefox
ITEMS = """import(new URL("page_ask.js", document.baseURI)).then(({ S }) =>
  S.items.map(({ name, state, answer, trouble }) =>
    ({ name, state, answer, trouble: trouble && trouble.message })))"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with Firefox(tmp_path_factory.mktemp("firefox") / "profile") as made:
        yield made


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(model_dir, tmp_path_factory.mktemp("serving")) as running:
        yield running


def text(browser: Firefox, name: str) -> str:
    words = browser.run(f"document.getElementById('{name}')?.innerText ?? ''")
    return str(words).replace("\n", " ").strip()


def give(browser: Firefox, *files: Path) -> list[dict[str, Any]]:
    """What the page knows of each of these photos, once all are answered or refused."""
    browser.choose("#files", files)

    def ended() -> list[dict[str, Any]] | None:
        items = browser.run(ITEMS)
        over = len(items) == len(files) and all(i["state"] in ("answered", "failed") for i in items)
        return items if over else None

    return until(ended, "photos were not answered")


@pytest.mark.long
def test_a_photo_is_answered_by_the_server(
    browser: Firefox, server: Serving, model_dir: Path, tmp_path: Path
) -> None:
    browser.errors.clear()
    browser.open(f"http://localhost:{server.port}/")
    until(lambda: text(browser, "title") == "Black, grizzly or teddy?", "it did not open")
    (path,) = write(tmp_path / "photos", {"a.png": saved(drawn(300, 200, seed=3), "PNG")})
    (item,) = give(browser, path)
    wanted = Model(bundle.load(model_dir)).predict(path)
    assert item["answer"]["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-4)
    until(lambda: text(browser, "said") == answer_sentence(wanted), "the answer is not shown")
    browser.run("document.getElementById('why').click()")
    maps = "[...document.querySelectorAll('#why-panel .maps img')].every((i) => i.naturalWidth)"
    shown = f"document.querySelectorAll('#why-panel .maps img').length === 4 && {maps}"
    until(lambda: browser.run(shown), "no maps were drawn")
    assert browser.errors == []


@pytest.mark.long
@pytest.mark.assets
def test_a_photo_stays_on_this_device(
    browser: Firefox, server: Serving, model_dir: Path, tmp_path: Path
) -> None:
    browser.errors.clear()
    browser.open(f"http://localhost:{server.port}/")
    here = "document.getElementById('place-other')"
    until(lambda: browser.run(f"{here}.checkVisibility()"), "it offers no choice")
    browser.run(f"{here}.click()")
    assert browser.run("crossOriginIsolated"), "several threads are not possible"
    (path,) = write(tmp_path / "photos", {"a.png": saved(drawn(300, 200, seed=3), "PNG")})
    (item,) = give(browser, path)
    assert text(browser, "place-now") == "Photos stay on this device."
    wanted = Model(bundle.load(model_dir)).predict(path)
    assert item["answer"]["probabilities"] == pytest.approx(wanted.probabilities, abs=0.01)
    assert browser.errors == []


@pytest.mark.long
@pytest.mark.assets
def test_a_heic_is_sent_as_a_jpeg(browser: Firefox, server: Serving, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="HEIC: pip install bear-classifier[heic]")
    file = BytesIO()
    heif.from_pillow(drawn(320, 240, seed=5)).save(file, quality=95)
    browser.open(f"http://localhost:{server.port}/")
    browser.run("localStorage.clear()")
    browser.open(f"http://localhost:{server.port}/")
    (item,) = give(browser, *write(tmp_path / "photos", {"phone.heic": file.getvalue()}))
    assert item["state"] == "answered", item


@pytest.mark.long
@pytest.mark.assets
def test_the_page_without_a_server(browser: Firefox, model_dir: Path, tmp_path: Path) -> None:
    """As the bundle, for photos of every kind; colours of an AVIF in less detail. From the second
    visit on with several threads."""
    static_page.static_page(model_dir, tmp_path / "site")
    host, model = Host(tmp_path / "site"), Model(bundle.load(model_dir))
    try:
        browser.open(host.url)
        kinds = {name: data for name, data in photos().items() if not name.endswith(".avif")}
        files = write(tmp_path / "photos", kinds)
        for path, item in zip(files, give(browser, *files), strict=True):
            assert item["state"] == "answered", (path.name, item)
            wanted = model.predict(path)
            found = item["answer"]["probabilities"]
            assert found == pytest.approx(wanted.probabilities, abs=0.02), path.name
        ready = "document.body.dataset.offline === 'ready'"
        until(lambda: browser.run(ready), "its service worker did not start")
        browser.open(host.url)
        assert browser.run("crossOriginIsolated")
        (item,) = give(browser, files[0])
        assert item["state"] == "answered", item
        assert {(method, size) for method, _, size in host.asked} == {("GET", None)}
    finally:
        host.close()
