"""PDF reports have a glyph for every character, or are replaced with HTML."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from whichgen.errors import DataError, WhichgenWarning
from whichgen.inference.attributor import Attributor
from whichgen.service import pdf_fonts
from whichgen.service.image_report import write_image_report
from whichgen.service.pdf_fonts import BOLD, REGULAR, find_fallback_fonts

from .conftest import encode_png


def test_common_scripts_need_no_fallback_font() -> None:
    assert find_fallback_fonts("Grüße, Ωμέγα, Россия, שלום, مرحبا, 😀, e\u0301\ufe0f\u200d") == []


def test_arabic_text_needs_uharfbuzz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_fonts, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="needs the package uharfbuzz"):
        find_fallback_fonts("مرحبا")
    assert find_fallback_fonts("Ελλάδα") == []


def test_installed_fonts_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    fonts = [str(tmp_path / "broken.ttf"), str(BOLD), str(REGULAR)]
    monkeypatch.setattr(pdf_fonts, "findSystemFonts", lambda: fonts)
    lacking = {"é", "日"}
    list_characters = pdf_fonts._list_characters
    calls: list[Path] = []

    def list_fewer(file: Path, candidates: set[str]) -> set[str]:
        calls.append(file)
        return list_characters(file, candidates) - (lacking if len(calls) <= 2 else set())

    monkeypatch.setattr(pdf_fonts, "_list_characters", list_fewer)
    assert find_fallback_fonts("aé") == [BOLD]
    calls.clear()
    with pytest.raises(DataError, match="characters of the PDF report: 日"):
        find_fallback_fonts("aé日")


def test_report_without_a_font_is_html(
    attributor: Attributor,
    images: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pdf_fonts, "findSystemFonts", list)
    path = tmp_path / "日本 عربي 😀.png"
    images[0].save(path)
    answers = attributor.attribute([path])
    with pytest.warns(WhichgenWarning, match="Writing .*a.html instead"):
        file = write_image_report(tmp_path / "a.pdf", attributor.model, [path], answers)
    assert file == tmp_path / "a.html" and "日本 عربي 😀.png" in file.read_text()
    assert not (tmp_path / "a.pdf").exists()


@pytest.mark.parametrize("name", ["مرحبا שלום.png", "😀 Ωя.png"])
def test_report_in_other_scripts_is_a_pdf(
    client: TestClient, images: list[Image.Image], name: str
) -> None:
    files = [("images", (name, encode_png(images[0])))]
    response = client.post("/report?format=pdf", files=files)
    assert response.content.startswith(b"%PDF-")
