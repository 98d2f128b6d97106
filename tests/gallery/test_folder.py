"""A gallery's folder that is damaged, of another model or version, or made by a stranger."""

from __future__ import annotations

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

from whichgen.errors import GalleryError
from whichgen.gallery.build import build_local_gallery
from whichgen.gallery.entries import Images
from whichgen.gallery.loading import load_gallery
from whichgen.models.origin_model import OriginModel
from whichgen.models.signatures import sha256_of_file

from .conftest import RECORD


@pytest.fixture
def gallery(gathered: Images, tmp_path: Path) -> Path:
    """A gallery to damage."""
    build_local_gallery(tmp_path / "g", gathered, RECORD, kind="hnsw")
    return tmp_path / "g"


def edited(folder: Path, **values: Any) -> None:
    """Changes what gallery.json says."""
    told = json.loads((folder / "gallery.json").read_text())
    (folder / "gallery.json").write_text(json.dumps(told | values))


def signed(folder: Path) -> None:
    """Makes the digests fit the files, as a stranger would."""
    told = json.loads((folder / "gallery.json").read_text())
    edited(folder, files={name: sha256_of_file(folder / name) for name in told["files"]})


def test_a_whole_gallery_opens(gallery: Path, known: OriginModel) -> None:
    load_gallery(gallery, known)


def test_a_pipe_for_a_description_is_not_waited_for(gallery: Path, known: OriginModel) -> None:
    (gallery / "gallery.json").unlink()
    os.mkfifo(gallery / "gallery.json")
    with pytest.raises(GalleryError, match=r"damaged: gallery\.json can't be read"):
        load_gallery(gallery, known)


@pytest.mark.parametrize("name", ["entries.parquet", "vectors.npy", "levels.npy", "neighbors.npy"])
def test_a_file_that_is_missing_or_cut_is_told(
    name: str, gallery: Path, known: OriginModel
) -> None:
    content = (gallery / name).read_bytes()
    (gallery / name).write_bytes(content[:-1])
    with pytest.raises(GalleryError, match=f"damaged: {name} is not what gallery.json says"):
        load_gallery(gallery, known)
    signed(gallery)
    with pytest.raises(GalleryError, match="damaged"):
        load_gallery(gallery, known)
    (gallery / name).unlink()
    with pytest.raises(GalleryError, match=f"damaged: {name} is missing"):
        load_gallery(gallery, known)


JSON: list[tuple[Callable[[str], str], str]] = [
    (lambda text: text[: len(text) // 2], "cut or changed"),
    (lambda _: "[" * 100_000, "cut or changed"),
    (lambda _: "[]", "cut or changed"),
    (lambda text: text.replace('"format": 1', '"format": 2'), "format 2; whichgen .* reads format"),
    (lambda text: text.replace('"kind"', '"sort"'), "kind: Field required; sort: Extra inputs"),
    (lambda text: text.replace('"hnsw"', '"tree"'), "kind"),
    (lambda text: text.replace('"at_1"', '"at_2"'), "recall"),
    (lambda text: text.replace('"number": 62', '"number": 63'), "does not list 63 images"),
    (lambda text: text.replace('"number": 62', '"number": 0'), "number"),
    (lambda text: text.replace('"kind": "hnsw"', '"kind": "ivf"'), "centroids.npy is missing"),
]


@pytest.mark.parametrize(("change", "message"), JSON)
def test_a_description_that_is_wrong_is_one_message(
    change: Callable[[str], str], message: str, gallery: Path, known: OriginModel
) -> None:
    file = gallery / "gallery.json"
    file.write_text(change(file.read_text()))
    with pytest.raises(GalleryError, match=message):
        load_gallery(gallery, known)


def test_a_folder_without_gallery_and_one_of_another_model(
    gallery: Path, known: OriginModel, models: dict[str, OriginModel], tmp_path: Path
) -> None:
    with pytest.raises(GalleryError, match="holds no gallery"):
        load_gallery(tmp_path, known)
    with pytest.raises(GalleryError, match="holds no gallery"):
        load_gallery(gallery / "gallery.json", known)
    assert known.exemplars is not None
    moved = replace(known.exemplars, features=known.exemplars.features + 1)
    other = replace(models["knn"], exemplars=known.exemplars)
    for stranger in (other, replace(known, exemplars=moved), replace(known, blocks=(2,))):
        with pytest.raises(GalleryError, match="built with another model"):
            load_gallery(gallery, stranger)


def test_entries_of_other_columns_or_with_holes_are_refused(
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
        signed(gallery)
        with pytest.raises(GalleryError, match=r"entries\.parquet does not list 62 images"):
            load_gallery(gallery, known)
    (gallery / "entries.parquet").write_bytes(b"PAR1 no table PAR1")
    signed(gallery)
    with pytest.raises(GalleryError, match=r"entries\.parquet can't be read"):
        load_gallery(gallery, known)


def test_arrays_of_a_stranger_are_checked_although_the_digest_fits(
    gallery: Path, known: OriginModel
) -> None:
    links = np.load(gallery / "neighbors.npy")
    links[0] = 10**6
    np.save(gallery / "neighbors.npy", links)
    signed(gallery)
    with pytest.raises(GalleryError, match=r"damaged: neighbors\.npy links to images"):
        load_gallery(gallery, known)


def test_no_name_in_the_description_leads_out_of_the_folder(
    gallery: Path, known: OriginModel
) -> None:
    told = json.loads((gallery / "gallery.json").read_text())
    edited(gallery, files=told["files"] | {"../../etc/passwd": "0" * 64})
    load_gallery(gallery, known)  # what is read is named by the kind
