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

from .conftest import ORIGINS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, or a skip where it is not installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium (or your system's) to test the page")
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        found = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """The page, opened; an error in its scripts, or a request to another host, fails the test."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("console", lambda m: troubles.append(m.text) if _is_trouble(m) else None)
    opened.on(
        "request",
        lambda r: troubles.append(r.url) if not r.url.startswith((server, "blob:", "data:")) else 0,
    )
    opened.goto(server)
    yield opened
    context.close()
    assert troubles == []


def _is_trouble(message: ConsoleMessage) -> bool:
    """An error, but for an answer that is one: the page itself has to say that."""
    return message.type == "error" and "Failed to load resource" not in message.text


@pytest.fixture(scope="module")
def files(images: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve images of all origins, and a file that is none."""
    folder = tmp_path_factory.mktemp("upload")
    for i, image in enumerate(images[::2]):
        image.save(folder / f"{i:02d}.png")
    (folder / "notes.txt").write_text("no image")
    return sorted(folder.iterdir())


def give(page: Page, files: list[Path]) -> None:
    """Gives images to the page and waits for all answers."""
    expect(page.locator("#model-line")).to_contain_text("3 known origins")
    page.set_input_files("#files", files)
    expect(page.locator("#count")).to_have_text(f"{len(files)} processed", timeout=30_000)


def names(page: Page) -> list[str]:
    return page.locator("#rows .open").all_inner_texts()


def test_each_image_gets_a_row_and_the_first_its_details(page: Page, files: list[Path]) -> None:
    give(page, files)
    assert sorted(names(page)) == [file.name for file in files]
    detail = page.locator("#detail")
    expect(detail.get_by_role("heading", level=2)).not_to_be_empty()
    expect(detail.locator(".bars .name")).to_have_count(3)
    expect(detail.get_by_role("img", name=re.compile("Open-set score"))).to_be_visible()
    expect(detail.locator(".nearest li")).to_have_count(6)
    # A picture that did not load has no size.
    shown = detail.locator(".nearest img").first
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_the_heat_map_is_drawn_on_demand_and_can_be_hidden(page: Page, files: list[Path]) -> None:
    give(page, files[:1])
    page.get_by_role("button", name="Explain: which patches matter?").click()
    heat = page.get_by_role("img", name=re.compile("Heat map"))
    expect(heat).to_be_visible(timeout=30_000)
    expect(page.get_by_text("does not show what is fake")).to_be_visible()
    page.get_by_role("button", name="Hide the heat map").click()
    expect(heat).to_be_hidden()


def test_rows_are_sorted_and_filtered(page: Page, files: list[Path]) -> None:
    give(page, files)
    page.get_by_role("button", name="Image", exact=True).click()
    assert names(page) == sorted(names(page))
    page.get_by_role("button", name="Image", exact=True).click()
    assert names(page) == sorted(names(page), reverse=True)
    page.get_by_role("button", name="Score").click()
    scores = [float(text) for text in page.locator("td.score").all_inner_texts() if text]
    assert scores == sorted(scores) and len(scores) == 12
    page.get_by_label("Show").select_option("unread")
    assert names(page) == ["notes.txt"]
    page.get_by_label("Show").select_option("")
    page.get_by_label("Search").fill("07.")
    assert names(page) == ["07.png"]
    page.get_by_label("Search").fill("nothing like it")
    expect(page.get_by_text("No image matches the filter.")).to_be_visible()


def test_the_table_is_saved_as_csv(page: Page, files: list[Path]) -> None:
    give(page, files)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    assert set(rows) == {file.name for file in files}
    for origin in ORIGINS:
        assert 0 <= float(rows["00.png"][f"p({origin})"]) <= 1
    assert "not an image" in rows["notes.txt"]["error"]


@pytest.mark.parametrize(
    ("button", "start"), [("HTML report", b"<!doctype"), ("PDF report", b"%PDF")]
)
def test_reports_are_saved(page: Page, files: list[Path], button: str, start: bytes) -> None:
    give(page, files[:3])
    with page.expect_download(timeout=30_000) as download:
        page.get_by_role("button", name=button).click()
    assert Path(download.value.path()).read_bytes().startswith(start)


def test_a_keyboard_is_enough(page: Page, files: list[Path]) -> None:
    give(page, files[:4])
    page.locator("#rows .open").first.focus()
    heading = page.locator("#detail dd").first
    page.keyboard.press("ArrowDown")
    expect(heading).to_have_text(names(page)[1])
    page.keyboard.press("ArrowDown")
    expect(heading).to_have_text(names(page)[2])
    page.keyboard.press("ArrowUp")
    expect(heading).to_have_text(names(page)[1])
    assert page.evaluate_handle("document.activeElement").get_property("className").json_value()
    page.locator("#rows .open").first.focus()
    page.keyboard.press("Enter")
    expect(heading).to_have_text(names(page)[0])


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_cut_off_at_any_width(page: Page, files: list[Path], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    give(page, files)
    # An expression and not a script: the page's policy allows no eval.
    assert page.locator("html").evaluate("root => root.scrollWidth") <= width
    for button in page.get_by_role("button").all():
        if button.is_visible():
            box = button.bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= width + 0.5


def test_dark_and_light_differ_and_can_be_read(page: Page, files: list[Path]) -> None:
    give(page, files[:2])
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        colors = page.locator("#detail h2").evaluate(
            "h => [getComputedStyle(document.body).backgroundColor, getComputedStyle(h).color,"
            " getComputedStyle(document.body).color]"
        )
        ground, *inks = (_luminance(color) for color in colors)
        grounds.append(ground)
        for ink in inks:  # WCAG's contrast for text
            assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) >= 4.5
    assert grounds[0] > 0.8 and grounds[1] < 0.05


def _luminance(color: str) -> float:
    channels = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def test_a_service_that_is_gone_is_said(page: Page, files: list[Path]) -> None:
    expect(page.locator("#model-line")).to_contain_text("3 known origins")
    page.route(
        "**/attribute",
        lambda route: route.fulfill(
            status=413,
            body=json.dumps({"detail": "The request is too large; the maximum is 1 MiB."}),
            content_type="application/json",
        ),
    )
    page.set_input_files("#files", files[:1])
    expect(page.get_by_role("alert")).to_have_text(
        "The request is too large; the maximum is 1 MiB."
    )
