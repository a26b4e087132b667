"""The whole way through the studio in headless Chromium, with real jobs: from an empty folder to a
page that answers offline, photos by upload and by a search of the tests' small internet."""

from __future__ import annotations

import json
import socket
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import answers
import pytest
import test_static_page
import uvicorn
from corpus import ROOT, drawn, saved
from hosts import Hosts, Request, Wire
from internet import Internet
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from test_page import start_browser
from test_studio import act, button, choose, press, shows
from waiting import until

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.studio.app import make_app

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.trains]
SMALL = {  # of the project file: a tiny network, and one pass over the photos
    'arch = "tf_efficientnet_lite2"': 'arch = "squeezenet1_1"',
    'weights = "shipped"': 'weights = "none"',
    "\nsize = 0 ": "\nsize = 64 ",
    'device = "auto"': 'device = "cpu"',
    "epochs = 4 ": "epochs = 1 ",
    'lr = "find"': "lr = 0.001",
    "batch_size = 64": "batch_size = 16",
    "source_validation = true": "source_validation = false",
    "parity = 1000": "parity = 20",
}
LOCAL_WEB = """
import ipaddress, json, os
from datetime import datetime, timezone
from ddgs import DDGS
from bear_classifier.collect import download, search
from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.http.rate_limit import PolitenessLimits
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.collect.sources import duckduckgo
from bear_classifier.collect.sources.pagination import Time
web = json.loads(os.environ["TESTS_WEB"])
async def resolve(host, port):
    return [("127.0.0.1", web["port"])]
def engines(settings, client=None, made=duckduckgo.engines):
    return made(settings, DDGS(proxy=web["proxy"], verify=web["ca"], timeout=5))
duckduckgo.engines = engines
world = World(resolve, lambda address: str(address) == "127.0.0.1", None)
net = Net(world, Limits(), PolitenessLimits(apart=0.01))
download.download.__defaults__ = (download.download.__defaults__[0], net)
now = [0.0]
def sleep(seconds):
    now[0] += seconds
pause = Time(lambda: datetime.now(timezone.utc), lambda: now[0], sleep, lambda: 1.0)
search.search.__defaults__ = (None, pause)
"""  # fmt: skip


class Studio:
    """The real application of a folder of projects, in a thread."""

    def __init__(self, root: Path) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.root, self.url = root, f"http://127.0.0.1:{port}/"
        app, quiet = make_app(root), {"log_level": "error", "timeout_graceful_shutdown": 1}
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, **quiet))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started, "the studio did not start")

    def state(self, project: str) -> dict[str, Any]:
        with urlopen(f"{self.url}api/projects/{project}") as answer:
            return dict(json.load(answer))

    def done(self, project: str, kind: str, number: int = 1) -> dict[str, Any]:
        """The state once so many jobs of this kind are over; the last has to have ended well."""

        def over() -> dict[str, Any] | None:
            state = self.state(project)
            mine = [job for job in state["jobs"] if job["kind"] == kind]
            if len(mine) < number or mine[-1]["state"] in ("waiting", "running"):
                return None
            assert mine[-1]["state"] == "done", mine[-1]
            return state

        return until(over, f"no {kind} ended")

    def shrink(self, project: str) -> None:
        """Settings with which a test is quick, as somebody sets them in the file."""
        file = self.root / project / f"{project}.toml"
        text = file.read_text(encoding="utf-8")
        for before, after in SMALL.items():
            assert before in text, before
            text = text.replace(before, after, 1)
        file.write_text(text, encoding="utf-8")

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Studio(tmp_path / "projects")
    yield made
    made.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    driver = start_browser(tmp_path / "profile")
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


def begin(browser: webdriver.Chrome, studio: Studio, classes: str, name: str) -> None:
    """An empty folder, and a project with these classes."""
    browser.get(studio.url)
    shows(browser, "Teach a computer what is in a photo")
    act(browser, By.CSS_SELECTOR, "[data-focus=new]", WebElement.click)
    shows(browser, "What shall it tell apart?")
    act(browser, By.CSS_SELECTOR, ".adder input", lambda field: field.send_keys(classes, "\n"))
    shows(browser, *classes.split(", "))
    act(browser, By.ID, "project-name", WebElement.clear)
    act(browser, By.ID, "project-name", lambda field: field.send_keys(name))
    button(browser, "Create the project")
    shows(browser, "Photos of each class", "No photos yet.")
    studio.shrink(name)


def step(browser: webdriver.Chrome, name: str) -> None:
    browser.execute_script(f"document.querySelector('#rail [data-focus={name}]').click()")


def pictures(folder: Path, first: int, n: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{k}.png" for k in range(first, first + n)]
    for k, path in enumerate(paths):
        path.write_bytes(saved(drawn(96, 80, seed=first + k), "PNG"))
    return paths


@pytest.mark.assets
@pytest.mark.timeout(1200)
def test_from_an_empty_folder_to_a_page_that_answers_offline(
    browser: webdriver.Chrome, studio: Studio, tmp_path: Path
) -> None:
    begin(browser, studio, "black, teddy", "two")
    for n, label in enumerate(("black", "teddy")):
        choose(browser, label, pictures(tmp_path / label, 100 * n, 24))
    studio.done("two", "take-in")
    shows(browser, "48 photos of 2 classes that can be used.")
    step(browser, "learn")
    button(browser, "Learn")
    studio.done("two", "learn")
    studio.done("two", "train")
    shows(browser, "each answered by a model that did not learn from it.",
          "photos that were set aside: it learned nothing from them.")  # fmt: skip

    step(browser, "clean")
    act(browser, By.CSS_SELECTOR, "iframe", browser.switch_to.frame)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "[data-ready], .thumb, .end"))
    browser.execute_script("document.querySelector('#who button')?.click()")
    before = labels(studio)
    press(browser, "e")  # all photos
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".thumb")) == 48)
    train = next(k for k, (_, split) in enumerate(shown(browser, before)) if split == "train")
    act(browser, By.XPATH, f"(//button[@data-sha])[{train + 1}]", WebElement.click)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".large"), "the photo was not enlarged")
    other = {"black": "2", "teddy": "1"}[shown(browser, before)[0][0]]
    press(browser, other)  # the key of the other class
    changed = until(lambda: {k for k, v in labels(studio).items() if v != before[k]})
    assert len(changed) == 1
    browser.switch_to.default_content()
    shows(browser, "1 decision since the last training")
    button(browser, "Train again with 1 decision")
    studio.done("two", "learn", 2)
    assert len(studio.done("two", "train", 2)["results"]) >= 2
    shows(browser, "Before and after", "On the same")

    step(browser, "publish")
    shows(browser, "Try it", "Who can reach it:")
    click(browser, "[data-focus='make static']")
    studio.done("two", "static")
    href = act(
        browser, By.CSS_SELECTOR, "[data-focus='get static']",
        lambda link: link.get_attribute("href"),
    )  # fmt: skip
    with urlopen(href) as answer:
        packed = zipfile.ZipFile(BytesIO(answer.read()))
    packed.extractall(tmp_path / "site")
    browser.get(f"{studio.url}p/two/try/")
    photo = tmp_path / "black" / "0.png"
    (item,) = give(browser, photo)
    assert item["state"] == "answered"
    studio.close()

    index = next((tmp_path / "site").rglob("index.html"))
    host = test_static_page.Host(index.parent)
    browser.get(host.url)
    test_static_page.offline(browser)
    host.close()
    browser.get("about:blank")
    browser.get(host.url)
    (alone,) = give(browser, photo)
    assert alone["state"] == "answered"


def give(browser: webdriver.Chrome, photo: Path) -> list[dict[str, Any]]:
    until(lambda: browser.find_elements(By.ID, "files"), "the page does not answer")
    until(lambda: browser.find_element(By.ID, "title").text.startswith("Black or teddy"))
    return test_static_page.give(browser, photo)


def click(browser: webdriver.Chrome, css: str) -> None:
    run = browser.execute_script
    act(browser, By.CSS_SELECTOR, css, lambda found: run("arguments[0].click()", found))


def labels(studio: Studio) -> dict[str, tuple[str, str | None]]:
    with Catalog(studio.root / "two" / "data" / "two", shared=True) as catalog:
        return {photo.sha256: (photo.label, photo.split) for photo in catalog.photos()}


def shown(
    browser: webdriver.Chrome, known: dict[str, tuple[str, str | None]]
) -> list[tuple[str, str | None]]:
    """Label and split of the photos of the sheet, in its order."""
    sources = browser.execute_script(
        "return [...document.querySelectorAll('.thumb img, .large img')].map((one) => one.src)"
    )
    return [known[source.rpartition("/")[2].partition("?")[0]] for source in sources]


@pytest.mark.timeout(600)
def test_photos_by_a_search_of_the_web(
    browser: webdriver.Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found appears in the columns, and what is refused is counted with its reason."""

    async def picture(request: Request, wire: Wire) -> None:
        number = int(request.path.rpartition("/")[2].partition(".")[0])
        kind = answers.foreign("html") if number % 10 == 4 else answers.photo(
            number + 1000 * len(request.host)
        )  # fmt: skip
        await kind(request, wire)

    def address(query: str, index: int) -> str:
        return f"http://{'a' * (1 + len(query) % 9)}.example/{index}.jpg"

    (tmp_path / "web").mkdir()
    with Internet(tmp_path, address) as web, Hosts() as hosts:
        for n in range(1, 10):
            hosts.add(f"{'a' * n}.example", "*", picture)
        (tmp_path / "web" / "sitecustomize.py").write_text(LOCAL_WEB, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'web'}:{ROOT}")
        facts = {"proxy": web.proxy, "ca": web.ca, "port": hosts.port()}
        monkeypatch.setenv("TESTS_WEB", json.dumps(facts))
        studio = Studio(tmp_path / "projects")
        try:
            begin(browser, studio, "fir, oak tree", "trees")
            click(browser, "input[value=web]")
            act(browser, By.ID, "per-class", WebElement.clear)
            act(browser, By.ID, "per-class", lambda field: field.send_keys("20"))
            shows(browser, "It looks for up to 40 photos, 20 of each class")
            button(browser, "Search for photos")
            studio.done("trees", "search")
            shows(browser, "20 photos", place="[data-label=fir]")
            shows(browser, "From", ".example (", place="[data-label='oak tree']")
            shows(browser, "not taken: why")
        finally:
            studio.close()
