"""The page for people, in headless Chromium, against a small server that gives canned answers.

What the server answers stands at the end of each photo's bytes: `photo("teddy")` is a teddy,
`photo("busy 2")` is answered after two refusals. The page lies below a path, as behind a proxy.
"""

import base64
import csv
import io
import json
import re
import shutil
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from corpus import ROOT, drawn, saved
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from serving import Serving
from waiting import until

from bear_classifier.serve import messages
from bear_classifier.ship import golden
from bear_classifier.ship.bundle import load
from bear_classifier.ship.predict import Model
from bear_classifier.web.static_files import files_of_page

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
STATIC = files_of_page(ROOT / "bear_classifier" / "serve" / "static")
BELOW = "/below/a/path/"
CSP = ("default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
       "form-action 'none'")  # fmt: skip
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
LABELS = ["black", "grizzly", "teddy"]
BEARS = {
    "name": "bears", "title": "Grizzly, black or teddy?", "labels": LABELS, "default": True,
    "figures": "Wrong on 1.4 % of 215 test photos (95 % interval 0.5 % to 4.0 %).", "refuses": True,
    "limits": "It gives no answer to pictures that are unlike the photos it learned from.",
    "card": "api/v1/models/bears/card",
}  # fmt: skip
FRUIT = {**BEARS, "name": "fruit", "title": "Apple or pear?", "labels": ["apple", "pear"],
         "default": False, "card": "api/v1/models/fruit/card"}  # fmt: skip
REFUSED = "This does not look like any of the three: grizzly, black or teddy."
CLOSE = "Hard to tell: black or grizzly."
BROKEN = "The file is cut off: only a part of it is there; download or copy it again."
HEIC = "HEIC photos are not supported; save as JPEG."
BUSY = "The server is busy with other photos."
pytestmark = pytest.mark.browser


def photo(says, seed=0, size=(320, 200)):
    return saved(drawn(*size, seed=seed), "PNG") + b"#" + says.encode()


def data_url(seed):
    png = saved(drawn(64, 64, seed=seed), "PNG")
    return "data:image/png;base64," + base64.b64encode(png).decode()


class Site(ThreadingHTTPServer):
    """The page's files and canned answers; asked: (path, query, body) of every POST."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.server_port}"
        self.url = self.host + BELOW
        self.lock = threading.Lock()
        self.reset()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, address):
        """A browser that stops a request is no error."""

    def reset(self):
        self.models, self.corrections, self.bytes = [BEARS], False, 20_000_000
        self.photos, self.down, self.on_device = 200, False, False
        self.asked, self.seen, self.now, self.most_at_once = [], Counter(), 0, 0
        self.gate = threading.Event()  # "slow" photos wait for it
        self.maps = lambda body: [data_url(1), data_url(2)]
        self.similar = lambda body: []
        self.pictures = {}  # to try, by their addresses

    def answer(self, path, query, body):
        """Status, JSON and headers. None: the connection ends without an answer."""
        word, _, count = body.rpartition(b"#")[2].decode(errors="replace").partition(" ")
        with self.lock:
            self.seen[body] += 1
            turn = self.seen[body]
        if word == "slow":
            self.gate.wait(20)
            word = "grizzly"
        if word == "cut":
            return None if turn <= int(count or 99) else (200, self.said("teddy", query, body), {})
        if word == "busy":
            if turn <= int(count or 99):
                return 503, error("BUSY", BUSY), {"Retry-After": "2"}
            word = "grizzly"
        if path == "api/v1/corrections":
            return 201, {"request_id": "c0ffee"}, {}
        if word == "broken":
            return 400, error("TRUNCATED", BROKEN), {}
        if word == "heic":
            return 415, error("UNSUPPORTED", HEIC), {}
        return 200, self.said(word, query, body), {}

    def said(self, word, query, body):
        label = word if word in LABELS else "black"
        reason = {"refused": "unlike_training", "close": "too_close"}.get(word, "ok")
        rest = iter([0.02, 0.008])
        probabilities = {one: 0.972 if one == label else next(rest) for one in LABELS}
        if reason == "too_close":
            probabilities = {"black": 0.47, "grizzly": 0.45, "teddy": 0.08}
        said = {
            "request_id": "8f3a", "model": query.get("model"), "label": label,
            "confidence": probabilities[label], "probabilities": probabilities,
            "accepted": reason == "ok", "reason": reason, "milliseconds": 31.2,
            "sentence": {"ok": f"{label.capitalize()}, quite sure.", "unlike_training": REFUSED,
                         "too_close": CLOSE}[reason],
        }  # fmt: skip
        if query.get("explain") == "true":
            first, second, *_ = self.maps(body)
            maps = [{"label": label, "image": first}, {"label": "teddy", "image": second}]
            said |= {"photo": data_url(0), "similar": self.similar(body), "maps": maps}
        return said


def error(code, message):
    return {"code": code, "message": message, "request_id": "0b5e"}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def reply(self, status, body, kind="application/json", headers=()):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(body),
                            "Content-Security-Policy": CSP, **dict(headers)}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        site, path = self.server, urlsplit(self.path).path
        name = path.removeprefix(BELOW) or "page.html"
        if name == "api/v1/models":
            status = 500 if site.down else 200
            about = {"models": site.models, "corrections": site.corrections,
                     "limits": {"bytes": site.bytes, "photos": site.photos},
                     "on_device": site.on_device}  # fmt: skip
            said = error("X", "No models.") if site.down else about
            self.reply(status, json.dumps(said).encode())
        elif name in site.pictures:
            self.reply(200, site.pictures[name], "image/jpeg")
        elif path.startswith(BELOW) and name in STATIC and "/" not in name:
            self.reply(200, STATIC[name].read_bytes(), TYPES[Path(name).suffix])
        else:
            self.reply(404, b"{}")

    def do_POST(self):
        site, address = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, query = address.path.removeprefix(BELOW), dict(parse_qsl(address.query))
        with site.lock:
            site.asked.append((path, query, body))
            site.now += 1
            site.most_at_once = max(site.most_at_once, site.now)
        try:
            time.sleep(0.02)  # so that what is asked at once overlaps
            found = site.answer(path, query, body)
        finally:
            with site.lock:
                site.now -= 1
        if found:
            status, said, headers = found
            self.reply(status, json.dumps(said).encode(), headers=headers)


@pytest.fixture(scope="module")
def server():
    site = Site()
    yield site
    site.shutdown()
    site.server_close()


@pytest.fixture
def site(server):
    server.reset()
    yield server
    server.gate.set()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    made = start_browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.quit()


def start_browser(profile, *more):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                 "--window-size=1280,900", f"--user-data-dir={profile}", *more):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


@pytest.fixture
def browser(driver, site):
    """On a fresh page. Afterwards: no rule of the page was broken, and nobody else was asked."""
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    visit(driver, site)
    yield driver
    log = "\n".join(entry["message"] for entry in driver.get_log("performance"))
    asked = re.findall(r'"Network\.requestWillBeSent".*?"url":"(https?://[^"/]+)', log)
    assert set(asked) == {site.host}
    lines = [entry["message"] for entry in driver.get_log("browser")]
    assert [line for line in lines if "Content Security" in line or "Uncaught" in line] == []


def visit(browser, site):
    browser.get(site.url)
    until(lambda: browser.find_element(By.ID, "card").get_attribute("href"), "the page is not up")


def text(browser, selector):
    """As it is shown; a space that may not break is a space."""
    script = "return document.querySelector(arguments[0])?.innerText ?? ''"
    return browser.execute_script(script, selector).replace("\xa0", " ").strip()


def seen(browser, name):
    return browser.find_element(By.ID, name).is_displayed()


def click(browser, name):
    browser.find_element(By.ID, name).click()


def press(browser, *keys):
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def focused(browser):
    return browser.execute_script("return document.activeElement.id")


@pytest.fixture
def choose(browser, tmp_path):
    """choose({"a.png": photo("teddy"), ...}) in one go, as with the chooser of the system."""

    def send(files):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        paths = "\n".join(str(tmp_path / name) for name in files)
        browser.find_element(By.ID, "files").send_keys(paths)

    return send


HAND_OVER = """
const [how, files, text] = arguments, transfer = new DataTransfer();
for (const [name, data] of files) {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  transfer.items.add(new File([bytes], name, {type: "image/png"}));
}
if (text) transfer.setData("text/plain", text);
const facts = {bubbles: true, cancelable: true};
if (how === "paste") {
  document.body.dispatchEvent(new ClipboardEvent("paste", {...facts, clipboardData: transfer}));
  return true;
}
const at = document.querySelector("footer"), fire = (name) =>
  at.dispatchEvent(new DragEvent(name, {...facts, dataTransfer: transfer}));
fire("dragenter");
const lit = document.body.classList.contains("dropping"), taken = !fire("dragover");
return !fire("drop") && lit && taken;
"""


def hand_over(browser, how, files, words=""):
    packed = [[name, base64.b64encode(data).decode()] for name, data in files.items()]
    return browser.execute_script(HAND_OVER, how, packed, words)


def says(browser, sentence):
    """The answer, or whatever stands in its place."""

    def said():
        return " ".join(text(browser, "#said").split())

    until(lambda: said() == sentence, f"not {sentence!r}")


def bars(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('#bars .bar')].filter(b => b.checkVisibility())"
        ".map(b => { const m = b.querySelector('[role=meter]'); return ["
        "m.getAttribute('aria-label'), m.getAttribute('aria-valuetext'),"
        "Math.round(100 * m.firstChild.offsetWidth / m.offsetWidth)]; })"
    )


def table(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tr')].map(r => [...r.cells].map("
        "c => c.innerText.trim()).slice(1))"
    )


def posted(site, path="api/v1/classify"):
    return [body for where, _, body in site.asked if where == path]


# -- one photo -------------------------------------------------------------------------------------


def test_a_chosen_photo_gets_a_sentence_and_bars(browser, site, choose):
    assert browser.title == "Grizzly, black or teddy?"
    assert (seen(browser, "one"), seen(browser, "many"), seen(browser, "model-box")) == (False,) * 3
    data = photo("grizzly")
    choose({"wild one.png": data})
    says(browser, "Grizzly, quite sure.")
    until(lambda: [bar[2] for bar in bars(browser)] == [97, 2, 1], "the bars have other widths")
    assert [bar[:2] for bar in bars(browser)] == [
        ["grizzly", "97 %"], ["black", "2 %"], ["teddy", "1 %"],
    ]  # fmt: skip
    assert site.asked == [("api/v1/classify", {"model": "bears", "explain": "false"}, data)]
    image = browser.find_element(By.ID, "photo")
    until(lambda: image.get_property("naturalWidth") == 320, "no preview")
    assert image.get_attribute("alt") == "Your photo: wild one.png"
    assert not seen(browser, "wrong")  # this server stores nothing
    foot = text(browser, "footer")
    assert BEARS["figures"] in foot
    assert BEARS["limits"] in foot
    assert "Photos are not kept." in foot
    card = browser.find_element(By.ID, "card").get_attribute("href")
    assert card == site.url + "api/v1/models/bears/card"


@pytest.mark.long
@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_photo_that_is_handed_over(browser, site, how):
    data = photo("teddy")
    assert hand_over(browser, how, {"image.png": data})
    says(browser, "Teddy, quite sure.")
    assert posted(site) == [data]
    assert text(browser, "#name") == {"drop": "image.png", "paste": "pasted 1.png"}[how]
    assert "dropping" not in browser.find_element(By.TAG_NAME, "body").get_attribute("class")


@pytest.mark.long
def test_a_folder_that_is_dropped(browser, site, tmp_path):
    """As the system drops it: with all that lies in it."""
    (tmp_path / "trip" / "day").mkdir(parents=True)
    for n in range(3):
        (tmp_path / "trip" / "day" / f"{n}.png").write_bytes(photo("teddy", n))
    (tmp_path / "trip" / "notes.txt").write_bytes(b"#broken")
    for name in (".DS_Store", "day/._0.png", "day/Thumbs.db", "__MACOSX/x.png", "@eaDir/y.png"):
        (tmp_path / "trip" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "trip" / name).write_bytes(b"what a system leaves")
    data = {"items": [], "files": [str(tmp_path / "trip")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        what = {"type": kind, "x": 300, "y": 300, "data": data}
        browser.execute_cdp_cmd("Input.dispatchDragEvent", what)
    finished(browser, 4)
    assert sorted(row[:2] for row in table(browser)) == [
        ["0.png", "Teddy"], ["1.png", "Teddy"], ["2.png", "Teddy"], ["notes.txt", "No answer"],
    ]  # fmt: skip


@pytest.mark.long
def test_what_a_system_leaves_is_not_asked_about(browser, site, choose):
    hand_over(browser, "drop", {".DS_Store": b"x", "._a.png": b"x"})
    until(lambda: text(browser, "#note") == "There is no photo in what was dropped.", "not said")
    choose({"._b.png": b"x", "b.png": photo("teddy")})
    says(browser, "Teddy, quite sure.")
    assert len(site.asked) == 1


@pytest.mark.long
def test_what_is_no_photo_is_not_ignored(browser, site):
    assert hand_over(browser, "paste", {}, "some words")
    until(lambda: text(browser, "#note") == "The clipboard holds no picture.", "not said")
    hand_over(browser, "drop", {}, "https://example.org/bear.jpg")
    until(lambda: text(browser, "#note").startswith("That was not a file."), "not said")
    press(browser, Keys.ESCAPE)
    assert not seen(browser, "note-box")
    assert site.asked == []


def test_a_refused_photo_shows_no_bars(browser, choose):
    choose({"sofa.png": photo("refused")})
    says(browser, REFUSED)
    assert bars(browser) == []
    browser.find_element(By.CSS_SELECTOR, "#bars summary").click()
    assert [bar[0] for bar in bars(browser)] == ["black", "grizzly", "teddy"]


@pytest.mark.long
def test_a_close_call_keeps_its_bars(browser, choose):
    choose({"far.png": photo("close")})
    says(browser, CLOSE)
    assert [bar[1] for bar in bars(browser)] == ["47 %", "45 %", "8 %"]


def test_a_broken_file_is_a_sentence_and_stays(browser, choose):
    choose({"cut.png": b"\x89PNG#broken"})
    until(lambda: text(browser, "#trouble") == BROKEN, "no sentence")
    assert text(browser, "#said") == "No answer"
    assert text(browser, "#request") == "Request 0b5e"
    assert not seen(browser, "again")  # the same bytes would be refused again
    assert text(browser, "#name") == "cut.png"
    until(lambda: text(browser, "#unseen") == "This browser cannot show cut.png.", "no word")
    choose({"fine.png": photo("grizzly")})
    says(browser, "Grizzly, quite sure.")
    assert (seen(browser, "trouble-box"), seen(browser, "unseen")) == (False, False)


@pytest.mark.long
def test_a_huge_file_is_not_sent(browser, site, choose):
    site.bytes = 3000
    visit(browser, site)
    choose({"huge.png": bytes(3001)})
    until(lambda: "at most 0.0 MB" in text(browser, "#trouble"), "no sentence")
    assert site.asked == []


@pytest.mark.long
def test_a_photo_that_the_browser_cannot_show(browser, choose):
    choose({"IMG_1.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40) + b"#heic"})
    until(lambda: text(browser, "#trouble") == HEIC, "no sentence")
    until(lambda: text(browser, "#unseen") == "This browser cannot show IMG_1.heic.", "no word")
    assert not seen(browser, "photo")


@pytest.mark.long
def test_a_busy_server_is_asked_again(browser, site, choose):
    choose({"a.png": photo("busy 2")})
    until(lambda: text(browser, "#trouble") == BUSY, "not said")
    assert re.fullmatch(r"Trying again in [12] s\.", text(browser, "#countdown"))
    assert text(browser, "#again") == "Try now"
    says(browser, "Grizzly, quite sure.")
    assert len(posted(site)) == 3
    assert not seen(browser, "trouble-box")

    choose({"b.png": photo("busy")})
    until(lambda: text(browser, "#trouble") == BUSY, "not said")
    click(browser, "give-up")
    count = len(posted(site))
    until(lambda: text(browser, "#again") == "Try again", "no way on")
    assert (seen(browser, "again"), text(browser, "#countdown")) == (True, "")
    time.sleep(2.5)
    assert len(posted(site)) == count
    click(browser, "again")
    until(lambda: len(posted(site)) > count, "not asked again")


@pytest.mark.long
def test_a_lost_connection_is_a_sentence_and_a_second_try(browser, choose):
    choose({"a.png": photo("cut 1")})
    until(lambda: "The server does not answer." in text(browser, "#trouble"), "not said")
    assert seen(browser, "photo")
    click(browser, "again")
    says(browser, "Teddy, quite sure.")


@pytest.mark.long
def test_a_server_that_is_not_up_yet(browser, site, choose):
    site.down = True
    browser.get(site.url)
    until(lambda: text(browser, "#note") == "No models.", "not said")
    site.down = False
    click(browser, "note-again")
    until(lambda: text(browser, "#title") == BEARS["title"], "not up")
    choose({"a.png": photo("teddy")})
    says(browser, "Teddy, quite sure.")


@pytest.mark.long
def test_why_shows_the_maps(browser, site, choose):
    site.similar = lambda body: [
        {"label": "grizzly", "image": data_url(3), "about": "by A. Person, CC BY 4.0",
         "source": "https://example.org/1"},
        {"label": "black", "image": data_url(4), "about": "by <b>B</b>", "source": "javascript:1"},
        {"label": "teddy", "image": "https://example.org/tracker.png", "about": "", "source": ""},
    ]  # fmt: skip
    choose({"a.png": photo("grizzly")})
    says(browser, "Grizzly, quite sure.")
    click(browser, "why")
    pictures = until(lambda: browser.find_elements(By.CSS_SELECTOR, "#why-panel img"), "no maps")
    assert site.asked[-1][1] == {"model": "bears", "explain": "true"}
    assert [picture.get_attribute("alt") for picture in pictures] == [
        "The square that the model saw",
        "Where the photo speaks for grizzly, in orange, and against it, in blue",
        "Where the photo speaks for teddy, in orange, and against it, in blue",
        "Training photo labelled grizzly", "Training photo labelled black",
    ]  # fmt: skip
    until(lambda: all(p.get_property("naturalWidth") == 64 for p in pictures), "not shown")
    assert "Orange speaks for" in text(browser, "#why-panel")
    links = browser.find_elements(By.CSS_SELECTOR, "#why-panel a")
    assert [(a.text, a.get_attribute("href")) for a in links] == [
        ("by A. Person, CC BY 4.0", "https://example.org/1")
    ]
    assert "by <b>B</b>" in text(browser, "#why-panel")
    press(browser, Keys.ESCAPE)
    assert (seen(browser, "why-panel"), focused(browser)) == (False, "why")
    click(browser, "why")
    assert len(posted(site)) == 2  # what is known is not asked again


def test_a_correction_is_sent_by_its_button_only(browser, site, choose):
    site.corrections = True
    visit(browser, site)
    assert "unless you send one" in text(browser, "footer")
    data = photo("grizzly")
    choose({"a.png": data})
    says(browser, "Grizzly, quite sure.")
    click(browser, "wrong")
    panel = browser.find_element(By.ID, "wrong-panel")
    assert "will be stored on this server" in panel.text
    assert [one.text for one in panel.find_elements(By.CSS_SELECTOR, ".choice")] == [
        "Black", "Teddy", "None of these",
    ]  # fmt: skip
    send = panel.find_element(By.CSS_SELECTOR, "button.main")
    assert not send.is_enabled()  # nothing is chosen yet
    press(browser, Keys.ARROW_DOWN, Keys.ENTER, " ")
    panel.find_elements(By.CSS_SELECTOR, "input")[1].click()
    press(browser, Keys.ESCAPE)
    assert (panel.is_displayed(), focused(browser)) == (False, "wrong")
    assert posted(site, "api/v1/corrections") == []
    click(browser, "wrong")
    panel.find_elements(By.CSS_SELECTOR, "input")[2].click()
    panel.find_element(By.CSS_SELECTOR, "button.main").click()
    until(lambda: text(browser, "#thanks").startswith("Thank you."), "no thanks")
    sent = ("api/v1/corrections", {"model": "bears", "said": "grizzly", "right": "none"}, data)
    assert site.asked[1:] == [sent]
    assert not seen(browser, "wrong")


@pytest.mark.long
@pytest.mark.parametrize(
    ("word", "choices"),
    [("close", ["Black", "Grizzly", "Teddy", "None of these"]),
     ("refused", ["Black", "Grizzly", "Teddy"])],
)  # fmt: skip
def test_what_can_be_right_where_no_class_was_said(browser, site, choose, word, choices):
    site.corrections = True
    visit(browser, site)
    choose({"a.png": photo(word)})
    until(lambda: seen(browser, "wrong"), "no answer")
    click(browser, "wrong")
    found = browser.find_elements(By.CSS_SELECTOR, "#wrong-panel .choice")
    assert [one.text for one in found] == choices
    found[0].click()
    browser.find_element(By.CSS_SELECTOR, "#wrong-panel button.main").click()
    until(lambda: text(browser, "#thanks").startswith("Thank you."), "no thanks")
    assert site.asked[-1][1] == {"model": "bears", "right": "black"}  # it had said none


@pytest.mark.long
def test_a_photo_from_the_camera(browser, site):
    click(browser, "camera")
    shoot = browser.find_element(By.ID, "shoot")
    until(lambda: shoot.is_enabled() and focused(browser) == "shoot", "no picture")
    shoot.click()
    says(browser, "Black, quite sure.")  # a JPEG, without a word at its end
    assert posted(site)[0][:3] == b"\xff\xd8\xff"
    live = "return document.getElementById('video').srcObject"
    until(lambda: browser.execute_script(live) is None, "the camera is still on")
    click(browser, "camera")
    press(browser, Keys.ESCAPE)
    assert not seen(browser, "camera-box")
    assert seen(browser, "one")


@pytest.mark.long
def test_another_model_answers_anew(browser, site, choose):
    site.models = [BEARS, FRUIT]
    visit(browser, site)
    choose({"a.png": photo("grizzly")})
    says(browser, "Grizzly, quite sure.")
    Select(browser.find_element(By.ID, "model")).select_by_value("fruit")
    until(lambda: len(site.asked) == 2, "not asked")
    assert site.asked[1][1]["model"] == "fruit"
    assert text(browser, "#title") == "Apple or pear?"
    assert browser.find_element(By.ID, "card").get_attribute("href").endswith("/fruit/card")


@pytest.mark.long
def test_models_of_the_same_classes_are_told_apart(browser, site):
    site.models = [BEARS, {**BEARS, "name": "starter"}, FRUIT]
    visit(browser, site)
    until(lambda: seen(browser, "model-box"), "no choice")
    shown = [option.text for option in Select(browser.find_element(By.ID, "model")).options]
    title = BEARS["title"]
    assert shown == [f"bears: {title}", f"starter: {title}", FRUIT["title"]]


# -- many photos -----------------------------------------------------------------------------------

MANY = {
    "one.png": photo("grizzly", 1), "two, with \"quotes\".png": photo("black", 2),
    "=cmd|'x'!A1.png": photo("refused", 3), "+4.png": b"not a picture#broken",
    "ähnlich.png": photo("busy 1", 5), "six.png": photo("close", 6),
}  # fmt: skip


def finished(browser, count):
    until(lambda: text(browser, "#way-text").startswith(f"All {count} done"), "not finished")


def test_many_photos_fill_a_table(browser, site, choose):
    choose(MANY)
    until(lambda: "The server is busy; this page waits" in text(browser, "#way-text"), "not said")
    finished(browser, 6)
    shown = [[cell.replace("\n", " ") for cell in row] for row in table(browser)]
    assert shown == [
        ["one.png", "Grizzly", "97 %", ""],
        ['two, with "quotes".png', "Black", "97 %", ""],
        ["=cmd|'x'!A1.png", "None of these", "", REFUSED],
        ["+4.png", "No answer", "", BROKEN],
        ["ähnlich.png", "Grizzly", "97 %", ""],
        ["six.png", "Undecided", "", CLOSE],
    ]
    assert site.most_at_once <= 2
    assert Counter(posted(site)) == Counter(list(MANY.values()) + [MANY["ähnlich.png"]])
    canvases = browser.find_elements(By.CSS_SELECTOR, "#rows canvas")
    assert len(canvases) == 5  # the sixth cannot be drawn, and says so
    counts = "2 grizzly, 1 black, 1 none of these, 1 without an answer, 1 undecided"
    until(lambda: text(browser, "#status-text") == f"All 6 done: {counts}.", "not told in short")

    browser.find_elements(By.CSS_SELECTOR, "#rows tr")[2].click()
    says(browser, REFUSED)
    assert (text(browser, "#place"), focused(browser)) == ("3 of 6", "back")
    click(browser, "later")
    until(lambda: text(browser, "#trouble") == BROKEN, "the next is not shown")
    browser.back()
    until(lambda: seen(browser, "many"), "the browser's Back does not lead to the table")
    browser.find_element(By.CSS_SELECTOR, "#rows tr:nth-child(5) button").send_keys(Keys.ENTER)
    says(browser, "Grizzly, quite sure.")
    press(browser, Keys.ESCAPE)
    until(lambda: seen(browser, "many"), "Escape does not lead to the table")
    assert browser.execute_script("return document.activeElement.title") == "ähnlich.png"
    assert len(posted(site)) == 7  # looking at an answer asks nobody


@pytest.mark.long
def test_the_table_as_csv(browser, choose, tmp_path):
    choose(MANY)
    finished(browser, 6)
    folder = tmp_path / "downloads"
    where = {"behavior": "allow", "downloadPath": str(folder)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    click(browser, "csv")
    path = folder / "bears.csv"
    until(path.exists, "no file")
    data = until(path.read_bytes, "empty file")
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == data.count(b"\n") == 7
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert rows == [
        ["photo", "answer", "confidence", "accepted", "reason", "remark", "probability of black",
         "probability of grizzly", "probability of teddy"],
        ["one.png", "grizzly", "0.972", "yes", "ok", "Grizzly, quite sure.", "0.02", "0.972",
         "0.008"],
        ['two, with "quotes".png', "black", "0.972", "yes", "ok", "Black, quite sure.", "0.972",
         "0.02", "0.008"],
        ["'=cmd|'x'!A1.png", "none of these", "0.972", "no", "unlike_training", REFUSED, "0.972",
         "0.02", "0.008"],
        ["'+4.png", "", "", "", "TRUNCATED", BROKEN, "", "", ""],
        ["ähnlich.png", "grizzly", "0.972", "yes", "ok", "Grizzly, quite sure.", "0.02", "0.972",
         "0.008"],
        ["six.png", "undecided", "0.47", "no", "too_close", CLOSE, "0.47", "0.45", "0.08"],
    ]  # fmt: skip


@pytest.mark.long
def test_a_list_can_be_stopped_and_goes_on(browser, site, choose):
    choose({f"{n}.png": photo("slow", n) for n in range(5)})
    until(lambda: len(posted(site)) == 2, "not asked")
    click(browser, "stop")
    until(lambda: text(browser, "#way-text").startswith("Stopped: 0 of 5 done."), "not stopped")
    site.gate.set()
    time.sleep(0.3)
    assert (len(posted(site)), site.most_at_once) == (2, 2)
    assert text(browser, "#stop") == "Continue"
    click(browser, "stop")
    finished(browser, 5)
    assert [row[1] for row in table(browser)] == ["Grizzly"] * 5
    click(browser, "clear")
    assert (seen(browser, "many"), focused(browser), table(browser)) == (False, "zone", [])


@pytest.mark.long
def test_what_failed_in_a_list_can_be_tried_again(browser, choose):
    choose({"a.png": photo("cut 1", 1), "b.png": b"#broken", "c.png": photo("cut 1", 2)})
    finished(browser, 3)
    assert text(browser, "#retry") == "Try 2 again"
    click(browser, "retry")
    expected = ["Teddy", "No answer", "Teddy"]
    until(lambda: [row[1] for row in table(browser)] == expected, "not tried")
    assert not seen(browser, "retry")


@pytest.mark.long
def test_more_photos_than_the_server_allows(browser, site, choose):
    site.photos = 3
    visit(browser, site)
    choose({f"{n}.png": photo("teddy", n) for n in range(5)})
    finished(browser, 3)
    note = "At most 3 photos at a time: 2 photos of 5 are left out."
    assert text(browser, "#note").startswith(note)
    assert len(posted(site)) == 3


@pytest.mark.long
def test_photos_that_come_later_join_the_list(browser, choose):
    choose({"a.png": photo("teddy", 1)})
    says(browser, "Teddy, quite sure.")
    assert not seen(browser, "among")
    choose({"b.png": photo("black", 2)})
    says(browser, "Black, quite sure.")
    assert text(browser, "#place") == "2 of 2"
    click(browser, "back")
    assert [row[:2] for row in table(browser)] == [["a.png", "Teddy"], ["b.png", "Black"]]


# -- for hands, ears and phones --------------------------------------------------------------------

COUNT_CLICKS = """
document.getElementById("files").addEventListener("click", (event) => {
  event.preventDefault(); window.opened = (window.opened || 0) + 1; });
"""


def tab_order(browser, most=30):
    """Ids of what Tab reaches, from the top of the page until it starts again."""
    browser.execute_script("document.body.tabIndex = -1; document.body.focus();"
                           "document.body.removeAttribute('tabindex')")  # fmt: skip
    reached = []
    for _ in range(most):
        press(browser, Keys.TAB)
        name = browser.execute_script(
            "const e = document.activeElement; return e === document.body ? '' : "
            "e.id || e.value || e.title || e.innerText")  # fmt: skip
        if not name or name in reached:
            break
        reached.append(name)
    return reached


def test_by_keyboard_alone(browser, site, choose):
    site.models, site.corrections = [BEARS, FRUIT], True
    visit(browser, site)
    assert tab_order(browser) == ["model", "zone", "camera", "card"]
    browser.execute_script(COUNT_CLICKS)
    zone = browser.find_element(By.ID, "zone")
    for number, key in enumerate((Keys.ENTER, " "), 1):
        zone.send_keys(key)
        assert browser.execute_script("return window.opened") == number
    outline = [zone.value_of_css_property(f"outline-{part}") for part in ("style", "width")]
    assert outline == ["solid", "3px"]
    choose({"a.png": photo("teddy")})
    says(browser, "Teddy, quite sure.")
    assert tab_order(browser) == ["model", "zone", "camera", "why", "wrong", "share", "card"]
    browser.find_element(By.ID, "wrong").send_keys(Keys.ENTER)
    press(browser, " ")
    assert tab_order(browser)[5:] == [
        "share",
        "black",
        "Send and store the photo",
        "Cancel",
        "card",
    ]
    choose({"b.png": photo("black", 1), "c.png": b"#broken"})
    finished(browser, 3)
    assert tab_order(browser) == [
        "model", "zone", "camera", "csv", "clear", "a.png", "b.png", "c.png", "card",
    ]  # fmt: skip


def test_for_ears(browser, choose):
    """Landmarks, live regions that change and are not replaced, names and texts for everything."""
    said = browser.execute_script("return document.getElementById('said')")
    trouble = browser.execute_script("return document.getElementById('trouble')")
    assert (said.get_attribute("aria-live"), trouble.get_attribute("role")) == ("polite", "alert")
    browser.execute_script(
        "window.heard = []; for (const id of ['said', 'trouble']) new MutationObserver(() =>"
        " heard.push(document.getElementById(id).textContent)).observe(document.getElementById(id),"
        " {childList: true, characterData: true, subtree: true})"
    )
    choose({"a.png": photo("grizzly")})
    says(browser, "Grizzly, quite sure.")
    choose({"b.png": b"#broken"})
    until(lambda: text(browser, "#trouble") == BROKEN, "no sentence")
    heard = [words for words in browser.execute_script("return heard") if words]
    assert heard == ["Looking", "Grizzly, quite sure.", "Looking", BROKEN, "No answer"] or (
        heard == ["Looking", "Grizzly, quite sure.", "Looking", "No answer", BROKEN]
    )
    for tag in ("header", "main", "footer", "h1"):
        assert len(browser.find_elements(By.CSS_SELECTOR, f"body > {tag}, header {tag}")) == 1, tag
    click(browser, "back")
    needy = "button, select, canvas, progress, [role=meter], [role=img], section, table"
    shown = [e for e in browser.find_elements(By.CSS_SELECTOR, needy) if e.is_displayed()]
    assert [e.get_attribute("outerHTML") for e in shown if not e.accessible_name] == []
    cells = browser.find_elements(By.CSS_SELECTOR, "th, #rows tr, #rows td")
    roles = [one.aria_role for one in cells]
    assert Counter(roles) == {"columnheader": 5, "row": 2, "cell": 10}


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92
  : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
const below = (e) => { for (; e; e = e.parentElement) {
  const c = rgba(getComputedStyle(e).backgroundColor); if (c[3]) return c; }
  return [255, 255, 255]; };
const faint = [], speaks = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
for (const e of document.querySelectorAll("body *")) {
  if (!speaks(e) || !e.checkVisibility() || e.closest(":disabled")) continue;
  const [a, b] = [light(rgba(getComputedStyle(e).color)), light(below(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) faint.push(`${e.outerHTML}: ${ratio.toFixed(2)}`);
}
return faint;
"""


def states(browser, site, choose):
    """The page in each of its states, one after the other."""
    yield "empty"
    choose({"a rather long name of a photo, as cameras and people give them.png": photo("grizzly")})
    says(browser, "Grizzly, quite sure.")
    click(browser, "why")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#why-panel img"), "no maps")
    yield "why"
    click(browser, "wrong")
    yield "wrong"
    choose({"b.png": photo("refused", 1)})
    says(browser, REFUSED)
    browser.find_element(By.CSS_SELECTOR, "#bars summary").click()
    yield "refused"
    choose({"c.png": photo("busy", 2)})
    until(lambda: text(browser, "#trouble") == BUSY, "not said")
    yield "busy"
    click(browser, "give-up")
    choose(MANY)
    finished(browser, 9)
    hand_over(browser, "paste", {}, "words")
    yield "many"


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_in_both_lights(browser, site, choose, scheme):
    site.corrections, site.models = True, [BEARS, FRUIT]
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"}]  # fmt: skip
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        visit(browser, site)
        for state in states(browser, site, choose):
            wide = "return Math.max(document.documentElement.scrollWidth, innerWidth)"
            assert browser.execute_script(wide) == 360, state
            assert browser.execute_script(CONTRAST) == [], state
            moving = "return document.getAnimations().map((a) => a.animationName)"
            assert browser.execute_script(moving) == [], state
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_texts_of_strangers_stay_texts(browser, site, choose):
    evil = "<img src=x onerror=\"document.title='broken'\">"
    site.models = [{**BEARS, "title": evil, "labels": [*LABELS, evil], "figures": evil}, FRUIT]
    visit(browser, site)
    hand_over(browser, "drop", {f"{evil}.png": photo("teddy"), "b.png": b"#broken"})
    finished(browser, 2)
    assert table(browser)[0][0] == f"{evil}.png"
    assert browser.title == evil
    assert browser.find_elements(By.CSS_SELECTOR, "img[onerror]") == []


@pytest.mark.long
def test_with_the_service_itself(driver, model_dir, tmp_path):
    """The one test without the canned answers: page and service keep the same contract."""
    with Serving(model_dir, tmp_path / "service") as service:
        driver.get("about:blank")
        driver.get_log("browser")
        driver.get(f"http://127.0.0.1:{service.port}/")
        until(lambda: text(driver, "#figures").startswith("Wrong on"), "the page is not up")
        (tmp_path / "photo.png").write_bytes(golden.draw_picture(1)[1])
        (tmp_path / "cut.jpg").write_bytes(golden.draw_picture(0)[1][:900])
        driver.find_element(By.ID, "files").send_keys(str(tmp_path / "photo.png"))
        model = Model(load(model_dir))
        says(driver, messages.answer_sentence(model.predict(tmp_path / "photo.png")))
        click(driver, "why")
        maps = "#why-panel .maps img"
        until(lambda: len(driver.find_elements(By.CSS_SELECTOR, maps)) == 4, "not four pictures")
        driver.find_element(By.ID, "files").send_keys(str(tmp_path / "cut.jpg"))
        until(lambda: "download or copy it again" in text(driver, "#trouble"), "no sentence")
        click(driver, "back")
        assert [row[0] for row in table(driver)] == ["photo.png", "cut.jpg"]
        lines = [entry["message"] for entry in driver.get_log("browser")]
        assert [line for line in lines if "Content Security" in line or "Uncaught" in line] == []
