"""scikit-learn estimator: API contract, and equivalence with the paper's method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_info, threadpool_limits

from whichgen.data.dataset import Sample
from whichgen.data.splits.source_folds import assign_folds
from whichgen.encoders.loading import load_encoder
from whichgen.errors import ConvergenceError, FitError, ImageError, WhichgenWarning
from whichgen.features.image_encoding import encode_images
from whichgen.heads import linear
from whichgen.heads.solver import solve_path
from whichgen.openset.threshold import choose_threshold_at_tpr
from whichgen.sklearn import OriginClassifier
from whichgen.training.held_out import SOURCE_FOLDS


@parametrize_with_checks(
    [
        OriginClassifier(values=(0.1, 10.0)),
        OriginClassifier(head="knn", values=(1, 3)),
        OriginClassifier(values=(1.0,), validation_fraction=0.0),
    ]
)
def test_estimator_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def _data(n: int = 90, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = np.random.default_rng(9).normal(0, 1.5, (3, d))[y] + rng.normal(0, 1, (n, d))
    return x, np.array(["real", "gan", "ddpm"])[y]


def test_c_is_chosen_on_validation_images_and_the_head_is_fitted_on_all() -> None:
    x, y = _data()
    classifier = OriginClassifier(values=(1e-6, 1.0, 1e4)).fit(x, y)
    split = StratifiedShuffleSplit(1, test_size=23, random_state=0)
    (train, val), *_ = split.split(x, y)
    models = {c: LogisticRegression(C=c, tol=1e-8, max_iter=10_000) for c in (1e-6, 1.0, 1e4)}
    accuracy = {c: m.fit(x[train], y[train]).score(x[val], y[val]) for c, m in models.items()}
    assert classifier.validation_accuracy_ == pytest.approx(max(accuracy.values()))
    assert accuracy[classifier.value_] == max(accuracy.values())
    whole = LogisticRegression(C=classifier.value_, tol=1e-8, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(classifier.predict_proba(x), whole.predict_proba(x), atol=1e-3)
    assert classifier.classes_.tolist() == ["ddpm", "gan", "real"]
    assert classifier.score(x, y) == whole.score(x, y)


def test_heads_are_fitted_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two threads on busy cores make fits 14 times slower.
    threads = set[int]()

    def record_threads(*args: Any, **options: Any) -> Any:
        threads.update(pool["num_threads"] for pool in threadpool_info())
        return solve_path(*args, **options)

    monkeypatch.setattr(linear, "solve_path", record_threads)
    with threadpool_limits(2):
        OriginClassifier(values=(1.0, 10.0)).fit(*_data())
    assert threads == {1}


def test_values_that_do_not_converge_are_named_and_not_selected(
    fail_to_converge: Callable[..., None],
) -> None:
    x, y = _data()
    values = (1e-6, 1.0, 1e4)
    best = OriginClassifier(values=values).fit(x, y).value_
    fail_to_converge(best)
    with pytest.warns(WhichgenWarning, match=f"did not converge at C = {best:g}"):
        classifier = OriginClassifier(values=values).fit(x, y)
    assert classifier.value_ != best
    fail_to_converge(best, n_images=len(x))  # the values converge on the training images only
    with pytest.warns(WhichgenWarning, match=f"did not converge at C = {best:g}"):
        assert OriginClassifier(values=values).fit(x, y).value_ == classifier.value_
    fail_to_converge(*values)
    with pytest.raises(
        ConvergenceError, match=r"any value of C that was tried\. Use smaller values"
    ):
        OriginClassifier(values=values).fit(x, y)


def test_unfamiliar_images_are_predicted_as_unknown_on_request() -> None:
    x, y = _data(300)
    known, _ = _data(300, seed=1)
    unfamiliar = np.zeros((20, 6)) + x.mean(axis=0)
    classifier = OriginClassifier(values=(1.0,), unknown="unknown", tpr=0.9).fit(x, y)
    assert 0.8 < (classifier.score_samples(known) >= classifier.threshold_).mean() < 0.97
    assert set(classifier.predict(unfamiliar).tolist()) == {"unknown"}
    assert "unknown" not in clone(classifier).set_params(unknown=None).fit(x, y).predict(unfamiliar)


def _source_data(n_sources: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one weak feature that depends on the origin, and six strong ones on the source."""
    rng = np.random.default_rng(0)
    y = np.repeat(["real", "gan"], 10 * n_sources)
    sources = np.array([f"site{i // 10}" for i in range(len(y))])
    x = rng.normal(0, 0.3, (len(y), 8))
    x[:, 0] += np.where(y == "real", 0.1, -0.1)
    for name in np.unique(sources):
        x[sources == name, 2:] += rng.normal(0, 3, 6)
    return x, y, sources


def test_sources_are_held_out_for_selection_and_threshold() -> None:
    x, y, sources = _source_data()
    other_x, other_y, _ = _source_data()
    order = np.random.default_rng(1).permutation(len(y))
    by_source = OriginClassifier(head="knn", values=(1,)).fit(x[order], y[order], sources[order])
    by_image = OriginClassifier(head="knn", values=(1,)).fit(x[order], y[order])
    assert by_image.validation_accuracy_ > 0.95
    assert by_source.validation_accuracy_ < 0.75

    predictions = np.empty(len(y), dtype=y.dtype)
    scores = np.empty(len(y))
    samples = [Sample(Path(), o, source=s) for o, s in zip(y, sources, strict=True)]
    folds = assign_folds(samples, SOURCE_FOLDS)
    classifier = OriginClassifier(head="knn", values=(5,), tpr=0.8).fit(x, y, sources=sources)
    for fold in range(SOURCE_FOLDS):
        part = OriginClassifier(head="knn", values=(5,), validation_fraction=0.0)
        part.fit(x[folds != fold], y[folds != fold])
        predictions[folds == fold] = part.predict(x[folds == fold])
        scores[folds == fold] = part.score_samples(x[folds == fold])
    assert classifier.validation_accuracy_ == pytest.approx((predictions == y).mean())
    assert classifier.threshold_ == pytest.approx(choose_threshold_at_tpr(scores, 0.8))
    # The final head is fitted on all images.
    assert classifier.score(other_x, other_y) > 0.95


def test_sources_are_checked_and_can_be_routed() -> None:
    x, y, sources = _source_data()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        OriginClassifier(values=(1.0,)).fit(x, y, sources[:-1])
    with pytest.raises(ValueError, match="class 'gan' are in one fold"):
        OriginClassifier(values=(1.0,)).fit(x, y, np.where(y == "gan", "one", sources))
    pipeline = make_pipeline(StandardScaler(), OriginClassifier(values=(1.0,)))
    pipeline.fit(x, y, originclassifier__sources=sources)
    assert pipeline[-1].validation_accuracy_ < 0.95
    with config_context(enable_metadata_routing=True):
        classifier = OriginClassifier(values=(1.0,)).set_fit_request(sources=True)
        results = cross_validate(classifier, x, y, params={"sources": sources}, cv=3)
    assert len(results["test_score"]) == 3


@pytest.fixture
def images(noise: Callable[..., Image.Image], tmp_path: Path) -> tuple[list[Path], list[str]]:
    """Write ten images of each of three origins."""
    paths, origins = [], []
    for tint, origin in enumerate(("real", "gan", "vae")):
        for i in range(10):
            paths.append(tmp_path / f"{origin}{i}.png")
            noise(1000 * tint + i, tint=tint).save(paths[-1])
            origins.append(origin)
    return paths, origins


def test_images_are_encoded_and_the_best_block_is_chosen(
    images: tuple[list[Path], list[str]], tiny_clip: Path
) -> None:
    paths, origins = images
    classifier = OriginClassifier(backbone=str(tiny_clip), values=(1.0, 100.0), device="cpu")
    classifier.fit(paths, origins)
    encoder = load_encoder(str(tiny_clip), device="cpu", dtype="float32")
    blocks = encode_images(paths, encoder)
    single_block = [
        OriginClassifier(values=(1.0, 100.0)).fit(block, np.array(origins)) for block in blocks
    ]
    accuracies = [a.validation_accuracy_ for a in single_block]
    assert classifier.block_ == int(np.argmax(accuracies))
    best = single_block[classifier.block_]
    np.testing.assert_allclose(
        classifier.predict_proba(paths), best.predict_proba(blocks[classifier.block_])
    )
    arrays = [np.asarray(Image.open(path)) for path in paths[:3]]
    np.testing.assert_allclose(
        classifier.predict_proba(arrays), classifier.predict_proba(paths[:3])
    )
    one = clone(classifier).set_params(blocks=[1]).fit(paths, origins)
    for blocks in ([], [-1], [99]):
        with pytest.raises(FitError, match=r"invalid `blocks=.*from 0 to"):
            clone(classifier).set_params(blocks=blocks).fit(paths, origins)
    assert one.block_ == 1


def test_classifier_works_in_pipelines_and_grid_search() -> None:
    x, y = _data()
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), OriginClassifier(validation_fraction=0.0)),
        {"originclassifier__values": [(1e-6,), (1.0,)]},
        scoring="neg_log_loss",
        cv=3,
    ).fit(x, y)
    assert grid.best_params_ == {"originclassifier__values": (1.0,)}


def test_invalid_input_is_reported(images: tuple[list[Path], list[str]], tiny_clip: Path) -> None:
    x, y = _data()
    with pytest.raises(FitError, match="Choose from linear, knn"):
        OriginClassifier(head="tree").fit(x, y)
    with pytest.raises(ValueError, match="more than one class"):
        OriginClassifier().fit(x, ["real"] * len(x))
    paths, origins = images
    classifier = OriginClassifier(backbone=str(tiny_clip), values=(1.0,), device="cpu")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.fit(paths, origins[:-1])
    with pytest.raises(ValueError, match="more than one class"):
        classifier.fit([], [])
    with pytest.raises(ImageError, match="no such file"):
        classifier.fit([*paths, paths[0].with_name("none.png")], [*origins, "gan"])
