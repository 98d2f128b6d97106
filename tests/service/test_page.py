"""The page in a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from whichgen.inference.answers import answer_schema

from .conftest import ORIGINS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, or a skip where it is not installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium (or your system's) to test the page")
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """The page in a new tab; a script error or a request to another host fails the test."""
    context = browser.new_context(accept_downloads=True)
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda m: problems.append(m.text) if _is_problem(m) else None)
    tab.on(
        "request",
        lambda r: problems.append(r.url) if not r.url.startswith((server, "blob:", "data:")) else 0,
    )
    tab.goto(server)
    yield tab
    context.close()
    assert problems == []


def _is_problem(message: ConsoleMessage) -> bool:
    """Whether a message is an error other than an error response, which the page reports."""
    return message.type == "error" and "Failed to load resource" not in message.text


@pytest.fixture(scope="module")
def files(images: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve images of all origins, and a text file."""
    folder = tmp_path_factory.mktemp("upload")
    for i, image in enumerate(images[::2]):
        image.save(folder / f"{i:02d}.png")
    (folder / "notes.txt").write_text("no image")
    return sorted(folder.iterdir())


def add_files(page: Page, files: list[Path]) -> None:
    """Add images to the page and wait for all answers."""
    expect(page.locator("#model-line")).to_contain_text("3 known origins")
    page.set_input_files("#files", files)
    expect(page.locator("#count")).to_have_text(f"{len(files)} processed", timeout=30_000)


def list_names(page: Page) -> list[str]:
    """Return the image names in the table, from top to bottom."""
    return page.locator("#rows .open").all_inner_texts()


def test_each_image_has_a_row_and_the_first_is_selected(page: Page, files: list[Path]) -> None:
    add_files(page, files)
    assert sorted(list_names(page)) == [file.name for file in files]
    detail = page.locator("#detail")
    expect(detail.get_by_role("heading", level=2)).not_to_be_empty()
    expect(detail.locator(".bars .name")).to_have_text([*[re.compile(r"\w")] * 3, "percentile"])
    expect(detail.get_by_text("validation images of known origins")).to_be_visible()
    expect(detail.locator(".nearest li")).to_have_count(6)
    # An image that failed to load has no size.
    thumbnail = detail.locator(".nearest img").first
    expect(thumbnail).to_be_visible()
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_the_heat_map_can_be_shown_and_hidden(page: Page, files: list[Path]) -> None:
    add_files(page, files[:1])
    page.get_by_role("button", name="Show the patches that matter").click()
    heat = page.get_by_role("img", name=re.compile("Heat map"))
    expect(heat).to_be_visible(timeout=30_000)
    expect(page.get_by_text("does not locate manipulated regions")).to_be_visible()
    page.get_by_role("button", name="Hide the heat map").click()
    expect(heat).to_be_hidden()


def test_rows_can_be_sorted_and_filtered(page: Page, files: list[Path]) -> None:
    add_files(page, files)
    page.get_by_role("button", name="Image", exact=True).click()
    assert list_names(page) == sorted(list_names(page))
    page.get_by_role("button", name="Image", exact=True).click()
    assert list_names(page) == sorted(list_names(page), reverse=True)
    page.get_by_role("button", name="Percentile").click()
    percentiles = [float(text) for text in page.locator("td.percentile").all_inner_texts() if text]
    assert percentiles == sorted(percentiles) and len(percentiles) == 12
    page.get_by_label("Show").select_option("unread")
    assert list_names(page) == ["notes.txt"]
    page.get_by_label("Show").select_option("")
    page.get_by_label("Search").fill("07.")
    assert list_names(page) == ["07.png"]
    page.get_by_label("Search").fill("nothing like it")
    expect(page.get_by_text("No image matches the filter.")).to_be_visible()


def test_answers_are_saved_as_csv(page: Page, files: list[Path]) -> None:
    add_files(page, files)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    reader = csv.DictReader(io.StringIO(text))
    rows = {row["image"]: row for row in reader}
    columns = answer_schema(ORIGINS, stability=True, evidence=True).names
    assert reader.fieldnames is not None and reader.fieldnames[: len(columns)] == columns
    assert set(rows) == {file.name for file in files}
    assert 0 <= float(rows["00.png"]["score_percentile"]) <= 100
    for origin in ORIGINS:
        assert 0 <= float(rows["00.png"][f"p({origin})"]) <= 1
    assert "not an image" in rows["notes.txt"]["error"]
    row = rows["00.png"]
    assert int(row["stability"]) + len(row["differing_copies"].split()) == 5


@pytest.mark.parametrize(
    ("button", "start"), [("HTML report", b"<!doctype"), ("PDF report", b"%PDF")]
)
def test_reports_are_saved(page: Page, files: list[Path], button: str, start: bytes) -> None:
    add_files(page, files[:3])
    with page.expect_download(timeout=30_000) as download:
        page.get_by_role("button", name=button).click()
    assert Path(download.value.path()).read_bytes().startswith(start)


def test_the_page_works_with_the_keyboard(page: Page, files: list[Path]) -> None:
    add_files(page, files[:4])
    page.locator("#rows .open").first.focus()
    heading = page.locator("#detail dd").first
    page.keyboard.press("ArrowDown")
    expect(heading).to_have_text(list_names(page)[1])
    page.keyboard.press("ArrowDown")
    expect(heading).to_have_text(list_names(page)[2])
    page.keyboard.press("ArrowUp")
    expect(heading).to_have_text(list_names(page)[1])
    assert page.evaluate_handle("document.activeElement").get_property("className").json_value()
    page.locator("#rows .open").first.focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_text(list_names(page)[0])


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_cut_off(page: Page, files: list[Path], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    add_files(page, files)
    # An expression and not a script: the page's policy allows no eval.
    assert page.locator("html").evaluate("root => root.scrollWidth") <= width
    for button in page.get_by_role("button").all():
        if button.is_visible():
            box = button.bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= width + 0.5


def test_light_and_dark_colors_have_enough_contrast(page: Page, files: list[Path]) -> None:
    add_files(page, files[:2])
    backgrounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        colors = page.locator("#detail h2").evaluate(
            "h => [getComputedStyle(document.body).backgroundColor, getComputedStyle(h).color,"
            " getComputedStyle(document.body).color]"
        )
        background, *inks = (_luminance(color) for color in colors)
        backgrounds.append(background)
        for ink in inks:  # WCAG's contrast for text
            assert (max(background, ink) + 0.05) / (min(background, ink) + 0.05) >= 4.5
    assert backgrounds[0] > 0.8 and backgrounds[1] < 0.05


def _luminance(color: str) -> float:
    channels = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def test_an_error_of_the_service_is_shown(page: Page, files: list[Path]) -> None:
    expect(page.locator("#model-line")).to_contain_text("3 known origins")
    page.route(
        "**/attribute",
        lambda route: route.fulfill(
            status=413,
            body=json.dumps({"detail": "Request larger than 1 MiB. Send fewer or smaller images."}),
            content_type="application/json",
        ),
    )
    page.set_input_files("#files", files[:1])
    expect(page.get_by_role("alert")).to_have_text(
        "Request larger than 1 MiB. Send fewer or smaller images."
    )
