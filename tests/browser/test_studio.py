"""The studio's pages as a person uses them, in headless Chromium, against canned answers."""

from __future__ import annotations

import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import studio_site
from corpus import drawn, saved
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from studio_site import LABELS, Site, empty, filled, job, learned
from test_page import start_browser
from waiting import until

from bear_classifier.web.static_files import files_of_page

pytestmark = pytest.mark.browser
T = TypeVar("T")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = start_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def site(browser: webdriver.Chrome) -> Iterator[Site]:
    made = Site()
    yield made
    browser.get("about:blank")
    made.close()


def visit(browser: webdriver.Chrome, site: Site, step: str = "photos") -> None:
    browser.get("about:blank")  # an address that differs in its hash only would not be loaded
    browser.get(f"{site.url}#p={site.state['id']}&step={step}" if step else site.url)
    until(lambda: browser.find_elements(By.TAG_NAME, "h1"), "the page did not come up")


def shows(browser: webdriver.Chrome, *words: str, place: str = "body") -> None:
    """Waits until these words can be seen there."""

    def all_there() -> bool:
        found = browser.execute_script(
            "return document.querySelector(arguments[0])?.innerText || ''", place
        )
        return all(part in re.sub(r"\s+", " ", found) for part in words)

    until(all_there, f"{words} are not shown")


def press(browser: webdriver.Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def tab_to(browser: webdriver.Chrome, css: str) -> None:
    """Press the tabulator until that element has the focus."""
    at = "return document.activeElement.matches(arguments[0])"
    for _ in range(60):
        if browser.execute_script(at, css):
            return
        press(browser, Keys.TAB)
    raise AssertionError(f"the tabulator does not reach {css}")


def act(browser: webdriver.Chrome, by: str, what: str, deed: Callable[[WebElement], T]) -> T:
    """Do something with the first that is found; found again if a new state of the project drew it
    anew between the two."""
    done: list[T] = []

    def tried() -> list[T]:
        with suppress(StaleElementReferenceException):
            done.extend(deed(found) for found in browser.find_elements(by, what)[:1])
        return done

    return until(tried, f"no {what}")[0]


def button(browser: webdriver.Chrome, words: str) -> None:
    def press_it(found: WebElement) -> None:
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        found.click()

    path = f"//button[normalize-space()='{words}' or @aria-label='{words}']"
    act(browser, By.XPATH, path, press_it)


def photo_files(folder: Path, n: int) -> list[Path]:
    data = saved(drawn(32, 32, seed=1), "PNG")
    paths = [folder / f"photo {k}.png" for k in range(n)]
    for k, path in enumerate(paths):
        path.write_bytes(data + bytes([k]))
    return paths


def choose(browser: webdriver.Chrome, label: str, paths: list[Path]) -> None:
    css = f"[data-label='{label}'] input[type=file]"
    act(browser, By.CSS_SELECTOR, css, lambda field: field.send_keys("\n".join(map(str, paths))))


def test_a_project_is_made_and_every_step_reached_by_keys(
    browser: webdriver.Chrome, site: Site
) -> None:
    site.projects = []
    visit(browser, site, "")
    shows(browser, "Teach a computer", "Only this computer reaches this page.")
    tab_to(browser, "[data-focus=new]")
    press(browser, Keys.ENTER)
    shows(browser, "What shall it tell apart?")
    tab_to(browser, ".adder input")
    press(browser, "red panda, black bear", Keys.ENTER)
    shows(browser, "red panda", "black bear")
    queries = "return document.querySelector('#queries-1')?.value"
    until(lambda: "," in (browser.execute_script(queries) or ""))
    name = browser.find_element(By.ID, "project-name").get_attribute("value")
    tab_to(browser, "[data-focus=create]")
    press(browser, Keys.ENTER)
    shows(browser, "Photos of each class", "red panda")
    assert site.asked[0] == (
        "api/projects",
        {"name": name, "begin": "empty", "classes": {
            label: [label, f"{label} close up"] for label in ("red panda", "black bear")}},
    )  # fmt: skip
    for step, title in (("learn", "Learn"), ("clean", "Clean"), ("publish", "Publish")):
        tab_to(browser, f"#rail [data-focus={step}]")
        press(browser, Keys.ENTER)
        shows(browser, title, place="h1")
        browser.execute_script("document.activeElement.blur()")


def test_files_go_three_at_a_time_and_each_refusal_is_named(
    browser: webdriver.Chrome, site: Site, tmp_path: Path
) -> None:
    site.refuse = lambda label, name: (
        (415, "UNSUPPORTED", "This file is cut off.") if name == "photo 4.png" else None
    )
    site.meet = threading.Barrier(3)
    visit(browser, site)
    choose(browser, "teddy", [*photo_files(tmp_path, 12), Path(__file__)])
    shows(browser, "1 file could not be used.", "photo 4.png", "This file is cut off.",
          "1 file is no photo by its name: test_studio.py", place="[data-label=teddy]")  # fmt: skip
    until(lambda: len(site.stored) == 11)
    assert {label for label, _, _ in site.stored} == {"teddy"}
    assert site.most_at_once == 3
    shows(browser, "received", place="[data-label=teddy]")
    shows(browser, "Nothing is running.", place="#jobbar")  # and nothing is on its way
    site.state["photos"]["by_class"]["teddy"]["usable"] = 11
    site.push()  # the studio has taken them in: its own pictures take the place of the files
    shows(browser, "11 photos", place="[data-label=teddy]")
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, "[data-label=teddy] .waiting figure"))


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (507, "DISK_FULL", "The disk is full; nothing of this file is kept. Free some space."),
        (401, "NO_TOKEN", "this studio asks for its token"),
    ],
)
def test_files_that_all_meet_a_refusal_wait_and_are_sent_again(
    browser: webdriver.Chrome, site: Site, tmp_path: Path, status: int, code: str, words: str
) -> None:
    """Of the disk, or of a new password: none of them is given up."""
    site.refuse = lambda label, name: (status, code, words)
    visit(browser, site)
    choose(browser, "black", photo_files(tmp_path, 5))
    shows(browser, f"5 files are not sent yet: {words}")
    assert len(site.stored) == 0
    leaves = "const e = new Event('beforeunload', {cancelable: true}); dispatchEvent(e); return e"
    assert browser.execute_script(f"{leaves}.defaultPrevented")
    site.refuse = lambda label, name: None
    button(browser, "Send them now")
    until(lambda: len(site.stored) == 5)
    shows(browser, "Nothing is running.")
    assert not browser.execute_script(f"{leaves}.defaultPrevented")


def test_the_page_says_what_is_happening_and_that_the_studio_is_gone(
    browser: webdriver.Chrome, site: Site
) -> None:
    site.push(filled())
    visit(browser, site, "learn")
    shows(browser, "Nothing is running.", place="#jobbar")
    shows(browser, "The first model takes about 1 minute for 300 photos on two cores.")
    button(browser, "Learn")
    until(lambda: len(site.asked) == 2)
    (_, first), (_, second) = site.asked
    assert (first["kind"], second["kind"], second["after"]) == ("learn", "train", "learn-1")
    assert first["request"] != second["request"]
    bar = {
        "name": "train",
        "n": 84,
        "total": 300,
        "unit": "photos",
        "words": "",
        "left_seconds": 130,
    }
    stages = [{"name": "train", "state": "begun", "seconds": None, "text": ""}]
    epochs = [{"epoch": k, "epochs": 5, "error": 0.16 - 0.04 * k} for k in (1, 2)]
    site.push(
        {
            **filled(),
            "jobs": [job("train", bar=bar, epochs=epochs, stages=stages), job("report", "waiting")],
        }
    )
    now = "Fine-tuning the network · going over the photos again and again · 84 of 300 photos"
    shows(browser, now, "about 2 minutes left of this part", "Then: report.", place="#jobbar")
    shows(browser, "8.0%", place=".chart, .curve")
    site.lose(True)
    gone = "The studio does not answer. What it confirmed is kept"
    shows(browser, gone, "You see how things stood at", place="#jobbar")
    site.lose(False)
    button(browser, "Try now")
    shows(browser, "Fine-tuning the network", place="#jobbar")
    button(browser, "Stop")
    until(lambda: site.asked[-1][0] == "api/jobs/train-1/cancel")
    sentence = "The disk is full: 12 MB are needed."
    site.push(
        {
            **filled(),
            "jobs": [job("train", "failed", error={"code": "DISK_FULL", "sentence": sentence})],
        }
    )
    shows(browser, "The fine-tuning failed", sentence, place="#jobbar")
    took = {**filled(), "jobs": [job("learn", "done"), job("train", "done")]}
    took["jobs"][1]["ended"] += 60
    site.push(took)
    shows(browser, "Nothing is running. Last: fine-tuning, done", place="#jobbar")
    shows(browser, "takes about 1 minute, as last time", "for about 2 minutes, as last time")


def test_two_tabs_show_the_same(browser: webdriver.Chrome, site: Site) -> None:
    visit(browser, site, "learn")
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        visit(browser, site, "publish")
        site.push(learned())
        shows(
            browser,
            "wrong on 4.4% of the photos (95% interval 1.2% to 14.9%), measured on 45 photos",
        )
        browser.switch_to.window(first)
        shows(browser, "The fine-tuned model is wrong on", "4.4%", "1.2% to 14.9% (95% interval)",
              "Measured on 45 photos that were set aside")  # fmt: skip
    finally:
        for other in set(browser.window_handles) - {first}:
            browser.switch_to.window(other)
            browser.close()
        browser.switch_to.window(first)


def test_the_camera_takes_photos_while_the_button_is_held(
    browser: webdriver.Chrome, site: Site
) -> None:
    visit(browser, site)
    button(browser, "Camera for photos of teddy")
    shoot = until(lambda: browser.find_elements(By.CSS_SELECTOR, "#camera-shoot:enabled"))[0]
    ActionChains(browser).click_and_hold(shoot).perform()
    until(lambda: len(site.stored) >= 3, "no three photos")
    ActionChains(browser).release().perform()
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#camera-shoot:not(.held)"))
    taken = int(browser.find_element(By.ID, "camera-count").text.split()[0])
    seen = "return document.getElementById('camera-video').currentTime"
    later = browser.execute_script(seen) + 0.6  # seconds of the camera, enough for three photos
    until(lambda: browser.execute_script(seen) > later, "the camera stands still")
    assert int(browser.find_element(By.ID, "camera-count").text.split()[0]) == taken
    until(lambda: len(site.stored) == taken, "a photo was taken after the button was let go")
    assert {label for label, _, _ in site.stored} == {"teddy"}
    sizes = browser.execute_script(
        "const c = document.querySelector('#camera-last canvas'); return [c.width, c.height]"
    )
    assert max(sizes) <= 640
    press(browser, Keys.ESCAPE)
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, "#camera[open]"))


def test_a_search_may_be_for_one_class(browser: webdriver.Chrome, site: Site) -> None:
    """From its column, whose button chooses it; the choice outlives new states."""
    visit(browser, site)
    button(browser, "Search for photos of teddy")
    assert browser.switch_to.active_element.get_attribute("id") == "only-class"
    shows(browser, "up to 100 photos of teddy; those that earlier searches found count")
    site.push(filled(50))
    shows(browser, "150 photos of 3 classes")
    shows(browser, "up to 100 photos of teddy")
    button(browser, "Search for photos")
    until(lambda: site.asked, "nothing was asked")
    path, body = site.asked[-1]
    assert path.endswith("/jobs")
    assert (body["kind"], body["only_class"], body["per_class"]) == ("search", "teddy", 100)


def test_one_may_begin_from_drawings(browser: webdriver.Chrome, site: Site) -> None:
    browser.get("about:blank")
    browser.get(f"{site.url}#step=new")
    until(lambda: browser.find_elements(By.ID, "by-bears"))
    button(browser, "Begin from drawn bears")
    shows(browser, "Photos of each class")
    assert site.asked[0] == ("api/projects", {"begin": "drawn"})
    assert site.asked[1][1]["kind"] == "draw"


def test_letters_take_the_keyboard_into_the_review_page(
    browser: webdriver.Chrome, site: Site
) -> None:
    """Without deciding anything; in a field they are typed."""
    site.push(learned())
    visit(browser, site, "clean")
    until(lambda: browser.find_elements(By.CSS_SELECTOR, ".frame iframe"))
    at = "return document.activeElement.tagName"
    browser.execute_script("document.getElementById('main').focus()")
    press(browser, Keys.ARROW_DOWN)
    assert browser.execute_script(at) == "MAIN"
    press(browser, "d")
    until(lambda: browser.execute_script(at) == "IFRAME", "the review page does not have the keys")
    assert not [one for one in site.asked if "decide" in one[0]]
    browser.execute_script("location.hash = location.hash.replace('=clean', '=publish')")
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, ".frame iframe"))
    press(browser, "d")
    assert browser.execute_script(at) == "MAIN"


def test_a_second_look_opens_the_review_page_anew(browser: webdriver.Chrome, site: Site) -> None:
    """Whose order is another one then; a decision leaves it open."""
    state = learned()
    site.push(state)
    visit(browser, site, "clean")
    act(browser, By.CSS_SELECTOR, ".frame iframe", lambda frame: mark(browser, frame))
    state["decisions_since"] = 6
    site.push(state)
    shows(browser, "6 decisions since the last training")
    assert browser.find_elements(By.CSS_SELECTOR, "iframe.marked")
    state["suspects"] = state["suspects"] | {"looks": 2, "can_look_again": False, "waiting": 14}
    site.push(state)
    shows(browser, "14 photos wait to be looked at")
    assert not browser.find_elements(By.CSS_SELECTOR, "iframe.marked")
    assert browser.find_elements(By.CSS_SELECTOR, ".frame iframe")


def mark(browser: webdriver.Chrome, found: WebElement) -> None:
    browser.execute_script("arguments[0].className = 'marked'", found)


def test_no_step_scrolls_sideways_on_a_phone(browser: webdriver.Chrome, site: Site) -> None:
    """With long names, too, and without an error in the console."""
    state = learned()
    state["advice"][0]["sentence"] = "Grizzlybaer" * 9
    state["title"] = "a-name-of-a-project-that-is-as-long-as-it-may-be-64-letters-long"
    site.push(state)
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for step in ("", "name", "photos", "learn"):
            visit(browser, site, step)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 390, step
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_twenty_thousand_photos_are_asked_for_page_by_page(
    browser: webdriver.Chrome, site: Site
) -> None:
    state = filled(7000)
    site.push(state)
    visit(browser, site)
    shows(browser, "21 000 photos of 3 classes", "1 to 16 of 7 003")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".column img")) <= 4 * 16
    button(browser, "Later photos of teddy")
    shows(browser, "17 to 32 of 7 003", place="[data-label=teddy]")
    assert browser.switch_to.active_element.get_attribute("aria-label") == "Later photos of teddy"


def test_the_commands_can_be_seen(browser: webdriver.Chrome, site: Site) -> None:
    words = "bears run --project bears.toml --set train.epochs=0"
    row = {"at": studio_site.NOW, "cwd": "/home/ann/my photos", "state": "done", "command": words}
    site.commands = [row]
    visit(browser, site)
    button(browser, "Show the commands")
    shows(browser, words, "In the folder /home/ann/my photos", place="#drawer")
    press(browser, Keys.ESCAPE)


def test_the_pages_set_texts_as_texts_and_name_no_other_host() -> None:
    files = files_of_page(studio_site.STATIC)
    assert {"parts.js", "base.css", "studio.js", "steps/photos.js", "index.html"} <= set(files)
    for name, path in files.items():
        text = path.read_text(encoding="utf-8")
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, name
        own = text.replace("http://www.w3.org/", "")
        assert re.findall(r"https?://[a-z]", own) == [], name
        assert re.findall(r"""(?:href|src|from|ask\()\s*[=(]?\s*["'`]/""", own) == [], name


def test_classes_are_read_from_folders(browser: webdriver.Chrome, site: Site) -> None:
    """One shared folder on top, splits, known classes anywhere, and files without a folder."""
    visit(browser, site)
    cases = [
        (["bears/grizzly/1.jpg", "bears/teddy/2.jpg"], [], ["grizzly", "teddy"]),
        (["grizzly/1.jpg", "teddy/2019/2.jpg", "3.jpg"], [], ["grizzly", "teddy", ""]),
        (["set/train/black/1.jpg", "set/valid/black/2.jpg"], [], ["black", "black"]),
        (["phone/Black/day 1/1.jpg", "phone/other/2.jpg"], LABELS, ["black", "other"]),
    ]
    work = """const [cases, done] = arguments;
    import("./dropped.js").then(({ classesOf }) =>
      done(cases.map(([paths, known]) => classesOf(paths.map((p) => p.split("/")), known))))"""
    found = browser.execute_async_script(work, [[paths, known] for paths, known, _ in cases])
    assert found == [wanted for _, _, wanted in cases]


def test_an_empty_project_says_what_is_needed(browser: webdriver.Chrome, site: Site) -> None:
    site.push(empty())
    visit(browser, site, "learn")
    shows(browser, "Photos come first", "3 classes have no photos yet")
    act(browser, By.CSS_SELECTOR, "[data-focus=add]", WebElement.click)
    shows(browser, "No photos yet.", "black has no photo yet; 10 are needed")


def test_too_few_photos_are_said_before_anything_is_begun(
    browser: webdriver.Chrome, site: Site
) -> None:
    state = filled(4)
    few = "teddy has 4 photos; 10 are needed to learn: add 6 more."
    action = {"words": "Add 6", "step": "photos", "label": "teddy"}
    state["advice"] = [{"step": "photos", "level": "warn", "sentence": few, "action": action}]
    site.push(state)
    visit(browser, site, "learn")
    shows(browser, "Too few photos to learn from", few)
    assert not browser.find_elements(By.XPATH, "//button[.='Learn']")


def test_a_project_from_a_zip_file(browser: webdriver.Chrome, site: Site, tmp_path: Path) -> None:
    """The page says what is in it before it is sent, and that a file is none."""
    with zipfile.ZipFile(tmp_path / "bears.zip", "w") as archive:
        for name in ("a/grizzly/1.jpg", "a/grizzly/2.JPG", "a/teddy/3.png", "a/teddy/read.txt",
                     "__MACOSX/a/teddy/._3.png", "a/.DS_Store"):  # fmt: skip
            archive.writestr(name, name * 99)
    (tmp_path / "not.zip").write_bytes(b"x" * 999)
    browser.get("about:blank")
    browser.get(f"{site.url}#step=new")
    css = "input[accept='.zip']"
    act(browser, By.CSS_SELECTOR, css, lambda one: one.send_keys(str(tmp_path / "not.zip")))
    shows(browser, "not.zip is not a zip file, or only a part of one.")
    act(browser, By.CSS_SELECTOR, css, lambda one: one.send_keys(str(tmp_path / "bears.zip")))
    shows(browser, "Found 2 of grizzly and 1 of teddy.")
    button(browser, "Create the project")
    shows(browser, "Photos of each class")
    assert site.asked == [("api/from-zip", {"zip": (tmp_path / "bears.zip").stat().st_size})]
