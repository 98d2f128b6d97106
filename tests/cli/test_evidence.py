"""``evidence``: tables, JSON, files without evidence and unreadable files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from whichgen.cli.app import is_simple_evidence, main

from .conftest import whichgen

CAVEAT = "the absence of metadata proves nothing, and metadata can be forged."


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create an image with its generator in the metadata, and one without metadata."""
    monkeypatch.chdir(tmp_path)
    info = PngInfo()
    info.add_text("parameters", "a [bold]cat[/]\nSteps: 20, Sampler: Euler, Model: toy_v1")
    picture = Image.new("RGB", (16, 16), "teal")
    folder = tmp_path / "images"
    folder.mkdir()
    picture.save(folder / "made [of].png", pnginfo=info)
    picture.save(folder / "plain.webp")
    return folder


def test_one_table_per_image(images: Path) -> None:
    result = whichgen("evidence", images)
    assert result.code == 0
    assert "made [of].png: parameters: generation parameters in the format of" in result.out
    row = next(line for line in result.out.splitlines() if line.startswith("text"))
    assert "toy_v1" in row
    assert "synthetic" in row
    assert "a [bold]cat[/]" in result.out
    assert "plain.webp: no provenance metadata found." in result.message
    assert f"note: {CAVEAT}" in result.message


def test_json_has_all_images_and_unreadable_ones_fail(images: Path) -> None:
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = whichgen("evidence", images, "none.jpg", "--json")
    assert result.code == 1
    rows = {Path(row["image"]).name: row for row in json.loads(result.out)}
    assert list(rows) == ["broken.png", "made [of].png", "plain.webp", "none.jpg"]
    assert "not in a supported format" in rows["broken.png"]["error"]
    assert "no such file" in rows["none.jpg"]["error"]
    (finding,) = rows["made [of].png"]["findings"]
    assert (finding["indicates"], finding["generator"]) == ("synthetic", "toy_v1")
    assert rows["made [of].png"]["evidence_origin"] == "toy_v1"
    assert rows["plain.webp"] == {
        "image": str(images / "plain.webp"),
        "evidence": "",
        "evidence_origin": "",
        "evidence_strength": "",
        "findings": [],
        "notes": [],
        "error": "",
    }
    assert "2 of 4 images can't be read" in result.message
    assert CAVEAT in result.message


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_output_without_the_parser_is_the_same(
    images: Path,
    option: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Images without options are inspected before the parser is imported."""
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    arguments = ["evidence", *option, str(images), "none.jpg"]
    parsed = whichgen(*arguments)
    assert is_simple_evidence(arguments)
    monkeypatch.setattr("sys.argv", ["whichgen", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("whichgen.cli.parser.build_app", None)
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert (end.value.code, output.out, output.err) == (1, parsed.out, parsed.err)
    assert parsed.code == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["evidence"], ["evidence", "--json"], ["evidence", "-"], ["evidence", "--help"]],
)
def test_other_arguments_are_parsed(arguments: list[str]) -> None:
    assert not is_simple_evidence(arguments)
    assert not is_simple_evidence([*arguments, "a.png", "--aliases", "names.tsv"])


def test_unreadable_metadata_is_a_note(images: Path) -> None:
    Image.new("RGB", (16, 16)).save(images / "odd.webp", xmp=b"<not xml")
    result = whichgen("evidence", images / "odd.webp")
    assert result.code == 0
    assert "XMP can't be read" in result.message


def test_trust_list_without_certificates_is_rejected(images: Path) -> None:
    (images / "anchors.pem").write_text("no certificate", encoding="utf-8")
    result = whichgen("evidence", images, "--trust-list", images / "anchors.pem")
    assert result.code == 1
    assert "anchors.pem: no certificate found; pass a file of PEM certificates" in result.message


def test_help_states_the_limits_of_metadata() -> None:
    result = whichgen("evidence", "--help", wide=False)
    assert result.code == 0
    assert all(len(line) <= 80 for line in result.out.splitlines())
    assert "Missing metadata proves nothing" in " ".join(result.out.split())


def test_aliases_name_the_origin(images: Path, tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("toy_v1\ttoy-painter\n")
    result = whichgen("evidence", images, "--aliases", tmp_path / "names.tsv", "--json")
    (finding,) = json.loads(result.out)[0]["findings"]
    assert (finding["generator"], finding["origin"]) == ("toy_v1", "toy-painter")
    result = whichgen("evidence", images, "--aliases", tmp_path / "names.tsv")
    assert "toy_v1 (toy-painter)" in result.out
    result = whichgen("evidence", images, "--aliases", tmp_path / "none.tsv")
    assert result.code != 0
    assert "does not exist" in result.message


def test_damaged_image_is_not_reported_as_without_metadata(images: Path) -> None:
    data = (images / "made [of].png").read_bytes()
    (images / "cut.png").write_bytes(data[: data.index(b"IDAT") + 20])
    result = whichgen("evidence", images / "cut.png")
    assert "toy_v1" in result.out
    assert "the PNG is truncated" in result.message
    Image.new("L", (8, 8)).save(images / "end.png")
    whole = (images / "end.png").read_bytes()
    (images / "end.png").write_bytes(whole[:-8])
    result = whichgen("evidence", images / "end.png")
    assert "no provenance metadata found" not in result.message
