"""The studio's pages when something is in the way: buttons under a moving bar, jobs that failed,
uploads that wait, a studio that falls silent."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from studio_site import LABELS, NOW, Site, filled, job, learned
from test_studio import act, browser, button, choose, photo_files, press, shows, site, visit
from waiting import until

pytestmark = pytest.mark.browser
__all__ = ["browser", "site"]  # the fixtures


def at_work(n: int) -> dict[str, object]:
    """A training whose bar is at n."""
    state = filled(50 + n)
    bar = {"name": "train", "n": n, "total": 300, "unit": "photo", "left_seconds": 40.0}
    state["jobs"] = [job("train", bar=bar)]
    return state


@pytest.mark.parametrize("place", ["#jobbar", "main"])
def test_a_button_under_a_moving_bar_can_be_pressed(
    browser: webdriver.Chrome, site: Site, place: str
) -> None:
    """Its element stays while it is held down, though new states come; the bar moves on after."""
    site.push(at_work(1))
    visit(browser, site, "learn")
    path = f"//*[self::main or self::footer][{'@id' if place[0] == '#' else 'self::main and @id'}"
    path += f"='{place.lstrip('#')}']//button[.='Stop']"
    act(browser, By.XPATH, path, lambda one: ActionChains(browser).click_and_hold(one).perform())
    for n in range(2, 6):
        site.push(at_work(n))
        shows(browser, f"{3 * (50 + n)} photos", place="#rail")  # the state has come
    ActionChains(browser).release().perform()
    until(lambda: site.asked, "the click was lost")
    assert site.asked[0][0] == "api/jobs/train-1/cancel"
    shows(browser, "5 of 300 photos", place=place)


def test_what_went_wrong_stays_beside_a_button_that_is_built_anew(
    browser: webdriver.Chrome, site: Site
) -> None:
    visit(browser, site)
    code = """
        const done = arguments[arguments.length - 1];
        import("./blocks.js").then(async ({ block, doing }) => {
          const node = document.body.appendChild(document.createElement("div"));
          const act = () => { throw new Error("the disk is full"); };
          block(node, 1, () => doing("Try it", act));
          node.querySelector("button").click();
          await new Promise((then) => setTimeout(then));
          block(node, 2, () => doing("Try it", act));
          const now = node.querySelector(".trouble");
          done([now.textContent, now.hidden]);
        });"""
    assert browser.execute_async_script(code) == ["the disk is full", False]


def test_a_first_model_that_failed_says_why_and_brings_the_fine_tuning_along(
    browser: webdriver.Chrome, site: Site
) -> None:
    """Not the fine-tuning that was to follow and never began."""
    state = filled()
    why = {"code": "NO_WEIGHTS", "sentence": "the weights cannot be fetched: no network"}
    never = {"code": "NOT_BEGUN", "sentence": "the job before it was not done"}
    state["jobs"] = [
        job("learn", "failed", error=why),
        job("train", "stopped", error=never, begun=None, ended=NOW + 71),
    ]
    site.push(state)
    visit(browser, site, "learn")
    shows(browser, "It did not work", "the weights cannot be fetched: no network")
    shows(browser, "The first model failed", "no network", place="#jobbar")
    assert "You stopped" not in browser.find_element(By.TAG_NAME, "body").text
    button(browser, "Go on")
    until(lambda: len(site.asked) == 2, "the fine-tuning is not asked for")
    assert site.asked[0][0] == "api/jobs/learn-1/resume"
    path, body = site.asked[1]
    assert (path, body["kind"]) == ("api/projects/bears/jobs", "train")
    assert body["after"] and body["request"] == "train-1 again"  # a second click is the same


def test_what_waits_goes_to_the_new_name_of_a_project(
    browser: webdriver.Chrome, site: Site, tmp_path: Path
) -> None:
    site.refuse = lambda label, name: (404, "NO_PROJECT", "there is no project bears")
    visit(browser, site)
    choose(browser, "teddy", photo_files(tmp_path, 4))
    shows(browser, "4 files are not sent yet: there is no project bears")
    site.refuse = lambda label, name: None
    code = """
        const done = arguments[arguments.length - 1];
        import("./uploads.js").then(({ renamed, retry }) => {
          renamed("bears", "ours");
          done(retry());
        });"""
    browser.execute_async_script(code)
    until(lambda: len(site.stored) == 4, "not all were sent")
    assert site.projects_sent_to[-4:] == ["ours"] * 4


def test_what_was_received_and_not_taken_in_is_said(browser: webdriver.Chrome, site: Site) -> None:
    state = filled()
    state["photos"] |= {"uploads_waiting": 3, "uploads_left": 0}
    site.push(state)
    visit(browser, site)
    shows(browser, "3 files are received and being looked through.")
    error = {"code": "DISK_FULL", "sentence": "the disk is full"}
    state["jobs"] = [job("take-in", "failed", error=error)]
    state["photos"]["uploads_left"] = 1
    site.push(state)
    shows(browser, "2 files are received and being looked through. 1 file is received and not taken"
          " in: the disk is full.")  # fmt: skip
    button(browser, "Take them in")
    until(lambda: site.asked, "nothing is asked")
    assert site.asked == [("api/projects/bears/take-in", {})]


FASTER = """
    const real = window.setTimeout;
    window.setTimeout = (act, after, ...words) => real(act, (after || 0) / 50, ...words);"""


def test_a_studio_that_falls_silent_is_said_to_be_gone(
    browser: webdriver.Chrome, site: Site
) -> None:
    """Though the connection is still there, as after a computer was suspended."""
    site.ping = False
    rule = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": FASTER})
    try:
        visit(browser, site)
        shows(browser, "The studio does not answer.", "You see how things stood", place="#jobbar")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", rule)
    site.ping = True
    visit(browser, site)
    shows(browser, "Nothing is running.", place="#jobbar")


def test_what_is_typed_and_not_saved_outlives_a_new_state(
    browser: webdriver.Chrome, site: Site
) -> None:
    visit(browser, site, "name")
    act(browser, By.ID, "queries-0", lambda field: field.send_keys(Keys.END, ", in snow"))
    state = filled(60)
    state["queries"]["teddy"] = ["toy"]
    site.push(state)
    shows(browser, "60 photos")
    value = "return [...document.querySelectorAll('.classes input')].map((one) => one.value)"
    black, _, teddy = browser.execute_script(value)
    assert (black, teddy) == (f"{LABELS[0]} bear, in snow", "toy")


def test_a_model_that_no_test_photo_judged(browser: webdriver.Chrome, site: Site) -> None:
    state = learned()
    state["model"] |= {"error": None, "interval": None, "n": 0}
    for row in state["results"]:
        row |= {"error": None, "interval": None, "n": 0}
    site.push(state)
    for step, words in (("publish", "No test photo has judged the model"), ("learn", "not known")):
        visit(browser, site, step)
        shows(browser, words)
    press(browser, Keys.ESCAPE)


def test_classes_that_are_called_like_splits(browser: webdriver.Chrome, site: Site) -> None:
    """As `bears run` reads folders: splits are left out only where all folders are splits; umlauts
    of a Mac are those of the class."""
    visit(browser, site)
    umlaut = "Ba\u0308r"
    cases = [
        (["v/car/1.jpg", "v/train/2.jpg", "v/bike/3.jpg"], [], ["car", "train", "bike"]),
        (["car/1.jpg", "train/2.jpg"], ["car", "train"], ["car", "train"]),
        (["train/2.jpg"], ["car", "train"], ["train"]),
        (["train/car/1.jpg", "test/bike/2.jpg"], [], ["car", "bike"]),
        (["x/Training/a/1.jpg", "x/Testing/b/2.jpg", "x/val/b/c/3.jpg"], [], ["a", "b", "b"]),
        ([f"{umlaut}/1.jpg", "teddy/2.jpg"], ["B\u00e4r", "teddy"], ["B\u00e4r", "teddy"]),
        ([f"{umlaut}/1.jpg", "teddy/2.jpg"], [], ["B\u00e4r", "teddy"]),
        (["grizzly/2019/1.jpg", "teddy/3.jpg"], [], ["grizzly", "teddy"]),
    ]  # fmt: skip
    work = """const [cases, done] = arguments;
    import("./dropped.js").then(({ classesOf }) =>
      done(cases.map(([paths, known]) => classesOf(paths.map((p) => p.split("/")), known))))"""
    found = browser.execute_async_script(work, [[paths, known] for paths, known, _ in cases])
    assert found == [wanted for _, _, wanted in cases]
