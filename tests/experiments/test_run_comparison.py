"""Paired comparison of runs from their predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whichgen.errors import DataError
from whichgen.evaluation.paired_comparison import compare_predictions
from whichgen.evaluation.predictions import Predictions
from whichgen.experiments.run_comparison import compare_runs, read_run_predictions

ORIGINS = ["gan", "real"]


def write(folder: Path, seed: int, *, origins: list[str] = ORIGINS, **changes: Any) -> Path:
    """Write random predictions in random order; ``changes`` replace values in every row."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(60):
        origin = ("gan", "real", "flow")[i % 3]
        p = dict(zip(origins, rng.dirichlet((1, 1)).tolist(), strict=True))
        row = {"path": f"/{i:02d}.png", "origin": origin, "group": f"g{i // 6}", "answer": "x"}
        row |= {"source": "", "coarse_origin": ""}
        rows.append({**row, "score": rng.normal(), **{f"p({o})": v for o, v in p.items()}})
    folder.mkdir()
    with (folder / "predictions.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        for i in rng.permutation(60):
            writer.writerow({**rows[i], **changes})
    (folder / "results.json").write_text(json.dumps({"run_metadata": {"seed": seed}}))
    return folder


def test_images_are_matched_by_path_and_columns_by_origin(tmp_path: Path) -> None:
    first = read_run_predictions(write(tmp_path / "a", 0))
    second = read_run_predictions(write(tmp_path / "b", 1, origins=ORIGINS[::-1]))
    assert second.origins == ("real", "gan")
    for predictions in (first, second):
        assert [len(a) for a in predictions.predictions] == [40, 20]
        assert predictions.paths[0].tolist() == sorted(predictions.paths[0].tolist())
    reordered = tuple(
        Predictions(a.probabilities[:, ::-1], a.origins, a.scores) for a in second.predictions
    )
    expected = compare_predictions(
        first.predictions, (reordered[0], reordered[1]), ORIGINS, resamples=50, seed=3
    )
    assert compare_runs(first, second, resamples=50, seed=3) == expected
    same = compare_runs(first, first, resamples=50)
    assert {c.difference for c in same.values()} == {0.0}


def test_runs_with_sources_are_compared_over_sources(tmp_path: Path) -> None:
    first = read_run_predictions(write(tmp_path / "a", 0, source="one"))
    second = read_run_predictions(write(tmp_path / "b", 1, source="one"))
    assert [a.unit_name for a in first.predictions] == ["sources", "sources"]
    # With a single source, every resample equals the test set.
    comparison = compare_runs(first, second, resamples=20)["accuracy"]
    assert comparison.difference != 0
    assert np.isnan([comparison.low, comparison.high]).all()
    assert comparison.p_value == 1
    assert comparison.mcnemar_p is None
    other = read_run_predictions(write(tmp_path / "c", 1, source="two"))
    with pytest.raises(
        DataError,
        match=r"the same sources for the test images\. Fit both runs with the same sources",
    ):
        compare_runs(first, other)


def test_answers_are_compared_if_there_are_sources(tmp_path: Path) -> None:
    write(tmp_path / "silent", 0, source="one", coarse_origin="unknown")
    write(tmp_path / "loud", 1, source="one", coarse_origin="gan")
    silent, loud = (read_run_predictions(tmp_path / name) for name in ("silent", "loud"))
    comparisons = compare_runs(silent, loud, resamples=20)
    called = comparisons["photographs_called_synthetic"]
    assert (called.first, called.second, called.difference) == (0, 1, -1)
    assert (comparisons["named_coverage"].first, comparisons["named_coverage"].second) == (0, 1)
    # The second run names no generator, so the precision of its answers is undefined.
    assert "named_precision" not in comparisons
    no_sources = write(tmp_path / "c", 0, coarse_origin="gan")
    assert "named_coverage" not in compare_runs(*[read_run_predictions(no_sources)] * 2)


def test_images_without_a_group_have_no_groups(tmp_path: Path) -> None:
    known, unknown = read_run_predictions(write(tmp_path / "a", 0, group="")).predictions
    assert known.groups is None and unknown.groups is None


@pytest.mark.parametrize("group", ["", "all of it"])
def test_runs_with_different_groups_raise_an_error(tmp_path: Path, group: str) -> None:
    first = read_run_predictions(write(tmp_path / "a", 0))
    other = read_run_predictions(write(tmp_path / "b", 1, group=group))
    for runs in ((first, other), (other, first)):
        with pytest.raises(DataError, match="do not have the same groups for the test images"):
            compare_runs(*runs)


def test_runs_with_different_images_or_origins_raise_an_error(tmp_path: Path) -> None:
    first = read_run_predictions(write(tmp_path / "a", 0))
    other = write(tmp_path / "b", 1)
    text = (other / "predictions.csv").read_text()
    (other / "predictions.csv").write_text(text.replace("/03.png", "/99.png"))
    with pytest.raises(
        DataError, match="not tested on the same known images: of 40 and 40 images, 39"
    ):
        compare_runs(first, read_run_predictions(other))
    (other / "predictions.csv").write_text(text.replace("p(gan)", "p(vae)"))
    with pytest.raises(DataError, match="not tested on the same known images"):
        compare_runs(first, read_run_predictions(other))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "predictions.csv not found. Specify the run folder of"),
        ("path,origin,score,p(gan)\na,gan,x,1\n", "is damaged"),
        ("path,score\na,1\n", "is damaged"),
        (f'path,origin,score,p(gan)\n"{"a" * 200_000}', "is damaged"),  # a quote is not closed
        ("", "has no image of a known origin"),
        ("path,origin,score,p(gan)\na,flow,1,1\n", "has no image of a known origin"),
    ],
)
def test_missing_and_damaged_predictions_raise_one_clear_error(
    tmp_path: Path, content: str | None, message: str
) -> None:
    run = write(tmp_path / "a", 0)
    (run / "predictions.csv").unlink()
    if content is not None:
        (run / "predictions.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_run_predictions(run)
