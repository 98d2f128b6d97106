"""Images from standard input, and URLs instead of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whichgen.cli import image_from_stdin

from .conftest import Site, whichgen


@pytest.fixture(autouse=True)
def _unread() -> None:
    """Forget images that earlier tests read from standard input."""
    forget_input()


def forget_input() -> None:
    image_from_stdin.save_standard_input.cache_clear()
    image_from_stdin._folders.clear()


def test_attribute_reads_an_image_from_standard_input(site: Site) -> None:
    file = next(site.images.rglob("*.png"))
    options = ["-m", site.run, "--json", "--no-stability", "--device", "cpu"]
    expected = json.loads(whichgen("attribute", file, *options).out)
    result = whichgen("attribute", "-", *options, stdin=file.read_bytes())
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer[0]["image"] == "-"
    assert answer[0]["origin"] == expected[0]["origin"]
    assert answer[0]["probabilities"] == pytest.approx(expected[0]["probabilities"])


def test_evidence_reads_an_image_from_standard_input(
    tmp_path: Path, noise: Callable[..., Any]
) -> None:
    noise(1).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (row,) = json.loads(whichgen("evidence", "-", "--json", stdin=data).out)
    assert row["image"] == "-"
    assert row["error"] == ""
    assert row["findings"]
    forget_input()
    result = whichgen("evidence", "-", stdin=b"no image")
    assert result.code == 1
    assert "\n-: " in result.err
    assert "whichgen-" not in result.err


def test_empty_standard_input_is_an_error() -> None:
    result = whichgen("evidence", "-")
    assert result.code == 1
    assert "standard input is empty. Redirect an image file" in result.message


@pytest.mark.parametrize("command", [("linear", "-d"), ("dataset", "check")])
def test_dataset_url_is_rejected_with_advice(command: tuple[str, ...]) -> None:
    result = whichgen(*command, "https://example.org/data")
    assert result.code == 1
    assert "https://example.org/data is a URL. Download the dataset first" in result.message


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("https://example.org/a.jpg?x=1", "Download the image first."),
        ("HTTP://example.org/a.jpg", "Download the image first."),
        (
            "s3://bucket/a.jpg",
            "Download the image first. To attribute remote images, use `whichgen attribute-bulk`.",
        ),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_urls_are_rejected_with_advice(url: str, advice: str, listed: bool, tmp_path: Path) -> None:
    argument = url
    if listed:
        (tmp_path / "list.txt").write_text(f"{url}\n")
        argument = f"@{tmp_path / 'list.txt'}"
    result = whichgen("evidence", argument)
    assert result.code == 1
    assert f"{url} is a URL, not a file. {advice}" in result.message
