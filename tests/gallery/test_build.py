"""Build, load and search galleries; interrupted builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import whichgen.features.extraction as extraction_module
import whichgen.gallery.build as build_module
import whichgen.gallery.entries as entries_module
from conftest import CountingEncoder
from whichgen.data.dataset import Sample
from whichgen.data.open_dataset import list_samples
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError, FitError, GalleryError
from whichgen.features.store import FeatureStore
from whichgen.gallery.build import build_local_gallery, hold_out_queries
from whichgen.gallery.entries import GalleryImages, collect_images
from whichgen.gallery.gallery_description import read_description
from whichgen.gallery.index import IndexKind, Recall
from whichgen.gallery.search import load_gallery
from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attributor import Attributor
from whichgen.inference.similar_images import SimilaritySpace
from whichgen.models.origin_model import OriginModel

from .conftest import RECORD, features_of

KINDS: tuple[IndexKind, ...] = get_args(IndexKind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_is_its_own_nearest_neighbor(
    kind: IndexKind, gallery_images: GalleryImages, known: OriginModel, tmp_path: Path
) -> None:
    description = build_local_gallery(
        tmp_path / "g", gallery_images, RECORD, kind=kind, effort=2048
    )
    assert (description.kind, description.n_images, description.dimension) == (kind, 62, 32)
    assert description == read_description(tmp_path / "g")
    assert description.recall is not None
    assert description.recall.queries == 16  # of 31 held out, those that choose no effort
    assert (description.recall.at_1, description.recall.at_10) == (1, 1)
    neighbors = load_gallery(tmp_path / "g", known).find_neighbors(
        known.head.forward(features_of(gallery_images)), 3
    )
    for entry, (first, *others) in zip(gallery_images.entries.to_pylist(), neighbors, strict=True):
        assert (first.path, first.origin) == (entry["path"], entry["origin"])
        assert first.similarity == pytest.approx(1, abs=1e-5)
        assert first.similarity >= others[0].similarity >= others[1].similarity
        assert first.exemplar is None


def test_cosines_do_not_depend_on_batches(
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build_local_gallery(tmp_path / "whole", gallery_images, RECORD)
    monkeypatch.setattr(entries_module, "BATCH_ROWS", 7)
    build_local_gallery(tmp_path / "parts", gallery_images, RECORD)
    features = features_of(gallery_images)
    points = SimilaritySpace(known).project(known.head.forward(features))
    cosines = -np.sort(-(points @ points.T), axis=1)[:, :5]
    for name in ("whole", "parts"):
        neighbors = load_gallery(tmp_path / name, known).find_neighbors(
            known.head.forward(features), 5
        )
        np.testing.assert_allclose(
            [[near.similarity for near in row] for row in neighbors], cosines, atol=1e-5
        )
    whole, parts = (read_description(tmp_path / name) for name in ("whole", "parts"))
    assert whole.recall == parts.recall == Recall(1.0, 1.0, 16)


def test_held_out_images_are_not_indexed_when_recall_is_measured(
    gallery_images: GalleryImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[np.ndarray] = []
    search_index = build_module.search_index

    def record(index: Any, *args: Any) -> Any:
        assert index.ntotal == 31
        queries.append(args[0])
        return search_index(index, *args)

    monkeypatch.setattr(build_module, "search_index", record)
    description = build_local_gallery(tmp_path / "g", gallery_images, RECORD, kind="ivf", seed=3)
    assert description.n_images == 62
    first, held_out = hold_out_queries(62, seed=3)
    assert sorted([*first, *held_out]) == list(range(62))
    assert held_out.min() < 20 and held_out.max() > 40
    vectors = gallery_images.compute_vectors(held_out)
    np.testing.assert_allclose(queries[-1], vectors[::2], atol=1e-5)


def test_effort_is_chosen_to_reach_the_target_recall(
    gallery_images: GalleryImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "list_efforts", lambda *_: (16, 32, 64, 128))
    shares = iter([0.5, 0.94, 0.96, 0.9])  # of the last query's half at the effort chosen
    monkeypatch.setattr(
        build_module, "compute_recall", lambda cosines, _: Recall(1.0, next(shares), len(cosines))
    )
    description = build_local_gallery(tmp_path / "g", gallery_images, RECORD, kind="ivf")
    assert description.effort == 64
    assert description.recall is not None
    assert description.recall.at_10 == 0.9
    shares = iter([0.1])
    assert (
        build_local_gallery(tmp_path / "h", gallery_images, RECORD, kind="ivf", effort=20).effort
        == 20
    )


def test_gallery_of_one_image(
    gallery_images: GalleryImages, known: OriginModel, tmp_path: Path
) -> None:
    one = gallery_images.take(np.array([5]))
    for kind in KINDS:
        assert build_local_gallery(tmp_path / kind, one, RECORD, kind=kind).recall is None
        ((near,),) = load_gallery(tmp_path / kind, known).find_neighbors(
            known.head.forward(features_of(one)), 9
        )
        assert near.path == one.entries["path"][0].as_py()


def test_duplicates_are_counted_once_and_conflicts_reported(
    pictures: Path, known: OriginModel, encoder: Encoder, store: FeatureStore, tmp_path: Path
) -> None:
    samples = list(list_samples(str(pictures)))[:4]
    copy, broken = tmp_path / "copy.png", tmp_path / "broken.png"
    copy.write_bytes(samples[0].path.read_bytes())
    broken.write_bytes(b"no image")
    more = [Sample(copy, samples[0].origin), Sample(copy, "another"), Sample(broken, "real")]
    images = collect_images([*samples, *more], SimilaritySpace(known), encoder, store)
    assert images.entries["path"].to_pylist() == [str(sample.path) for sample in samples]
    assert (images.n_duplicates, images.n_conflicts, len(images.skipped)) == (2, 1, 1)
    with pytest.raises(DataError, match=r"no readable image found: .*broken\.png"):
        collect_images([Sample(broken, "real")], SimilaritySpace(known), encoder, store)
    with pytest.raises(DataError, match="no readable image found"):
        collect_images([], SimilaritySpace(known), encoder, store)


def test_interrupted_extraction_is_resumed(
    pictures: Path,
    known: OriginModel,
    counting: Callable[..., CountingEncoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extraction_module, "FLUSH_ROWS", 10)
    samples, space = list_samples(str(pictures)), SimilaritySpace(known)
    stopped, again = counting(fail_at=40), counting()
    with pytest.raises(KeyboardInterrupt):
        store = FeatureStore(tmp_path, stopped.encoder)
        collect_images(samples, space, stopped.encoder, store, batch_size=5)
    store = FeatureStore(tmp_path, again.encoder)
    assert len(collect_images(samples, space, again.encoder, store, batch_size=5)) == 62
    assert again.images <= 62 - 30


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_failed_write_keeps_the_previous_gallery(
    failure: BaseException,
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build_local_gallery(tmp_path / "g", gallery_images, RECORD)

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(build_module, "write_description", fail)
    for folder, force in ((tmp_path / "g", True), (tmp_path / "new", False)):
        with pytest.raises(type(failure)):
            build_local_gallery(folder, gallery_images, RECORD, kind="ivf", force=force)
    assert [p.name for p in tmp_path.iterdir()] == ["g"]
    load_gallery(tmp_path / "g", known)


def test_only_a_gallery_is_replaced_and_only_with_force(
    gallery_images: GalleryImages, tmp_path: Path
) -> None:
    build_local_gallery(tmp_path / "g", gallery_images, RECORD)
    (tmp_path / "g" / "stale").touch()
    with pytest.raises(GalleryError, match="use force=True to replace it"):
        build_local_gallery(tmp_path / "g", gallery_images, RECORD)
    assert (
        build_local_gallery(tmp_path / "g", gallery_images, RECORD, kind="ivf", force=True).kind
        == "ivf"
    )
    assert not (tmp_path / "g" / "stale").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(GalleryError, match="is not a gallery"):
        build_local_gallery(tmp_path / "mine", gallery_images, RECORD, force=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"


def test_attributor_searches_a_gallery(
    gallery_images: GalleryImages,
    known: OriginModel,
    encoder: Encoder,
    pictures: Path,
    tmp_path: Path,
) -> None:
    build_local_gallery(tmp_path / "g", gallery_images, RECORD)
    gallery = load_gallery(tmp_path / "g", known)
    file = pictures / "gan" / "03.png"
    (answer,) = Attributor(known, encoder).attribute(file, nearest=2, gallery=gallery)
    assert answer.nearest is not None
    assert (answer.nearest[0].path, answer.nearest[0].origin) == (str(file), "gan")
    row = answer.as_row(make_answer_schema(known.origins, gallery=True))
    assert (row["nearest"], row["nearest_origin"]) == (str(file), "gan")
    assert "nearest" not in answer.as_row(make_answer_schema(known.origins))


def test_non_finite_vectors_are_rejected(known: OriginModel) -> None:
    space = SimilaritySpace(known)
    with pytest.raises(FitError, match="NaN or infinity"):
        space.project(known.head.forward(np.full((2, 32), np.nan, dtype=np.float32)))


def test_data_hash_covers_origins(gallery_images: GalleryImages) -> None:
    names = gallery_images.entries["origin"].to_pylist()
    other = gallery_images.entries.set_column(1, "origin", [["x", *names[1:]]])
    assert (
        gallery_images.compute_data_hash()
        != replace(gallery_images, entries=other).compute_data_hash()
    )
    assert (
        gallery_images.compute_data_hash()
        == replace(gallery_images, skipped=("x",)).compute_data_hash()
    )
