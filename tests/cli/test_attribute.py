"""``attribute``: answers as table, JSON, CSV and Parquet, for valid and invalid files."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import whichgen.encoders.loading as load_module
from whichgen.inference.attributor import Attributor
from whichgen.inference.stability import COPIES
from whichgen.models.saved_model import DESCRIPTION_FILE, HEAD_FILE

from .conftest import Result, Site, whichgen


def answers(result: Result) -> list[dict[str, Any]]:
    """Parse the JSON on standard output."""
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


def huge_png(side: int) -> bytes:
    """Return the header of a PNG of side × side pixels, which is enough to reject the image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_the_table_has_one_row_per_image(site: Site) -> None:
    result = whichgen("attribute", "-m", site.run, "images/real/000.png", "images/gan/001.png")
    assert result.code == 0, result.err
    assert "images/real/000.png" in result.out
    assert "images/gan/001.png" in result.out
    assert "candidates (%)" in result.out


def test_all_output_formats_agree(site: Site) -> None:
    model = site.run / "model"
    by_json = answers(whichgen("attribute", "-m", site.run, "images/real", "images/vae", "--json"))
    assert [a["image"] for a in by_json] == [
        f"images/{o}/{i:03d}.png" for o in ("real", "vae") for i in range(10)
    ]
    result = whichgen(
        "attribute", "-m", model, "images/real", "images/vae", "--csv", "--batch-size", 3
    )
    rows = list(csv.DictReader(io.StringIO(result.out)))
    result = whichgen(
        "attribute", "-m", model, "images/real", "images/vae", "--parquet", "a.parquet"
    )
    assert result.code == 0
    assert result.out == ""
    assert "Results: a.parquet" in result.message
    table = pq.read_table("a.parquet").to_pylist()
    for a, row, record in zip(by_json, rows, table, strict=True):
        assert a["image"] == row["image"] == record["image"]
        assert a["origin"] == row["origin"] == record["origin"]
        assert a["score"] == record["score"] == pytest.approx(float(row["score"]), abs=1e-6)
        for origin, p in a["probabilities"].items():
            assert float(row[f"p({origin})"]) == pytest.approx(p, abs=1e-6)
            assert record[f"p({origin})"] == pytest.approx(p, abs=1e-12)
    result = whichgen("attribute", "-m", model, "images", "--json", "--csv")
    assert result.code == 1
    assert "--json and --csv can't be combined" in result.message


def test_an_unstable_answer_is_marked_and_the_check_can_be_turned_off(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open("images/vae/000.png") as file:
        other = file.convert("RGB")
    copies = dict.fromkeys(COPIES, lambda image: image) | {"jpeg": lambda _: other}
    monkeypatch.setattr("whichgen.inference.attributor.COPIES", copies)
    command = ("attribute", "-m", site.run, "images")
    before = answers(whichgen(*command, "--no-stability", "--json"))
    after = answers(whichgen(*command, "--json"))
    changed = 0
    for alone, checked in zip(before, after, strict=True):
        assert alone["stability"] is None
        assert checked["original_answer"] == alone["coarse_origin"]
        same = checked["coarse_origin"] == alone["coarse_origin"]
        assert checked["origin"] == (alone["origin"] if same else "unknown")
        assert checked["differing_copies"] == ([] if checked["stability"] == 5 else ["jpeg"])
        changed += not same
    assert 0 < changed < len(after)
    result = whichgen(*command)
    assert re.search(r"origin +level +unstable +percentile", result.out)
    assert len(re.findall(r"\bjpeg\b", result.out)) == changed
    assert re.search(r"encoded 6 times \(\d+\.\d s in total\); turn it off with", result.message)
    rows = list(csv.DictReader(io.StringIO(whichgen(*command, "--csv").out)))
    assert [row["original_answer"] for row in rows] == [a["original_answer"] for a in after]
    result = whichgen(*command, "--no-stability")
    assert "unstable" not in result.out and "encoded" not in result.message
    result = whichgen(*command, "--report", "answers.html")
    assert "and the report lists the copy" in result.message
    result = whichgen(*command, "--no-stability", "--csv")
    assert "stability" not in result.out.splitlines()[0]


def save_with_text(source: str, target: str, **texts: str) -> None:
    """Copy an image to a PNG with text fields."""
    info = PngInfo()
    for field, text in texts.items():
        info.add_text(field, text)
    with Image.open(source) as image:
        image.save(target, pnginfo=info)


def test_evidence_comes_first_and_fits_80_columns(site: Site) -> None:
    Path("files").mkdir()
    save_with_text("images/real/000.png", "files/made.png", Software="Midjourney")
    save_with_text("images/real/001.png", "files/told.png", Comment="Generated by AI")
    save_with_text("images/real/002.png", "files/plain.png")
    save_with_text("images/real/003.png", "files/cut.png", Software="NovelAI")
    data = Path("files/cut.png").read_bytes()
    Path("files/cut.png").write_bytes(data[:-300])
    command = ("attribute", "-m", site.run, "files", "--no-stability")
    result = whichgen(*command, wide=False)
    assert result.code == 1 and "1 of 4 images can't be read" in result.message
    assert all(len(line) <= 80 for line in result.out.splitlines())
    evidence, answer = result.out.index("evidence in the file"), result.out.index("candidates (%)")
    assert evidence < answer
    assert re.search(r"made\.png +Software: “Midjourney” +(agrees|disagrees|–) *\n", result.out)
    assert re.search(r"told\.png +Comment: “Generated by AI” \(weak evidence\)", result.out)
    assert re.search(r"cut\.png +Software: “NovelAI” +no answer *\n", result.out)
    assert "plain.png" not in result.out[:answer]
    assert "no evidence in 1 of 4 files; the absence of metadata proves" in result.message
    result = whichgen(*command, "--csv")
    rows = {row["image"][6:]: row for row in csv.DictReader(io.StringIO(result.out))}
    assert list(rows["made.png"])[:3] == ["image", "evidence", "evidence_origin"]
    assert rows["cut.png"]["evidence_origin"] == "novelai" and rows["cut.png"]["origin"] == ""
    assert (rows["told.png"]["evidence_strength"], rows["plain.png"]["evidence"]) == ("weak", "")
    whichgen(*command, "--parquet", "a.parquet")
    by_json = answers(whichgen(*command, "--json"))
    for answer, record in zip(by_json, pq.read_table("a.parquet").to_pylist(), strict=True):
        columns = [name for name in record if name.startswith("evidence")]
        assert len(columns) == 4
        assert {name: answer[name] for name in columns} == {n: record[n] for n in columns}
    made = next(answer for answer in by_json if answer["image"] == "files/made.png")
    assert made["provenance"]["findings"][0]["generator"] == "Midjourney"


def test_evidence_does_not_change_the_answer_and_can_be_turned_off(site: Site) -> None:
    save_with_text("images/real/000.png", "made.png", Software="Midjourney")
    command = ("attribute", "-m", site.run, "made.png", "--no-stability")
    (with_evidence,) = answers(whichgen(*command, "--json"))
    (without,) = answers(whichgen(*command, "--no-evidence", "--json"))
    assert without["evidence"] is without["provenance"] is None
    assert {k: v for k, v in with_evidence.items() if k in without and v == without[k]}.keys() >= {
        *("origin", "coarse_origin", "score", "probabilities")
    }
    result = whichgen(*command, "--no-evidence")
    assert "evidence" not in result.out + result.message
    header = whichgen(*command, "--no-evidence", "--csv").out.splitlines()[0]
    assert "evidence" not in header


def test_trust_list_and_aliases_are_read_before_the_model(site: Site) -> None:
    Path("names.tsv").write_text("Midjourney\tour-journey\n")
    save_with_text("images/real/000.png", "made.png", Software="Midjourney")
    options = ("made.png", "--aliases", "names.tsv", "--json", "--no-stability")
    (answer,) = answers(whichgen("attribute", "-m", site.run, *options))
    assert answer["evidence_origin"] == "our-journey"
    for command in ("attribute", "attribute-bulk"):
        for option in ("--trust-list", "--aliases"):
            result = whichgen(command, "-m", site.run, "made.png", option, "none.pem")
            assert result.code != 0 and "none.pem" in result.message


def test_unusual_image_formats_are_attributed(site: Site) -> None:
    with Image.open("images/real/000.png") as file:
        image = file.convert("RGB")
    odd = site.folder / "odd"
    odd.mkdir()
    image.convert("CMYK").save(odd / "cmyk.jpg")
    image.convert("P").save(odd / "palette.png")
    Image.new("I;16", (40, 30), 30_000).save(odd / "deep.png")
    image.save(odd / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    exif = Image.Exif()
    exif[0x0112] = 8
    image.save(odd / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1)).save(odd / "pixel.png")
    Image.new("LA", (300, 2)).save(odd / "strip.png")
    image.save(odd / "no suffix, [red] & ünïcode.png")
    result = whichgen("attribute", "-m", site.run, odd)
    assert result.code == 0, result.err
    assert "[red] & ünïcode" in result.out
    rows = answers(whichgen("attribute", "-m", site.run, odd, "--json"))
    assert len(rows) == 8
    for a in rows:
        assert a["error"] == ""
        assert sum(a["probabilities"].values()) == pytest.approx(1)


def test_unreadable_images_are_reported_after_the_results(site: Site) -> None:
    (site.folder / "text.png").write_text("no image")
    content = io.BytesIO()
    with Image.open("images/real/000.png") as file:
        file.convert("RGB").resize((200, 200)).save(content, "JPEG")
    (site.folder / "cut.jpg").write_bytes(content.getvalue()[:2000])
    (site.folder / "huge.png").write_bytes(huge_png(30_000))
    files = ["gone.png", "text.png", "images/gan/000.png", "cut.jpg", "huge.png"]
    result = whichgen("attribute", "-m", site.run, *files, "--json")
    assert result.code == 1
    assert [bool(a["error"]) for a in answers(result)] == [True, True, False, True, True]
    assert (
        "error: 4 of 5 images can't be read. Check the paths, or replace or remove the files: "
        in result.message
    )
    for message in (
        "gone.png: no such file",
        "text.png: a text file",
        "cut.jpg: can't be decoded",
        "huge.png: the image has more pixels than the limit of 178 million; downscale it",
    ):
        assert result.message.count(message) == 1
    result = whichgen("attribute", "-m", site.run, *files)
    assert result.code == 1
    assert "images/gan/000.png" in result.out
    result = whichgen("attribute", "-m", site.run, *files, "--csv", "--parquet", "a.parquet")
    assert result.code == 1
    assert len(list(csv.DictReader(io.StringIO(result.out)))) == 5
    assert pq.read_table("a.parquet").num_rows == 5
    result = whichgen("attribute", "-m", site.run, "gone.png")
    assert result.code == 1
    assert "1 of 1 image can't be read" in result.message


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--parquet", "a.parquet"]])
def test_file_names_can_be_invalid_unicode(site: Site, form: list[str]) -> None:
    name = os.fsdecode(b"images/real/\xff.png")
    Path("images/real/000.png").rename(name)
    result = whichgen("attribute", "-m", site.run, "images/real", *form)
    assert result.code == 0, result.err


@pytest.mark.parametrize("command", [["attribute"], ["enroll", "new"], ["gallery", "search"]])
def test_missing_files_are_reported_before_the_encoder_is_loaded(
    site: Site, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if command[0] == "gallery":
        assert whichgen("gallery", "build", "images", "-m", site.run).code == 0
    monkeypatch.setattr(Attributor, "load", lambda *_, **__: pytest.fail("loaded"))
    result = whichgen(*command, "-m", site.run, "gone.png")
    assert result.code == 1
    assert "gone.png: no such file" in result.message
    result = whichgen("attribute", "-m", site.run, "images", "-g", "gone")
    assert "no gallery found in gone" in result.message


def test_empty_and_missing_folders_are_errors(site: Site) -> None:
    (site.folder / "empty").mkdir()
    result = whichgen("attribute", "-m", site.run, "empty")
    assert (result.code, result.message) == (
        1,
        "error: empty contains no images. Specify image files or a folder of images.",
    )
    result = whichgen("attribute", "-m", site.run, "nowhere")
    assert result.code == 1
    assert "nowhere: no such file" in result.message
    result = whichgen("attribute", "-m", site.run, "images", "--json", "results.json")
    assert result.code == 1
    assert "results.json does not exist" in result.message
    assert "--json > results.json" in result.message


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, HEAD_FILE])
def test_truncated_model_file_is_reported(site: Site, name: str) -> None:
    file = site.run / "model" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for command in (["attribute", "-m", site.run, "images"], ["evaluate", "-m", site.run]):
        result = whichgen(*command)
        assert result.code == 1
        assert result.message.startswith(f"error: {site.run / 'model'} is damaged: {name}")
        assert "fit the model again" in result.message


def test_a_folder_without_a_model_is_an_error(site: Site) -> None:
    for command in (["attribute", "images", "-m", "images"], ["robustness", "-m", "nowhere"]):
        result = whichgen(*command)
        assert result.code == 1
        assert "no model found" in result.message
        assert "whichgen linear" in result.message
    result = whichgen("attribute", "images", "-m", site.folder / "out")
    assert f"`whichgen fuse`, e.g. {site.run}." in result.message


def test_a_moved_encoder_is_named_with_backbone(site: Site) -> None:
    file = site.run / "model" / DESCRIPTION_FILE
    file.write_text(file.read_text().replace(str(site.clip), "/nowhere/clip"))
    result = whichgen("attribute", "-m", site.run, "images/real")
    assert result.code == 1
    assert "encoder '/nowhere/clip'" in result.message
    assert "--backbone" in result.message
    result = whichgen("attribute", "-m", site.run, "images/real", "--backbone", site.clip)
    assert result.code == 0, result.err


def test_ctrl_c_and_a_full_disk_are_reported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def fail_on_full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", fail_on_full_disk)
        result = whichgen("attribute", "-m", site.run, "images/real", "--parquet", "a.parquet")
    assert result.code == 1
    assert "No space left on device" in result.message
    assert not list(site.folder.glob("*.parquet*"))
    monkeypatch.setattr(load_module, "load_encoder", interrupt)
    monkeypatch.setattr("whichgen.inference.attributor.load_encoder", interrupt)
    result = whichgen("attribute", "-m", site.run, "images/real")
    assert result.code == 130
    assert result.message == "error: interrupted."  # nothing to resume


@pytest.mark.parametrize("suffix", ["html", "pdf"])
def test_a_report_is_written(site: Site, suffix: str) -> None:
    files = sorted((site.images / "gan").iterdir())[:2]
    (site.folder / "notes.png").write_text("no image")
    result = whichgen(
        *("attribute", "-m", site.run, *files, site.folder / "notes.png"),
        *("--device", "cpu", "--report", site.folder / f"case.{suffix}"),
    )
    assert result.code == 1 and "1 of 3 images can't be read" in result.message
    content = (site.folder / f"case.{suffix}").read_bytes()
    assert content.startswith(b"%PDF" if suffix == "pdf" else b"<!doctype html>")
    pictures = b"/Subtype /Image" if suffix == "pdf" else b"data:image/jpeg"
    assert content.count(pictures) == 2


def test_only_a_pdf_report_needs_fpdf(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fpdf", "fastapi", "prometheus_client", "limits", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "whichgen.service.image_report_pdf", raising=False)
    image = site.images / "gan/000.png"
    result = whichgen("attribute", "-m", site.run, image, "--report", site.folder / "case.html")
    assert result.code == 0, result.err
    result = whichgen("attribute", "-m", "nowhere", image, "--report", site.folder / "case.pdf")
    assert result.code == 1 and "whichgen[serve]" in result.message
    assert "PDF needs extra `serve`" in whichgen("attribute", "--help").out


def test_unknown_report_suffix_fails_before_attribution(site: Site) -> None:
    result = whichgen(
        "attribute", "-m", site.folder / "nothing", site.images, "--report", "case.doc"
    )
    assert result.code == 1 and "case.doc: unknown report format" in result.message


def test_tiny_images_are_noted(site: Site) -> None:
    Image.effect_noise((8, 9), 60).convert("RGB").save(site.folder / "tiny.png")
    Image.effect_noise((200, 40), 60).convert("RGB").save(site.folder / "large.png")
    result = whichgen("attribute", "-m", site.run, "tiny.png", "large.png", "--no-stability")
    assert "note: 1 image (tiny.png): Too small: 8 × 9 pixels are not enough" in result.message
    assert (
        "note: 1 image (large.png): Large: 200 × 40 pixels; most training images" in result.message
    )
    result = whichgen("attribute", "-m", site.run, "large.png", "--no-stability")
    assert "Too small" not in result.message


def test_sample_of_8_pixels_of_noise_is_noted(site: Site, shared: Path) -> None:
    result = whichgen("attribute", "-m", site.run, shared / "cases/8x8.png", "--no-stability")
    assert "(8x8.png): Too small: 8 × 8 pixels" in result.message
