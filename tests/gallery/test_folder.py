"""Gallery folders that are damaged, of another model or version, or malicious."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import whichgen.gallery.search as search_module
from whichgen.errors import GalleryError
from whichgen.gallery.build import build_local_gallery
from whichgen.gallery.entries import GalleryImages
from whichgen.gallery.search import load_gallery
from whichgen.models.origin_model import OriginModel
from whichgen.models.signatures import hash_file

from .conftest import RECORD


@pytest.fixture
def gallery(gallery_images: GalleryImages, tmp_path: Path) -> Path:
    """A folder to damage."""
    build_local_gallery(tmp_path / "g", gallery_images, RECORD, kind="ivf")
    return tmp_path / "g"


def edit(folder: Path, **values: Any) -> None:
    """Replace fields of gallery.json."""
    description = json.loads((folder / "gallery.json").read_text())
    (folder / "gallery.json").write_text(json.dumps(description | values))


def update_digests(folder: Path) -> None:
    """Update the digests, as an attacker would."""
    description = json.loads((folder / "gallery.json").read_text())
    edit(folder, files={name: hash_file(folder / name) for name in description["files"]})


def test_named_pipe_is_rejected_at_once(gallery: Path, known: OriginModel) -> None:
    (gallery / "gallery.json").unlink()
    os.mkfifo(gallery / "gallery.json")
    with pytest.raises(GalleryError, match=r"damaged: gallery\.json can't be read"):
        load_gallery(gallery, known)


@pytest.mark.parametrize("name", ["entries.parquet", "vectors.npy", "centroids.npy", "lists.npy"])
def test_missing_or_truncated_file_is_reported(
    name: str, gallery: Path, known: OriginModel
) -> None:
    content = (gallery / name).read_bytes()
    (gallery / name).write_bytes(content[:-1])
    with pytest.raises(GalleryError, match=f"damaged: {name} does not match its digest"):
        load_gallery(gallery, known)
    update_digests(gallery)
    with pytest.raises(GalleryError, match="damaged"):
        load_gallery(gallery, known)
    (gallery / name).unlink()
    with pytest.raises(GalleryError, match=f"damaged: {name} is missing"):
        load_gallery(gallery, known)


def test_missing_permission_is_not_called_damage(
    gallery: Path, known: OriginModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(search_module, "hash_file", fail)
    with pytest.raises(
        GalleryError, match=r"entries\.parquet can't be read .*Check its permissions"
    ):
        load_gallery(gallery, known)


DAMAGED = r"gallery\.json has invalid content"
JSON: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text[: len(text) // 2], DAMAGED),
    (lambda _: "[" * 100_000, DAMAGED),
    (lambda _: "[]", DAMAGED),
    (lambda text: text.replace('"format": 3', '"format": 4'), "format 4, but whichgen"),
    (lambda text: text.replace('"kind"', '"sort"'), DAMAGED),
    (lambda text: text.replace('"ivf"', '"tree"'), DAMAGED),
    (lambda text: text.replace('"at_1"', '"at_2"'), DAMAGED),
    (lambda text: text.replace('"n_images": 62', '"n_images": 0'), DAMAGED),
    (lambda text: text.replace('"n_images": 62', '"n_images": 63'), "63 complete rows"),
]


@pytest.mark.parametrize(("change", "message"), JSON)
def test_invalid_description_is_reported(
    change: Callable[[str], str], message: str, gallery: Path, known: OriginModel
) -> None:
    file = gallery / "gallery.json"
    file.write_text(change(file.read_text()))
    with pytest.raises(GalleryError, match=message):
        load_gallery(gallery, known)


def test_missing_gallery_and_other_model_are_reported(
    gallery: Path, known: OriginModel, models: dict[str, OriginModel], tmp_path: Path
) -> None:
    with pytest.raises(GalleryError, match="no gallery found"):
        load_gallery(tmp_path, known)
    with pytest.raises(GalleryError, match="no gallery found"):
        load_gallery(gallery / "gallery.json", known)
    exemplars = replace(known.exemplars, features=known.exemplars.features + 1)
    other = replace(models["knn"], exemplars=known.exemplars)
    for other_model in (other, replace(known, exemplars=exemplars), replace(known, blocks=(2,))):
        with pytest.raises(GalleryError, match="built with another model"):
            load_gallery(gallery, other_model)


def test_entries_with_wrong_columns_or_nulls_are_rejected(
    gallery: Path, known: OriginModel
) -> None:
    table = pq.read_table(gallery / "entries.parquet")
    hole = pa.array([None] * len(table), pa.large_string())
    for wrong in (
        table.drop_columns(["origin"]),
        table.set_column(0, table.schema.field(0), hole),
        table.append_column("more", hole),
        table.slice(1),
    ):
        pq.write_table(wrong, gallery / "entries.parquet")
        update_digests(gallery)
        with pytest.raises(GalleryError, match=r"entries\.parquet does not contain 62"):
            load_gallery(gallery, known)
    (gallery / "entries.parquet").write_bytes(b"PAR1 no table PAR1")
    update_digests(gallery)
    with pytest.raises(GalleryError, match=r"is damaged: .*Parquet"):
        load_gallery(gallery, known)


def test_arrays_are_validated_even_if_the_digest_matches(gallery: Path, known: OriginModel) -> None:
    lists = np.load(gallery / "lists.npy")
    lists[0] = 10**6
    np.save(gallery / "lists.npy", lists)
    update_digests(gallery)
    with pytest.raises(GalleryError, match=r"damaged: lists\.npy must contain numbers"):
        load_gallery(gallery, known)


def test_file_names_in_the_description_are_not_opened(gallery: Path, known: OriginModel) -> None:
    description = json.loads((gallery / "gallery.json").read_text())
    edit(gallery, files=description["files"] | {"../../etc/passwd": "0" * 64})
    load_gallery(gallery, known)  # the kind determines which files are read
