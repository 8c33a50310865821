"""The report pages in a real browser: narrow and wide, light and dark. Skipped where there is no Chromium."""

from __future__ import annotations

import shutil

import pytest
from report_samples import pages

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
KINDS = ("run", "run-multi", "label", "clean")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for kind, page in pages().items():
        (folder / f"{kind}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, folder):
    """Opens a page; what it complains of and asks for is looked at when the test ends."""
    complaints, requests, made = [], [], []

    def open_page(kind, width=1280, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        made.append((page, f"file://{folder}/{kind}.html"))
        page.goto(made[-1][1])
        return page

    yield open_page
    assert not complaints
    assert requests == [address for _, address in made], "nothing but the page itself is asked for"
    for page, _ in made:
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_pages_fit_and_can_be_read(opened, kind, width, scheme):
    page = opened(kind, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in ("svg", "table"):
        assert page.locator(part).first.is_visible()
    ink, paper = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    assert contrast(ink, paper) > 7
    assert (brightness(paper) < 0.2) == (scheme == "dark")
    # Text in pictures has the colour of the page and is not too small to read.
    sizes = page.evaluate(
        "[...document.querySelectorAll('figure svg text')].map(t => [getComputedStyle(t).fill, "
        "t.getBoundingClientRect().height])"
    )
    assert sizes and {fill for fill, _ in sizes} == {ink}
    assert min(height for _, height in sizes if height) >= 8
    outside = page.evaluate(
        "[...document.querySelectorAll('figure svg text')].filter(t => { const s = t.closest('svg')"
        ".getBoundingClientRect(), r = t.getBoundingClientRect(); return r.left < s.left - 2 || r.right > s.right + 2})"
        ".map(t => t.textContent)"
    )
    assert not outside, "words of pictures are not cut off"
    hidden = page.evaluate(
        "[...document.querySelectorAll('.stack')].filter(t => t.scrollWidth > t.parentElement.clientWidth).length"
    )
    assert width > 400 or not hidden, "no column of a table of labels is out of sight"


@pytest.mark.parametrize("kind", ["run", "label", "clean"])
def test_sections_are_reached_from_the_keyboard(opened, kind):
    page = opened(kind)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "A"
    page.keyboard.press("Enter")
    target = page.evaluate("location.hash.slice(1)")
    assert target and page.locator(f"#{target}").is_visible()


def test_the_slider_of_the_cleaning_report_shows_and_hides_cells(opened):
    page = opened("clean")
    headline, flags = page.locator(".answer").inner_text(), page.locator("#result").inner_text().split(";")[0]
    assert headline.startswith(flags), "it starts at the cut of the report"
    assert page.locator("#value").inner_text().endswith("(the cut of this report)")
    assert page.locator("article:visible").count() == page.locator("article[data-flagged]").count()
    page.locator("#cut").fill("100")
    assert page.locator("article:visible").count() < page.locator("article").count()
    assert "0 cells are flagged" in page.locator("#result").inner_text()
    page.locator("#cut").fill("0")
    assert page.locator("article:visible").count() == page.locator("article").count()


def brightness(colour):
    """Relative luminance (WCAG 2) of "rgb(r, g, b)"."""
    channels = [int(c) / 255 for c in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)
