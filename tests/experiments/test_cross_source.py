"""Cross-source evaluation reveals methods that recognize sources instead of origins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import CountingEncoder
from whichgen.data.dataset import Dataset, Sample
from whichgen.errors import DataError
from whichgen.experiments.cross_source import (
    SourceSplit,
    evaluate_cross_source,
    make_fold_datasets,
)
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.heads.knn import KnnMethod
from whichgen.report.cross_source_report import write_cross_source
from whichgen.training.fit_block import FitOptions
from whichgen.training.fit_fusion import FusionOptions

KNOWN = ("real", "gan", "vae")
ORIGINS = (*KNOWN, "ddpm", "flow")


def draw_samples(seed: int, n_sources: int) -> list[Sample]:
    """Create samples of five origins; some sources publish images of two origins."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(5 * n_sources):
        origin = ORIGINS[number % 5]
        source = f"site{number if rng.random() < 0.8 else (number + 1) % (5 * n_sources)}"
        for i in range(rng.integers(1, 5)):
            path = Path(f"{origin}/{source}/{number}-{i}.png")
            samples.append(Sample(path, origin, source=source))
    return samples


def make_folds(samples: list[Sample], split: SourceSplit) -> list[Dataset]:
    return make_fold_datasets("images", samples, ("ddpm",), ("flow",), split)


@given(st.integers(0, 200), st.integers(3, 6), st.booleans(), st.sampled_from([0.3, 0.6, 1.0]))
def test_folds_test_every_image_once_and_share_no_source(
    seed: int, n_folds: int, by_source: bool, share: float
) -> None:
    samples = draw_samples(seed, 8)
    split = SourceSplit(n_folds, by_source=by_source, share=share, seed=seed)
    folds = make_folds(samples, split)
    tested = [s.path for fold in folds for s in (*fold.test, *fold.test_unknown)]
    assert sorted(tested) == sorted(s.path for s in samples if s.origin != "ddpm")
    for fold in folds:
        assert fold.known == KNOWN
        fitted = (*fold.train, *fold.val, *fold.val_unknown)
        test = (*fold.test, *fold.test_unknown)
        assert not {s.source for s in fitted} & {s.source for s in test}
        assert not {s.path for s in fitted} & {s.path for s in test}
        assert {s.origin for s in fold.val_unknown} <= {"ddpm"}
        if share == 1:  # all other images are used
            used = {s.path for s in (*fitted, *test)}
            assert {s.path for s in samples if s.origin in KNOWN} <= used


def test_images_without_sources_are_rejected() -> None:
    with pytest.raises(DataError, match="Set the sources with `sources`"):
        make_folds([Sample(Path("a.png"), "real")], SourceSplit())
    with pytest.raises(DataError, match="at least 3"):
        make_folds(draw_samples(0, 4), SourceSplit(n_folds=2))


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_share_out_of_range_is_rejected(share: float) -> None:
    with pytest.raises(DataError, match="Correct `share`"):
        make_folds(draw_samples(0, 4), SourceSplit(share=share))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """Create five sources per origin; the color of an image depends on its source only."""
    folder = tmp_path_factory.mktemp("images")
    samples = []
    for number in range(25):
        origin, rng = ORIGINS[number % 5], np.random.default_rng(number)
        color = np.random.default_rng(1000 + number).integers(30, 220, 3)
        for i in range(6):
            pixels = np.clip(color + rng.normal(0, 2, (8, 8, 3)), 0, 255).astype(np.uint8)
            path = folder / f"{number}-{i}.png"
            Image.fromarray(pixels).save(path)
            samples.append(Sample(path, origin, source=f"site{number}"))
    encoder = CountingEncoder().encoder
    return extract(samples, encoder, FeatureStore(folder / "features", encoder))


METHODS = {
    "fusion": FusionOptions(values=(10.0,), shrinkages=(0.1,), jobs=1),
    "knn": FitOptions(head_method=KnnMethod(values=(1,)), jobs=1),
}


@pytest.mark.parametrize("method", METHODS)
def test_recognizing_sources_does_not_help_on_other_sources(
    table: FeatureTable, method: str
) -> None:
    accuracy = {}
    for by_source in (True, False):
        split = SourceSplit(5, by_source=by_source)
        folds = make_folds(list(table.samples), split)
        result = evaluate_cross_source(
            folds, table, CountingEncoder().encoder, METHODS[method], split
        )
        accuracy[by_source] = result.metrics["accuracy"].value
        assert len(result.known) == 90
        assert len(result.unknown) == 30
        assert len(result.answers) == len(result.paths) == 120
        rows = result.count_by_source()
        assert sum(row.images for row in rows) == 120
        right = sum(row.correct for row in rows)
        assert right == pytest.approx(90 * accuracy[by_source])
    assert accuracy[True] < 0.6
    if method == "knn":  # a linear probe can't separate fifteen colors
        assert accuracy[False] > 0.9


def test_report_states_both(table: FeatureTable, tmp_path: Path) -> None:
    results = []
    for split in (SourceSplit(5), SourceSplit(5, by_source=False)):
        folds = make_folds(list(table.samples), split)
        encoder = CountingEncoder().encoder
        results.append(evaluate_cross_source(folds, table, encoder, METHODS["knn"], split))
    write_cross_source(results, {"seeds": {"seed": 0}}, tmp_path)
    text = (tmp_path / "cross_source.md").read_text()
    assert "same sources (optimistic)" in text
    assert "20 sources, 5 folds" in text
    saved = json.loads((tmp_path / "cross_source.json").read_text())
    assert saved["run_metadata"]["seeds"] == {"seed": 0}
    assert [r["split"]["by_source"] for r in saved["results"]] == [True, False]
    assert len((tmp_path / "cross_source.csv").read_text().splitlines()) == 121
    assert (tmp_path / "plots" / "cross_source.png").stat().st_size > 1000
