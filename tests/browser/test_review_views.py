"""Groups, map and "more like this" of the cleaning page: mouse, keyboard, and the catalog after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_page
from looks import SAME, looks, write_evidence
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_review import LABELS, SIDES, dataset
from test_review_page import Site, looked_at, press, ready, shown, until, visit, waiting

from bear_classifier.config.project_file import build
from bear_classifier.review import queue

pytestmark = pytest.mark.browser
COUNT = 96
ALIKE = [3 * n for n in range(SAME)]  # of the class black
MANY = [*LABELS, *(f"kind {n}" for n in range(10))]
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


class Looks(Site):
    """With features, in which six black photos are alike and unlike the others."""

    def fill(self, root: Path) -> list[str]:
        order = dataset(root, COUNT)
        write_evidence(root, order, looks(COUNT))
        return order

    def names(self, states: list[tuple[str, str]]) -> list[int]:
        """The photos that are no longer as they were."""
        return [n for n, state in enumerate(states) if state != (LABELS[n % 3], "ok")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Looks]:
    made = Looks(tmp_path / "data")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = test_page.start_browser(
        tmp_path_factory.mktemp("profile"),
        "--enable-unsafe-swiftshader",  # WebGL without a GPU
    )
    yield driver
    driver.quit()


def words(browser: webdriver.Chrome, selector: str) -> str:
    """What stands there now; an element that is drawn anew meanwhile does no harm."""
    script = "return document.querySelector(arguments[0])?.innerText || ''"
    return str(browser.execute_script(script, selector))


def there(browser: webdriver.Chrome, selector: str, count: int | None = None) -> Any:
    def found() -> Any:
        some = browser.find_elements(By.CSS_SELECTOR, selector)
        return some if (some if count is None else len(some) == count) else None

    return until(browser, found, f"{selector}: {words(browser, 'main')[:200]}")


def chosen(browser: webdriver.Chrome) -> list[str]:
    script = (
        "return [...document.querySelectorAll('.thumb[aria-pressed=true]')].map(t => t.dataset.sha)"
    )
    return list(browser.execute_script(script))


def twice(browser: webdriver.Chrome, site: Looks, hashes: list[str], key: str) -> None:
    """Press it, once more where photos of the test split are among these."""
    tests = any(SIDES[site.order.index(sha) % 4] == "test" for sha in hashes)
    press(browser, key, *([key] if tests else []))


def test_more_like_this_by_keys_mouse_and_drag(browser: webdriver.Chrome, site: Looks) -> None:
    visit(browser, site.url)
    ready(browser, site.order[0])
    press(browser, "l")
    thumbs = there(browser, ".thumb", 61)
    near = [thumb.get_attribute("data-sha") for thumb in thumbs]
    assert set(near[:SAME]) == {site.order[n] for n in ALIKE}

    press(browser, "d")
    assert "Select photos first" in words(browser, "#toast")
    press(browser, Keys.ARROW_RIGHT, " ")  # the second one
    assert chosen(browser) == [near[1]]
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(
        Keys.SHIFT
    ).perform()
    assert chosen(browser) == near[1:3]
    press(browser, Keys.ESCAPE)
    assert chosen(browser) == []

    thumbs[0].click()
    ActionChains(browser).key_down(Keys.SHIFT).click(thumbs[4]).key_up(Keys.SHIFT).perform()
    assert chosen(browser) == near[:5]
    ActionChains(browser).click_and_hold(thumbs[3]).move_to_element(thumbs[4]).move_to_element(
        thumbs[5]
    ).release().perform()  # the first of them was chosen: dragging takes away
    assert chosen(browser) == near[:3]
    ActionChains(browser).click_and_hold(thumbs[3]).move_to_element(thumbs[5]).release().perform()
    assert chosen(browser) == near[:6]

    twice(browser, site, near[:6], "3")
    looked_at(browser, 6)
    assert site.names(site.states()) == ALIKE
    assert {site.states()[n] for n in ALIKE} == {("teddy", "ok")}
    assert len({event.request for event in site.events()}) == 1
    press(browser, "u")
    looked_at(browser, 0)
    assert site.names(site.states()) == []

    press(browser, "p")
    ready(browser, site.order[0])


def test_more_like_this_from_one_to_the_next_and_back(
    browser: webdriver.Chrome, site: Looks
) -> None:
    visit(browser, f"{site.url}#view=alike&at={site.order[1]}")  # a link to it
    first = there(browser, ".thumb", 61)[0].get_attribute("data-sha")
    assert first == site.order[1]
    press(browser, Keys.ARROW_RIGHT, "l")
    second = until(
        browser,
        lambda: (s := text_sha(browser)) != site.order[1] and s,
        "no other photo",
    )
    assert f"at={second}" in browser.current_url
    press(browser, Keys.ESCAPE)
    until(browser, lambda: text_sha(browser) == site.order[1], "not back")
    press(browser, "n")
    there(browser, ".thumb", COUNT)
    press(browser, "a")
    assert len(chosen(browser)) == COUNT
    press(browser, "a")
    assert chosen(browser) == []


def text_sha(browser: webdriver.Chrome) -> str:
    script = "return document.querySelector('.thumb.itself')?.dataset.sha || ''"
    return str(browser.execute_script(script))


def test_groups_one_decision_and_one_undo(browser: webdriver.Chrome, site: Looks) -> None:
    visit(browser, site.url)
    press(browser, "c")
    groups = there(browser, ".group")
    assert groups[0].find_element(By.TAG_NAME, "h2").text == "6 photos of black"
    assert "6 open" in groups[0].text
    assert len(groups[0].find_elements(By.TAG_NAME, "img")) == SAME
    twice(browser, site, [site.order[n] for n in ALIKE], "d")
    looked_at(browser, 6)
    assert site.names(site.states()) == ALIKE
    assert "6 dropped" in words(browser, ".group")
    press(browser, "u")
    looked_at(browser, 0)
    assert site.names(site.states()) == []
    assert "6 open" in words(browser, ".group")

    there(browser, ".group.at button")[0].click()  # undo went back to it
    thumbs = there(browser, ".thumb", SAME)
    hashes = [thumb.get_attribute("data-sha") for thumb in thumbs]
    press(browser, Keys.ARROW_RIGHT, " ", Keys.ARROW_RIGHT, " ")
    assert chosen(browser) == hashes[1:3]
    twice(browser, site, hashes[1:3], "2")
    looked_at(browser, 2)
    changed = site.names(site.states())
    assert {site.order[n] for n in changed} == set(hashes[1:3])
    assert {site.states()[n] for n in changed} == {("grizzly", "ok")}
    twice(browser, site, [h for h in hashes if h not in hashes[1:3]], "d")  # the rest of the group
    looked_at(browser, 6)
    press(browser, "u", "u")
    looked_at(browser, 0)
    assert site.names(site.states()) == []
    press(browser, Keys.ESCAPE)
    there(browser, ".group")


def test_groups_by_arrows_and_by_class(browser: webdriver.Chrome, site: Looks) -> None:
    browser.get("about:blank")
    browser.get(f"{site.url}#view=groups")
    groups = there(browser, ".group")
    assert "at" in groups[0].get_attribute("class").split()
    if len(groups) > 1:
        press(browser, Keys.ARROW_DOWN)
        assert "at" in there(browser, ".group")[1].get_attribute("class").split()
        press(browser, Keys.ARROW_UP)
    press(browser, Keys.ENTER)
    there(browser, ".thumb", SAME)
    press(browser, "p")
    there(browser, ".group")
    press(browser, "g")
    ready(browser, site.order[0])


def points(browser: webdriver.Chrome, site: Looks) -> dict[str, np.ndarray]:
    """Where each photo is in the window, as long as the map was not moved."""
    found = browser.execute_async_script("fetch('api/map').then(a => a.json()).then(arguments[0])")
    box = browser.execute_script(
        "const b = document.querySelector('.stage').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]"
    )
    left, top, wide, high = box
    scale = min(wide, high) * 0.94 / 2 / 10_000
    x = left + wide / 2 + np.array(found["x"]) * scale
    y = top + high / 2 - np.array(found["y"]) * scale
    return dict(zip(found["sha256"], np.stack([x, y], axis=1), strict=True))


def open_map(browser: webdriver.Chrome, site: Looks) -> dict[str, np.ndarray]:
    """The map by t-SNE: it replaces the first one within seconds."""
    visit_map(browser, site)
    until(browser, lambda: "by t-SNE" in words(browser, "#legend"), "no t-SNE")
    there(browser, ".stage[data-pictures]")
    return points(browser, site)


def visit_map(browser: webdriver.Chrome, site: Looks) -> None:
    browser.get("about:blank")
    browser.get(f"{site.url}#view=map")
    there(browser, ".stage")


def drag(browser: webdriver.Chrome, line: list[tuple[float, float]], shift: bool = False) -> None:
    actions = ActionChains(browser, duration=10)
    at = [tuple(map(round, point)) for point in line]
    if shift:
        actions.key_down(Keys.SHIFT)
    actions.w3c_actions.pointer_action.move_to_location(*at[0])
    actions.click_and_hold()
    for point in at[1:]:
        actions.w3c_actions.pointer_action.move_to_location(*point)
    actions.release()
    if shift:
        actions.key_up(Keys.SHIFT)
    actions.perform()


def around(places: list[np.ndarray], margin: float = 6) -> list[tuple[float, float]]:
    """The corners of the smallest upright box around them, once around."""
    low, high = np.min(places, axis=0) - margin, np.max(places, axis=0) + margin
    return [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]),
            (low[0], low[1] + 3)]  # fmt: skip


def inside(places: dict[str, np.ndarray], line: list[tuple[float, float]]) -> set[str]:
    (left, top), (right, bottom) = map(tuple, map(np.round, (line[0], line[2])))
    return {sha for sha, (x, y) in places.items() if left < x < right and top < y < bottom}


def test_the_map_a_lasso_a_decision_and_undo(browser: webdriver.Chrome, site: Looks) -> None:
    places = open_map(browser, site)
    line = around([places[site.order[n]] for n in ALIKE])
    wanted = inside(places, line)
    assert {site.order[n] for n in ALIKE} <= wanted < set(site.order)
    press(browser, "s")
    drag(browser, line)
    there(browser, ".thumb", len(wanted))
    assert set(chosen(browser)) == wanted
    assert f"{len(wanted)} photos: " in words(browser, "#range")
    twice(browser, site, list(wanted), "d")
    looked_at(browser, len(wanted))
    dropped = {site.order[n] for n in site.names(site.states())}
    assert dropped == wanted
    press(browser, "u")
    looked_at(browser, 0)
    assert site.names(site.states()) == []
    assert set(chosen(browser)) == wanted  # what was undone is selected again

    press(browser, Keys.ESCAPE, "v")
    drag(browser, line, shift=True)  # without the tool
    there(browser, ".thumb", len(wanted))
    there(browser, ".thumb")[0].click()  # one of them is left out
    assert len(chosen(browser)) == len(wanted) - 1
    kept = chosen(browser)
    press(browser, "k")
    looked_at(browser, len(kept))
    assert set(site.decided()) == set(kept)


@pytest.mark.long
def test_the_map_by_keys(browser: webdriver.Chrome, site: Looks) -> None:
    open_map(browser, site)
    press(browser, "b")
    for _ in range(20):  # larger than the map
        ActionChains(browser).key_down(Keys.SHIFT).send_keys(
            Keys.ARROW_RIGHT, Keys.ARROW_UP
        ).key_up(Keys.SHIFT).perform()
    press(browser, Keys.ENTER)
    there(browser, ".thumb", COUNT)
    assert len(chosen(browser)) == COUNT
    press(browser, "k")
    looked_at(browser, COUNT)
    assert set(site.decided()) == set(site.order)
    press(browser, "u")
    looked_at(browser, 0)
    press(browser, Keys.ESCAPE)
    assert "Nothing selected" in words(browser, "#range")
    press(browser, "d")
    assert "Select photos on the map first" in words(browser, "#toast")


@pytest.mark.long
def test_the_map_by_box_click_and_zoom(browser: webdriver.Chrome, site: Looks) -> None:
    places = open_map(browser, site)
    browser.get_log("browser")  # of the page before, whose server has gone
    line = around([places[site.order[n]] for n in ALIKE])
    wanted = inside(places, line)
    browser.find_element(By.CSS_SELECTOR, ".tool[data-mode=box]").click()
    drag(browser, [line[0], line[2]])
    there(browser, ".thumb", len(wanted))
    assert set(chosen(browser)) == wanted
    press(browser, Keys.ESCAPE, "v")
    for _ in range(9):
        press(browser, "+")
    until(
        browser,
        lambda: (
            int(browser.find_element(By.CSS_SELECTOR, ".stage").get_attribute("data-pictures"))
            < COUNT
        ),
        "not zoomed",
    )
    press(browser, "z")
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, ".pictures img")) == COUNT,
          "pictures are not shown")  # fmt: skip
    drag(browser, [tuple(places[site.order[1]]), tuple(places[site.order[1]])])  # a click
    assert len(there(browser, ".thumb", 1)) == 1
    for _ in range(20):  # as often as the map is opened, it gives its canvas back
        press(browser, "c", "m")
        there(browser, ".stage[data-pictures]")
    for by in ("split", "score", "state", "label"):
        browser.execute_script(
            "const s = document.querySelector('#map-by'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('change'))", by)  # fmt: skip
        assert len(browser.find_elements(By.CSS_SELECTOR, "#legend i")) >= 3
    severe = [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert severe == []


def test_without_webgl_one_sentence_says_so_and_the_rest_works(
    browser: webdriver.Chrome, site: Looks
) -> None:
    script = {"source": "HTMLCanvasElement.prototype.getContext = () => null;"}
    made = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        browser.get("about:blank")
        browser.get(f"{site.url}#view=map")
        until(browser, lambda: "The map needs WebGL" in words(browser, "main"), "no sentence")
        press(browser, "c")
        there(browser, ".group")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)


def test_classes_beyond_nine_by_their_first_letters(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    config = build({"name": "many", "classes": {label: [label] for label in MANY}}, where="test")
    site = Looks(tmp_path / "data", config=config)
    try:
        visit(browser, site.url)
        ready(browser, site.order[0])
        labels = browser.find_elements(By.CSS_SELECTOR, "#actions .label")
        assert len(labels) == 10
        press(browser, "0")
        assert browser.find_element(By.ID, "classes").is_displayed()
        assert len(browser.find_elements(By.CSS_SELECTOR, "#class-list button")) == len(MANY)
        press(browser, *"KIND 9", Keys.ENTER)
        looked_at(browser, 1)
        assert site.states()[0] == ("kind 9", "ok")
        press(browser, "0", *"8", Keys.ENTER)
        looked_at(browser, 2)
        assert site.states()[1] == ("kind 8", "ok")
        ready(browser, site.order[2])  # on the test split: the key once more confirms
        press(browser, "0", *"kind 7", Keys.ENTER)
        assert "Press 0 again" in words(browser, "#confirm")
        assert len(site.events()) == 2
        press(browser, "0")
        looked_at(browser, 3)
        assert site.states()[2] == ("kind 7", "ok")
        press(browser, "0", *"zebra", Keys.ENTER)
        assert "No class fits" in words(browser, "#class-list")
        press(browser, Keys.ESCAPE)
        assert not browser.find_element(By.ID, "classes").is_displayed()
    finally:
        site.stop()


def newest_order(decided: int) -> list[int]:
    """Of all photos, after so many decisions: each brings the rest into another order."""
    rest = list(range(COUNT))
    np.random.default_rng(decided).shuffle(rest)
    return rest if decided else list(range(COUNT))


def reordered(site: Looks) -> Any:
    """queue_page of a server that makes the order anew after each decision."""
    right = queue.queue_page

    def page(
        catalog: Any, ranking: Any, today: Any, chosen: Any, offset: int = 0, limit: int = 50,
        at: str = "", after: int | None = None, before: int | None = None,
    ) -> Any:  # fmt: skip
        whole = right(catalog, ranking, today, chosen, 0, 10**6)
        place = {site.order[n]: rank for rank, n in enumerate(newest_order(len(today.decided)))}
        rows = sorted((r | {"rank": place[r["sha256"]]} for r in whole["rows"]),
                      key=lambda r: r["rank"])  # fmt: skip
        start = offset
        if at:
            start = next((n for n, r in enumerate(rows) if r["rank"] >= place[at]), len(rows) - 1)
        elif after is not None:
            start = next((n for n, r in enumerate(rows) if r["rank"] > after), len(rows))
        elif before is not None:
            rows, start = [r for r in rows if r["rank"] < before][-limit:], 0
        return whole | {"offset": start, "rows": rows[start : start + limit]}

    return page


def test_an_order_that_changes_after_each_decision(
    browser: webdriver.Chrome, site: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the photo shown next is of the newest order; what was looked at keeps its place,
    and every photo comes exactly once."""
    monkeypatch.setattr(queue, "queue_page", reordered(site))
    visit(browser, site.url)
    seen = []
    ready(browser, site.order[0])
    for number in range(1, 8):
        seen.append(shown(browser))
        press(browser, "k")
        looked_at(browser, number)
        ahead = [site.order[n] for n in newest_order(number)]
        following = shown(browser)
        wanted = next(sha for sha in ahead if sha not in (*seen, following))
        until(browser, lambda sha=wanted: next_row(browser) == sha, "not the newest order")
    seen.append(shown(browser))
    for sha in reversed(seen[:-1]):
        press(browser, "p")
        ready(browser, sha)
    for sha in seen[1:]:
        press(browser, "n")
        ready(browser, sha)
    order = browser.execute_async_script(
        "import('./state.js').then(({ S }) => arguments[0](S.rows.map(r => r.sha256)))"
    )
    assert order[: len(seen)] == seen
    assert len(order) == len(set(order)) == COUNT


def next_row(browser: webdriver.Chrome) -> str:
    return str(
        browser.execute_async_script(
            "import('./state.js').then(({ S }) => arguments[0](S.rows[S.at + 1].sha256))"
        )
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_a_message_never_covers_the_question(
    browser: webdriver.Chrome, site: Looks, width: int
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", PHONE | {"width": width, "mobile": width < 500}
    )
    try:
        visit(browser, f"{site.url}#side=test")
        press(browser, "r", "d")  # a message, then the question
        boxes = browser.execute_script(
            "return ['toast', 'confirm', 'actions'].map((id) => {"
            "const b = document.getElementById(id).getBoundingClientRect();"
            "return [b.top, b.bottom, b.height]; })"
        )
        (_, toast_bottom, high), (top, bottom, _), (actions, _, _) = boxes
        assert words(browser, "#toast")
        assert high > 0
        assert toast_bottom <= top < bottom <= actions + 1
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.long
def test_on_a_phone_nothing_is_wider_and_all_has_a_name(
    browser: webdriver.Chrome, site: Looks
) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        visit(browser, site.url)
        for key, selector in (("l", ".thumb"), ("c", ".group"), ("m", ".stage")):
            press(browser, key)
            there(browser, selector)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, key
            buttons = [b for b in browser.find_elements(By.TAG_NAME, "button") if b.is_displayed()]
            assert all(button.accessible_name for button in buttons)
            images = browser.find_elements(By.CSS_SELECTOR, "main :not(.pictures) > img")
            assert all(image.get_attribute("alt") for image in images)
        box = browser.execute_script(
            "return document.querySelector('.sky').getBoundingClientRect().height"
        )
        assert box > 300
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert waiting(browser) == []
