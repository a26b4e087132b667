"""The model card in a browser, as wide as a desk's and as a phone's."""

import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from bear_classifier.serve import routes
from bear_classifier.web.static_files import files_of_page

CSS = files_of_page(Path(routes.__file__).parent / "static")
pytestmark = pytest.mark.browser
FACTS = """
const box = (s) => document.querySelector(s).getBoundingClientRect();
const rows = [...document.querySelectorAll("tbody tr")].map((tr) =>
  new Set([...tr.children].map((td) => td.getBoundingClientRect().top)).size);
return {wide: document.documentElement.scrollWidth, head: box("th").height, rows};
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_the_table_is_a_table_and_nothing_is_too_wide(tmp_path, width):
    text = (
        "# bears\n\n| class | photos | recall | 95 % interval |\n|---|---|---|---|\n"
        "| grizzly | 62 | 100.0% | 94.2% to 100.0% |\n| teddy | 3 | 99.0% | 9.0% to 99.9% |\n\n"
        f"    bears predict --model THIS_FOLDER {'photo ' * 30}\n\n{'word' * 60}\n"
    )
    page = routes.render_card("bears", text)
    for name in ("base.css", "page.css"):
        page = page.replace(f"../../../../{name}", CSS[name].as_uri())
    (tmp_path / "card.html").write_text(page, encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/p",
    ):
        options.add_argument(word)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        shape = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        driver.get((tmp_path / "card.html").as_uri())
        found = driver.execute_script(FACTS)
    finally:
        driver.quit()
    assert found["wide"] <= width
    assert found["head"] > 10
    assert found["rows"] == [1, 1]
