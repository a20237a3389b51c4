"""The report in a browser: no errors, nothing fetched, usable by keyboard, readable on a telephone, printable.

pip install -e '.[browser]'                            and Chromium with chromedriver, of the system
pytest tests/paper_checks/test_browser.py
REPORT=results/index.html pytest tests/paper_checks/test_browser.py      a report of your own, and its pages
"""

import base64
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paper_checks.conftest import House

pytestmark = pytest.mark.slow
TELEPHONE, SMALLEST = 390, 11  # CSS pixels: width of the screen, and of letters
FOCUSABLE = "a[href], button, input, summary, [tabindex='0']"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium that cannot reach any network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install '.[browser]'")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    driver = shutil.which("chromedriver")
    if not any(found) or driver is None:
        pytest.skip("no Chromium with chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = next(path for path in found if path)
    offline = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *offline):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Addresses of the report and of the page of every claim."""
    if given := os.environ.get("REPORT"):
        index = Path(given).resolve()
    else:
        house = House(tmp_path_factory.mktemp("browser"))
        odd = house.claim("odd", broken="raise ValueError('<b>no</b>')")
        house.run(house.claim("good"), house.claim("bad", mean=0.2), odd)
        index = (house.out / "index.html").resolve()
    return [path.as_uri() for path in (index, *sorted(index.parent.glob("*/index.html")))]


def sized(browser: Any, width: int, height: int = 844) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def test_no_page_says_an_error_or_fetches_anything(browser: Any, pages: list[str]) -> None:
    sized(browser, 1280)
    for page in pages:
        browser.get(page)
        said = [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]
        assert said == [], page
        fetched = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert [name for name in fetched if not name.startswith("data:")] == [], page
        broken = browser.execute_script(
            "return [...document.images].filter(i => i.src && !i.naturalWidth).map(i => i.alt)"
        )
        assert broken == [], page


def test_a_telephone_shows_every_page_without_scrolling_sideways_and_in_letters_that_can_be_read(
    browser: Any, pages: list[str]
) -> None:
    sized(browser, TELEPHONE)
    for page in pages:
        browser.get(page)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= TELEPHONE, page
        outside = browser.execute_script(
            """return [...document.querySelectorAll("p, h1, h2, h3, h4, figcaption, figure, li, summary, fieldset, dl")]
            .filter(item => item.getBoundingClientRect().right > innerWidth + 1).map(item => item.textContent)"""
        )
        assert outside == [], page
        small = browser.execute_script(
            """const main = document.querySelector("main"), found = [];
            const texts = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
            for (let text = texts.nextNode(); text; text = texts.nextNode())
              if (text.data.trim() && !text.parentElement.closest("math, script")
                  && parseFloat(getComputedStyle(text.parentElement).fontSize) < arguments[0]) found.push(text.data);
            return found""",
            SMALLEST,
        )
        assert small == [], page


def test_everything_is_reached_by_the_keyboard_in_order_and_shows_that_it_is(browser: Any, pages: list[str]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    sized(browser, 1280)
    for page in pages:
        browser.get(page)
        wanted = browser.execute_script(
            """const all = [...document.querySelectorAll(arguments[0])];
            all.forEach((item, place) => { item.dataset.place = place; });
            return all.filter(item => item.checkVisibility()).map(item => item.dataset.place)""",
            FOCUSABLE,
        )
        reached, shown = [], []
        for _ in wanted:
            ActionChains(browser).send_keys(Keys.TAB).perform()
            place, outline = browser.execute_script(
                """const at = document.activeElement;
                return [at.dataset.place ?? at.tagName, parseFloat(getComputedStyle(at).outlineWidth)]"""
            )
            reached.append(place)
            shown.append(outline)
        assert reached == wanted, page
        assert min(shown) >= 2, page


def test_a_figure_opens_and_closes_and_a_verdict_is_filtered_by_the_keyboard(browser: Any, pages: list[str]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    sized(browser, 1280)
    browser.get(pages[0])

    def press(key: str) -> None:
        ActionChains(browser).send_keys(key).perform()

    dialog = "return [document.querySelector('#zoom').open, document.querySelector('#zoom img').naturalWidth]"
    browser.execute_script("document.querySelector('figure button').focus()")
    press(Keys.ENTER)
    opened, width = browser.execute_script(dialog)
    assert opened
    assert width > 300
    press(Keys.ESCAPE)
    assert not browser.execute_script(dialog)[0]
    assert browser.execute_script("return document.activeElement.matches('figure button')")
    visible = """return [...document.querySelectorAll("article")].filter(item => item.checkVisibility())
    .map(item => item.dataset.verdict)"""
    before = browser.execute_script(visible)
    for box in browser.execute_script("return [...document.querySelectorAll('#filter input')].map(b => b.value)"):
        browser.execute_script(f"document.querySelector('#filter input[value={box}]').focus()")
        press(Keys.SPACE)
        assert browser.execute_script(visible) == [verdict for verdict in before if verdict != box]
        press(Keys.SPACE)
    assert browser.execute_script(visible) == before


def test_pages_print_to_pdf_with_what_was_folded(browser: Any, pages: list[str], tmp_path: Path) -> None:
    sized(browser, 1280)
    for page in pages[:3]:
        browser.get(page)
        pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
        (tmp_path / "page.pdf").write_bytes(pdf)
        assert pdf.startswith(b"%PDF-"), page
        assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 1, page
        assert browser.execute_script("return [...document.querySelectorAll('details')].every(d => d.open)"), page
