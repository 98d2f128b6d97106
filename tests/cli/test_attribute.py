"""``attribute``: answers on the terminal and as JSON, CSV and Parquet, whatever the files are."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

import whichgen.encoders.loading as load_module
import whichgen.io.tables as tables_module
from whichgen.models.saved_model import DESCRIPTION_FILE, HEAD_FILE

from .conftest import Done, Site, whichgen


def answers(done: Done) -> list[dict[str, Any]]:
    """The JSON on standard output."""
    found: list[dict[str, Any]] = json.loads(done.out)
    return found


def huge_png(side: int) -> bytes:
    """The head of a PNG of side × side pixels: no more is needed to refuse it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_the_table_has_one_row_per_image(site: Site) -> None:
    done = whichgen("attribute", "-m", site.run, "images/real/000.png", "images/gan/001.png")
    assert done.code == 0, done.err
    assert "images/real/000.png" in done.out
    assert "images/gan/001.png" in done.out
    assert "candidates (%)" in done.out


def test_all_output_formats_agree(site: Site) -> None:
    model = site.run / "model"
    by_json = answers(whichgen("attribute", "-m", site.run, "images/real", "images/vae", "--json"))
    assert [a["image"] for a in by_json] == [
        f"images/{o}/{i:03d}.png" for o in ("real", "vae") for i in range(10)
    ]
    done = whichgen(
        "attribute", "-m", model, "images/real", "images/vae", "--csv", "--batch-size", 3
    )
    rows = list(csv.DictReader(io.StringIO(done.out)))
    done = whichgen("attribute", "-m", model, "images/real", "images/vae", "--parquet", "a.parquet")
    assert done.code == 0
    assert done.out == ""
    assert "20 results: a.parquet" in done.message
    table = pq.read_table("a.parquet").to_pylist()
    for a, row, kept in zip(by_json, rows, table, strict=True):
        assert a["image"] == row["image"] == kept["image"]
        assert a["origin"] == row["origin"] == kept["origin"]
        assert a["score"] == kept["score"] == pytest.approx(float(row["score"]), abs=1e-6)
        for origin, p in a["probabilities"].items():
            assert float(row[f"p({origin})"]) == pytest.approx(p, abs=1e-6)
            assert kept[f"p({origin})"] == pytest.approx(p, abs=1e-12)
    done = whichgen("attribute", "-m", model, "images", "--json", "--csv")
    assert done.code == 1
    assert "--json and --csv can't be combined" in done.message


def test_unusual_image_formats_are_attributed(site: Site) -> None:
    with Image.open("images/real/000.png") as opened:
        image = opened.convert("RGB")
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
    done = whichgen("attribute", "-m", site.run, odd)
    assert done.code == 0, done.err
    assert "[red] & ünïcode" in done.out
    found = answers(whichgen("attribute", "-m", site.run, odd, "--json"))
    assert len(found) == 8
    for a in found:
        assert a["error"] == ""
        assert sum(a["probabilities"].values()) == pytest.approx(1)


def test_unreadable_images_are_reported_beside_the_results(site: Site) -> None:
    (site.folder / "text.png").write_text("no image")
    content = io.BytesIO()
    with Image.open("images/real/000.png") as opened:
        opened.convert("RGB").resize((200, 200)).save(content, "JPEG")
    (site.folder / "cut.jpg").write_bytes(content.getvalue()[:2000])
    (site.folder / "huge.png").write_bytes(huge_png(30_000))
    files = ["gone.png", "text.png", "images/gan/000.png", "cut.jpg", "huge.png"]
    done = whichgen("attribute", "-m", site.run, *files, "--json")
    assert done.code == 1
    assert [bool(a["error"]) for a in answers(done)] == [True, True, False, True, True]
    assert "error: 4 of 5 images can't be read: " in done.message
    for message in (
        "gone.png: no such file",
        "text.png: not an image",
        "cut.jpg: damaged or truncated",
        "huge.png: the number of pixels is over the limit of 178 million; make it smaller first",
    ):
        assert done.message.count(message) == 1
    done = whichgen("attribute", "-m", site.run, *files)
    assert done.code == 1
    assert "images/gan/000.png" in done.out
    done = whichgen("attribute", "-m", site.run, *files, "--csv", "--parquet", "a.parquet")
    assert done.code == 1
    assert len(list(csv.DictReader(io.StringIO(done.out)))) == 5
    assert pq.read_table("a.parquet").num_rows == 5
    done = whichgen("attribute", "-m", site.run, "gone.png")
    assert done.code == 1
    assert "1 of 1 images can't be read" in done.message


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--parquet", "a.parquet"]])
def test_file_names_need_not_be_unicode(site: Site, form: list[str]) -> None:
    name = os.fsdecode(b"images/real/\xff.png")
    Path("images/real/000.png").rename(name)
    done = whichgen("attribute", "-m", site.run, "images/real", *form)
    assert done.code == 0, done.err


def test_empty_and_missing_folders_are_errors(site: Site) -> None:
    (site.folder / "empty").mkdir()
    done = whichgen("attribute", "-m", site.run, "empty")
    assert (done.code, done.message) == (
        1,
        "error: empty contains no images. Give image files or a folder of images.",
    )
    done = whichgen("attribute", "-m", site.run, "nowhere")
    assert done.code == 1
    assert "nowhere: no such file" in done.message
    done = whichgen("attribute", "-m", site.run, "images", "--json", "results.json")
    assert done.code == 1
    assert "results.json does not exist" in done.message
    assert "--json > results.json" in done.message


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, HEAD_FILE])
def test_a_model_file_cut_in_half_is_one_message(site: Site, name: str) -> None:
    file = site.run / "model" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for command in (["attribute", "-m", site.run, "images"], ["evaluate", "-m", site.run]):
        done = whichgen(*command)
        assert done.code == 1
        assert done.message.startswith(f"error: {site.run / 'model'} is damaged: {name}")
        assert "fit the model again" in done.message


def test_a_folder_without_a_model_is_an_error(site: Site) -> None:
    for command in (["attribute", "images", "-m", "images"], ["robustness", "-m", "nowhere"]):
        done = whichgen(*command)
        assert done.code == 1
        assert "no model found" in done.message
        assert "whichgen linear" in done.message


def test_a_moved_encoder_is_named_with_backbone(site: Site) -> None:
    file = site.run / "model" / DESCRIPTION_FILE
    file.write_text(file.read_text().replace(str(site.clip), "/nowhere/clip"))
    done = whichgen("attribute", "-m", site.run, "images/real")
    assert done.code == 1
    assert "encoder '/nowhere/clip'" in done.message
    assert "--backbone" in done.message
    done = whichgen("attribute", "-m", site.run, "images/real", "--backbone", site.clip)
    assert done.code == 0, done.err


def test_ctrl_c_and_a_full_disk_give_one_message(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tables_module.pq, "write_table", full)
        done = whichgen("attribute", "-m", site.run, "images/real", "--parquet", "a.parquet")
    assert done.code == 1
    assert "No space left on device" in done.message
    assert not list(site.folder.glob("*.parquet*"))
    monkeypatch.setattr(load_module, "load_encoder", stopped)
    monkeypatch.setattr("whichgen.inference.attributor.load_encoder", stopped)
    done = whichgen("attribute", "-m", site.run, "images/real")
    assert done.code == 130
    assert done.message == "error: interrupted."  # nothing to resume


@pytest.mark.parametrize("suffix", ["html", "pdf"])
def test_a_report_is_written(site: Site, suffix: str) -> None:
    files = sorted((site.images / "gan").iterdir())[:2]
    (site.folder / "notes.png").write_text("no image")
    done = whichgen(
        *("attribute", "-m", site.run, *files, site.folder / "notes.png"),
        *("--device", "cpu", "--report", site.folder / f"case.{suffix}"),
    )
    assert done.code == 1 and "1 of 3 images can't be read" in done.message
    content = (site.folder / f"case.{suffix}").read_bytes()
    assert content.startswith(b"%PDF" if suffix == "pdf" else b"<!doctype html>")
    pictures = b"/Subtype /Image" if suffix == "pdf" else b"data:image/jpeg"
    assert content.count(pictures) == 2


def test_an_unknown_report_suffix_fails_before_the_work(site: Site) -> None:
    done = whichgen("attribute", "-m", site.folder / "nothing", site.images, "--report", "case.doc")
    assert done.code == 1 and "case.doc: a report must end in .html or .pdf." in done.message
