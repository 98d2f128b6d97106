"""``gallery build``, ``gallery search`` and ``attribute --gallery``."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

import whichgen.encoders.loading as load_module
import whichgen.gallery.build as build_module
import whichgen.gallery.qdrant as qdrant_module
from whichgen.gallery.index import Recall

from .conftest import Result, Site, whichgen


def build(site: Site, *options: object, data: object = "images") -> Result:
    return whichgen("gallery", "build", "-m", site.run, data, "--cache-dir", site.cache, *options)


def search(*arguments: object, gallery: str = "gallery") -> list[dict[str, Any]]:
    result = whichgen("gallery", "search", "-g", gallery, *arguments, "--json")
    assert result.code == 0, result.err
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


def test_gallery_is_built_and_searched(site: Site) -> None:
    result = build(site)
    assert result.code == 0, result.err
    assert "50 images, flat index" in result.message
    assert "recall@1 100.0 %, recall@10 100.0 %" in result.message
    assert "whichgen gallery search IMAGE -g gallery" in result.message
    description = json.loads(Path("gallery/gallery.json").read_text())
    assert description["recall"] == {"at_1": 1.0, "at_10": 1.0, "queries": 13}
    assert description["run_metadata"]["seeds"] == {"seed": 0}
    rows = search("images/gan/001.png", "images/flow", "-k", 2)
    assert [row["image"] for row in rows][:2] == ["images/gan/001.png", "images/flow/000.png"]
    for row in rows:
        first, second = row["nearest"]
        assert first["path"] == str(Path(row["image"]).resolve())
        assert first["origin"] == Path(row["image"]).parent.name
        assert first["cosine"] == pytest.approx(1, abs=1e-5)
        assert second["cosine"] <= first["cosine"]
    result = whichgen("gallery", "search", "-g", "gallery", "images/gan/001.png", "-k", 3)
    assert "Most similar of 50 images" in result.out
    assert "1.000" in result.out

    command = ("attribute", "-m", site.run, "images/gan/001.png")
    (answer,) = json.loads(whichgen(*command, "--gallery", "gallery", "--json").out)
    assert len(answer["nearest"]) == 6
    assert answer["nearest"][0]["path"] == str(Path("images/gan/001.png").resolve())
    (row,) = csv.DictReader(io.StringIO(whichgen(*command, "--gallery", "gallery", "--csv").out))
    assert (row["nearest_origin"], row["error"]) == ("gan", "")
    assert "gan 1.000" in whichgen(*command, "--gallery", "gallery").out
    (plain,) = json.loads(whichgen(*command, "--json").out)
    assert plain["nearest"] is None
    report = whichgen(*command, "--gallery", "gallery", "--report", "r.html")
    assert report.code == 0, report.err


def test_cached_images_are_not_decoded_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(site).code == 0
    load = load_module.load_encoder

    def load_without_preprocessing(*args: Any, **kwargs: Any) -> Any:
        encoder = load(*args, **kwargs)

        def refuse(_: Any) -> Any:
            raise AssertionError("decoded again")

        object.__setattr__(encoder, "preprocess", refuse)
        return encoder

    monkeypatch.setattr("whichgen.inference.attributor.load_encoder", load_without_preprocessing)
    result = build(site, "-o", "second", "--kind", "ivf")
    assert result.code == 0, result.err


def test_invalid_options_are_reported(site: Site) -> None:
    Path("empty").mkdir()
    for data, options, message in (
        ("empty", (), "no readable image found"),
        ("no/folder", (), "no/folder does not exist"),
        ("NoSuchSet", (), "dataset 'NoSuchSet' is not one of"),
        ("images", ("--kind", "qdrant"), "is not the address of a Qdrant service"),
        ("images", ("--kind", "qdrant", "--qdrant-url", "folder"), "'folder' is not the address"),
        ("images", ("-o", "images"), "images already exists and is not a gallery"),
    ):
        result = build(site, *options, data=data)
        assert result.code == 1, data
        assert message in result.message
        assert not Path("gallery").exists()
    assert build(site, "--kind", "tree").code == 2
    result = whichgen("gallery", "search", "-g", "images", "images/gan/001.png")
    assert result.code == 1
    assert "no gallery found in images" in result.message


def test_damaged_gallery_or_one_of_another_model_is_rejected(
    site: Site,
) -> None:
    assert build(site).code == 0
    other = whichgen("enroll", "-m", site.run, "fresh", "images/flow/001.png", "-o", "other")
    assert other.code == 0, other.err
    image = "images/gan/001.png"
    for command in (
        ("gallery", "search", "-g", "gallery", image, "--model", "other"),
        ("attribute", "-m", "other", image, "--gallery", "gallery"),
    ):
        result = whichgen(*command)
        assert result.code == 1
        assert "gallery was built with another model" in result.message
    vectors = Path("gallery/vectors.npy")
    vectors.write_bytes(vectors.read_bytes()[:-4])
    result = whichgen("attribute", "-m", site.run, image, "--gallery", "gallery")
    assert result.code == 1
    assert "vectors.npy does not match its digest" in result.message


def test_moved_model_requires_the_model_option(site: Site) -> None:
    assert build(site).code == 0
    file = Path("gallery/gallery.json")
    description = json.loads(file.read_text())
    for config in ({"model": "nowhere"}, {"model": 3}, {}, [], None):
        description["run_metadata"]["config"] = config
        file.write_text(json.dumps(description))
        result = whichgen("gallery", "search", "-g", "gallery", "images/gan/001.png")
        assert result.code == 1
        assert "Set --model to the run folder or model folder" in result.message
    assert search("images/gan/001.png", "--model", site.run)[0]["nearest"]


def test_unreachable_service_is_reported_before_images_are_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whichgen.gallery.entries.collect_images", None)  # must not be called
    result = build(site, "--kind", "qdrant", "--qdrant-url", "http://127.0.0.1:1")
    assert result.code == 1
    assert "the request to Qdrant failed" in result.message


def test_low_recall_is_a_warning(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "compute_recall", lambda *_: Recall(0.9, 0.5, 7))
    result = build(site, "--kind", "ivf")
    assert result.code == 0
    assert "recall@10 is below 95 %" in result.message
    assert json.loads(Path("gallery/gallery.json").read_text())["recall"]["at_10"] == 0.5


def test_duplicates_and_unreadable_files_are_reported(site: Site) -> None:
    shutil.copy("images/gan/001.png", "images/vae/copy.png")
    Path("images/vae/broken.png").write_bytes(b"no image")
    result = build(site)
    assert result.code == 0
    assert "Unreadable files skipped: 1" in result.message
    assert "Duplicate files skipped: 1" in result.message
    assert "Duplicate files with different origins: 1" in result.message
    result = whichgen(
        "gallery", "search", "-g", "gallery", "images/vae/broken.png", "images/gan/001.png"
    )
    assert result.code == 1
    assert "1 of 2 images can't be read" in result.message
    assert "1.000" in result.out


def test_interrupted_build_leaves_nothing_and_can_be_repeated(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "write_description", stop)
        result = build(site)
    assert result.code == 130
    assert "rerun the command to resume" in result.message
    assert not [p for p in Path().iterdir() if "gallery" in p.name]
    assert build(site).code == 0
    again = build(site)
    assert again.code == 1
    assert "use --force to replace it" in again.message
    assert build(site, "--force").code == 0


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_qdrant_gallery_equals_a_local_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    service = QdrantClient(":memory:")
    monkeypatch.setattr(qdrant_module, "QdrantClient", lambda **_: service)
    monkeypatch.setenv("WHICHGEN_QDRANT_URL", "http://localhost:6333")
    for _ in range(2):
        result = build(site, "--kind", "qdrant", "-o", "remote", "--force")
        assert result.code == 0, result.err
    description = json.loads(Path("remote/gallery.json").read_text())
    assert description["collection"] == f"whichgen-{description['model'][:16]}"
    assert service.count(description["collection"]).count == 50
    assert (
        build(site, "-o", "local").code == 0
    )  # the environment variable alone does not select Qdrant
    rows = {name: search("images/gan", "-k", 4, gallery=name) for name in ("remote", "local")}
    for one, other in zip(rows["remote"], rows["local"], strict=True):
        assert [n["path"] for n in one["nearest"]] == [n["path"] for n in other["nearest"]]
    monkeypatch.delenv("WHICHGEN_QDRANT_URL")
    result = whichgen("gallery", "search", "-g", "remote", "images/gan/001.png")
    assert result.code == 1
    assert "is not the address of a Qdrant service" in result.message


def test_missing_extra_is_reported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "whichgen.gallery.qdrant")
    monkeypatch.delattr("whichgen.gallery.qdrant")
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    result = build(site, "--kind", "qdrant", "--qdrant-url", "http://localhost:6333")
    assert result.code == 1
    assert "pip install 'whichgen[qdrant]'" in result.message
    assert build(site).code == 0
