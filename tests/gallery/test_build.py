"""A gallery built, opened, searched; and what happens when building is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import whichgen.gallery.build as build_module
import whichgen.gallery.entries as entries_module
from conftest import CountingEncoder
from whichgen.data.dataset import Sample
from whichgen.data.folders import list_samples
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError, FitError, GalleryError
from whichgen.features.store import FeatureStore
from whichgen.gallery.build import build_local_gallery, data_hash, divided
from whichgen.gallery.entries import Images, gather
from whichgen.gallery.index import Kind
from whichgen.gallery.loading import load_gallery
from whichgen.gallery.recall import Recall
from whichgen.gallery.storage import read_description
from whichgen.inference.attributor import Attributor
from whichgen.inference.neighbors import SimilaritySpace
from whichgen.models.origin_model import OriginModel

from .conftest import RECORD, features_of

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_every_image_finds_itself_under_its_own_name(
    kind: Kind, gathered: Images, known: OriginModel, tmp_path: Path
) -> None:
    told = build_local_gallery(tmp_path / "g", gathered, RECORD, kind=kind, effort=2048)
    assert (told.kind, told.number, told.dimension) == (kind, 62, 32)
    assert told == read_description(tmp_path / "g")
    assert told.recall is not None
    assert told.recall.queries == 16  # of 31 held out, those that choose no effort
    assert (told.recall.at_1, told.recall.at_10) == (1, 1)
    found = load_gallery(tmp_path / "g", known).nearest(features_of(gathered), 3)
    for entry, (first, *others) in zip(gathered.entries.to_pylist(), found, strict=True):
        assert (first.path, first.origin) == (entry["path"], entry["origin"])
        assert first.similarity == pytest.approx(1, abs=1e-5)
        assert first.similarity >= others[0].similarity >= others[1].similarity
        assert first.exemplar is None


def test_cosines_are_those_of_the_comparison_and_batches_change_nothing(
    gathered: Images, known: OriginModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_local_gallery(tmp_path / "whole", gathered, RECORD)
    monkeypatch.setattr(entries_module, "STEP", 7)
    build_local_gallery(tmp_path / "parts", gathered, RECORD)
    features = features_of(gathered)
    points = SimilaritySpace(known).points(features)
    cosines = -np.sort(-(points @ points.T), axis=1)[:, :5]
    for name in ("whole", "parts"):
        found = load_gallery(tmp_path / name, known).nearest(features, 5)
        np.testing.assert_allclose(
            [[near.similarity for near in row] for row in found], cosines, atol=1e-5
        )
    whole, parts = (read_description(tmp_path / name) for name in ("whole", "parts"))
    assert whole.recall == parts.recall == Recall(1.0, 1.0, 16)


def test_what_is_held_out_is_not_in_the_index_when_it_is_asked_for(
    gathered: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[np.ndarray] = []
    search = build_module.search

    def seen(index: Any, *args: Any) -> Any:
        assert index.ntotal == 31
        asked.append(args[1])
        return search(index, *args)

    monkeypatch.setattr(build_module, "search", seen)
    told = build_local_gallery(tmp_path / "g", gathered, RECORD, kind="ivf", seed=3)
    assert told.number == 62
    kept, held = divided(62, seed=3)
    assert sorted([*kept, *held]) == list(range(62))
    assert held.min() < 20 and held.max() > 40
    points = gathered.points(held)
    np.testing.assert_allclose(asked[-1], points[::2], atol=1e-5)


def test_an_effort_is_chosen_to_find_enough_or_kept_as_asked(
    gathered: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "efforts", lambda *_: (16, 32, 64, 128))
    shares = iter([0.5, 0.94, 0.96, 0.9])  # of the last query's half at the effort chosen
    monkeypatch.setattr(
        build_module, "compute_recall", lambda found, _: Recall(1.0, next(shares), len(found))
    )
    told = build_local_gallery(tmp_path / "g", gathered, RECORD, kind="hnsw")
    assert told.effort == 64
    assert told.recall is not None
    assert told.recall.at_10 == 0.9
    shares = iter([0.1])
    assert (
        build_local_gallery(tmp_path / "h", gathered, RECORD, kind="hnsw", effort=20).effort == 20
    )


def test_one_image_is_a_gallery(gathered: Images, known: OriginModel, tmp_path: Path) -> None:
    one = gathered.take(np.array([5]))
    for kind in KINDS:
        assert build_local_gallery(tmp_path / kind, one, RECORD, kind=kind).recall is None
        ((near,),) = load_gallery(tmp_path / kind, known).nearest(features_of(one), 9)
        assert near.path == one.entries["path"][0].as_py()


def test_each_content_counts_once_and_what_contradicts_is_told(
    pictures: Path, known: OriginModel, encoder: Encoder, store: FeatureStore, tmp_path: Path
) -> None:
    samples = list(list_samples(str(pictures)))[:4]
    copy, broken = tmp_path / "copy.png", tmp_path / "broken.png"
    copy.write_bytes(samples[0].path.read_bytes())
    broken.write_bytes(b"no image")
    more = [Sample(copy, samples[0].origin), Sample(copy, "another"), Sample(broken, "real")]
    images = gather([*samples, *more], SimilaritySpace(known), encoder, store)
    assert images.entries["path"].to_pylist() == [str(sample.path) for sample in samples]
    assert (images.doubled, images.contradicted, len(images.skipped)) == (2, 1, 1)
    with pytest.raises(DataError, match=r"no image that can be read, the first: .*broken\.png"):
        gather([Sample(broken, "real")], SimilaritySpace(known), encoder, store)
    with pytest.raises(DataError, match="no image that can be read"):
        gather([], SimilaritySpace(known), encoder, store)


def test_a_stopped_build_leaves_no_gallery_and_goes_on_from_the_store(
    pictures: Path,
    known: OriginModel,
    counting: Callable[..., CountingEncoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entries_module, "FLUSH_ROWS", 10)
    samples, space = list_samples(str(pictures)), SimilaritySpace(known)
    stopped, again = counting(fail_at=40), counting()
    with pytest.raises(KeyboardInterrupt):
        store = FeatureStore(tmp_path, stopped.encoder)
        gather(samples, space, stopped.encoder, store, batch_size=5)
    store = FeatureStore(tmp_path, again.encoder)
    assert len(gather(samples, space, again.encoder, store, batch_size=5)) == 62
    assert again.images <= 62 - 30


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failed_writing_leaves_the_old_gallery_as_it_was(
    failure: BaseException,
    gathered: Images,
    known: OriginModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build_local_gallery(tmp_path / "g", gathered, RECORD)

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(build_module, "write_description", fail)
    for folder, force in ((tmp_path / "g", True), (tmp_path / "new", False)):
        with pytest.raises(type(failure)):
            build_local_gallery(folder, gathered, RECORD, kind="ivf", force=force)
    assert [p.name for p in tmp_path.iterdir()] == ["g"]
    load_gallery(tmp_path / "g", known)


def test_only_a_gallery_is_replaced_and_only_if_asked(gathered: Images, tmp_path: Path) -> None:
    build_local_gallery(tmp_path / "g", gathered, RECORD)
    with pytest.raises(GalleryError, match="add --force"):
        build_local_gallery(tmp_path / "g", gathered, RECORD)
    assert (
        build_local_gallery(tmp_path / "g", gathered, RECORD, kind="ivf", force=True).kind == "ivf"
    )
    assert not (tmp_path / "g" / "vectors.npy").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(GalleryError, match="is no gallery"):
        build_local_gallery(tmp_path / "mine", gathered, RECORD, force=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"


def test_an_attributor_tells_neighbors_of_a_gallery(
    gathered: Images, known: OriginModel, encoder: Encoder, pictures: Path, tmp_path: Path
) -> None:
    build_local_gallery(tmp_path / "g", gathered, RECORD)
    among = load_gallery(tmp_path / "g", known)
    file = pictures / "gan" / "03.png"
    (answer,) = Attributor(known, encoder).attribute(file, nearest=2, among=among)
    assert answer.nearest is not None
    assert (answer.nearest[0].path, answer.nearest[0].origin) == (str(file), "gan")
    row = answer.as_row()
    assert (row["nearest"], row["nearest_origin"]) == (str(file), "gan")
    (plain,) = Attributor(known, encoder).attribute(file, nearest=2)
    assert "nearest" not in plain.as_row()


def test_vectors_that_are_not_finite_are_refused(known: OriginModel) -> None:
    space = SimilaritySpace(known)
    with pytest.raises(FitError, match="NaN or infinite"):
        space.points(np.full((2, 32), np.nan, dtype=np.float32))
    with pytest.raises(FitError, match="keeps no exemplars"):
        SimilaritySpace(replace(known, exemplars=None))


def test_the_record_tells_data_and_origins(gathered: Images) -> None:
    names = gathered.entries["origin"].to_pylist()
    other = gathered.entries.set_column(1, "origin", [["x", *names[1:]]])
    found = {data_hash(gathered), data_hash(replace(gathered, entries=other))}
    assert len(found) == 2
    assert data_hash(gathered) in found
