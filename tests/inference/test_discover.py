"""Grouping of images whose true origins are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whichgen.encoders.encoder import Encoder
from whichgen.errors import FitError
from whichgen.evaluation.clustering import NOISE, compute_clustering_metrics
from whichgen.heads.method_registry import make_head_method
from whichgen.inference.discover import discover, embed_images
from whichgen.models.origin_model import Exemplars, OriginModel
from whichgen.report.discovery_report import Discovery, tabulate_discovery, write_discovery

D = 32


def images(origin: int, n: int, seed: int) -> np.ndarray:
    """Draw features: strong content in half of the columns, weak origin in the other half."""
    rng = np.random.default_rng((origin, seed))
    content = rng.normal(0, 30, (n, D // 2))
    mark = np.random.default_rng(100 + origin).normal(0, 2, D // 2)
    return np.hstack([content, mark + rng.normal(0, 0.5, (n, D // 2))]).astype(np.float32)


@pytest.fixture
def model(models: dict[str, OriginModel]) -> OriginModel:
    """Linear model of three origins."""
    x = np.concatenate([images(k, 40, 0) for k in range(3)])
    y = np.repeat(range(3), 40)
    exemplars = Exemplars(x.astype(np.float16), y, np.zeros(len(y), dtype=bool))
    return replace(
        models["linear"], head=make_head_method("linear").fit(x, y, 3, 1.0), exemplars=exemplars
    )


@pytest.fixture
def strange() -> tuple[np.ndarray, np.ndarray]:
    """Features and origins of 24, 12 and 8 images of three other origins."""
    sizes = (24, 12, 8)
    return (
        np.concatenate([images(3 + k, n, 1) for k, n in enumerate(sizes)]),
        np.repeat(["x", "y", "z"], sizes),
    )


@pytest.mark.parametrize("k", [None, 3])
def test_generators_are_separated_despite_content(
    model: OriginModel, encoder: Encoder, strange: tuple[np.ndarray, np.ndarray], k: int | None
) -> None:
    features, truth = strange
    groups, number = discover(model, encoder, features, k=k)
    assert [g.name for g in groups] == ["unknown-1", "unknown-2", "unknown-3"]
    metrics = compute_clustering_metrics(truth, number)
    assert metrics.ari > 0.8 and metrics.purity > 0.85
    for i, group in enumerate(groups):
        assert sorted(group.members) == np.flatnonzero(number == i).tolist()
        assert group.nearest_origin in model.origins
        assert 0 < group.share <= 1 and group.cohesion > 0.5
    sizes = [len(g.members) for g in groups]
    assert sizes == sorted(sizes, reverse=True)


def test_metric_separates_origins_rather_than_content(
    model: OriginModel, encoder: Encoder, strange: tuple[np.ndarray, np.ndarray]
) -> None:
    features, truth = strange
    points = embed_images(model, encoder, features)
    means = np.stack([points[truth == o].mean(axis=0) for o in "xyz"])
    within = np.mean([points[truth == o].var(axis=0).sum() for o in "xyz"])
    assert means.var(axis=0).sum() > within


def test_members_are_sorted_by_distance_to_the_mean(
    model: OriginModel, encoder: Encoder, strange: tuple[np.ndarray, np.ndarray]
) -> None:
    features, _ = strange
    (group,), number = discover(model, encoder, features, k=1)
    points = embed_images(model, encoder, features)
    distances = np.linalg.norm(points - points.mean(axis=0), axis=1)
    assert group.members[0] == distances.argmin()
    assert group.members[-1] == distances.argmax()
    assert (number == 0).all()


def test_too_few_images_are_an_error(
    model: OriginModel, encoder: Encoder, strange: tuple[np.ndarray, np.ndarray]
) -> None:
    features, _ = strange
    with pytest.raises(FitError, match="too few images for min_size = 5: 4"):
        discover(model, encoder, features[:4])
    with pytest.raises(
        FitError, match=r"too few images for min_size = 5: 0 instead of at least 5\. Add"
    ):
        discover(model, encoder, features[:0])
    with pytest.raises(FitError, match="too few images for k = 4: 3"):
        discover(model, encoder, features[:3], k=4)


def test_report_lists_every_image_once(
    model: OriginModel,
    encoder: Encoder,
    strange: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    noise: object,
) -> None:
    features, truth = strange
    groups, number = discover(model, encoder, features)
    number = number.copy()
    number[list(groups[0].members[-2:])] = NOISE
    groups[0] = replace(groups[0], members=groups[0].members[:-2])
    paths = tuple(tmp_path / f"{i}.png" for i in range(len(truth)))
    for path in paths:
        noise(0).save(path)  # type: ignore[operator]
    discovery = Discovery(
        paths, tuple(truth), tuple(groups), compute_clustering_metrics(truth, number)
    )
    rows = tabulate_discovery(discovery)
    assert rows[-1]["group"] == "no group" and rows[-1]["images"] >= 2
    assert sum(int(row["images"]) for row in rows) == len(truth)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "unknown-9.txt").touch()
    folder = write_discovery(discovery, {"config": {}}, tmp_path / "out")
    listed = [line for f in folder.glob("unknown-*.txt") for line in f.read_text().splitlines()]
    assert sorted(listed) == sorted(str(paths[i]) for i in np.flatnonzero(number >= 0))
    assert not (folder / "unknown-9.txt").exists()
    assert f"NMI {discovery.agreement.nmi:.3f}" in (folder / "report.md").read_text()  # type: ignore[union-attr]
    assert (folder / "sheet.png").stat().st_size > 5000
