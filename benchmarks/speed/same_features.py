"""Compare the linear probes of whichgen and of the reference implementation on the same features.

python benchmarks/speed/same_features.py REQUEST.json

``REQUEST.json`` is the output of :mod:`reference_process`. The comparison is added to it: the
selection of whichgen on the reference implementation's features, both fits for each C of the
selected block, and how much the reference implementation's own results change with the order of the
rows, with noise of 1e-6, and with the features of OpenVINO.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import reference_implementation as reference
import torch
from reference_implementation import Features, Metrics
from reference_process import FILES

from whichgen.data.images.decoding import hash_image, read_bytes
from whichgen.encoders.loading import load_encoder
from whichgen.features.store import FeatureStore, compute_feature_key
from whichgen.heads.linear import PAPER_C, LinearHead, LinearMethod

#: Standard deviation of the relative noise: the rounding error of float32 features.
NOISE = 1e-6

#: Number of values of C below and above the selected one for which the fits are repeated.
_NEIGHBORS = 2

#: Features of each part of the dataset.
Parts = dict[str, Features]


def main() -> None:
    """Add the comparison to the file."""
    file = Path(sys.argv[1])
    request = json.loads(file.read_text())
    linear = request["results"]["linear"]
    block = request["methods"]["linear"]["block"]
    parts = read_features(request["features"], block)
    request["results"]["linear"] |= {
        "same_features": select(request["features"], range(len(linear["validation"]))),
        "fits": compare_fits(parts, linear["sweep"]),
        "repeats": repeat(
            {
                "rows in another order": permute(parts),
                f"noise of {NOISE:g}": add_noise(parts),
                "features of OpenVINO": read_cached(request, block),
            },
            _take_neighbors(linear["value"]),
        ),
    }
    file.write_text(json.dumps(request))


def read_features(file: str, block: int) -> Parts:
    """Read the reference implementation's features of one block."""
    with np.load(file) as arrays:
        return {
            part: Features(*(torch.from_numpy(arrays[f"{part} {key}"]) for key in (block, "y")))
            for part in FILES
        }


def read_cached(request: dict[str, Any], block: int) -> Parts:
    """Read one block of the features that whichgen's command extracted, rows as in the files."""
    store = FeatureStore(Path(request["store"]), load_encoder(request["encoder"]))
    parts = {}
    for part, name in FILES.items():
        rows = reference.read_annotations(Path(request["splits"]) / name)
        if part == "train":
            rows = [row for rows in zip(*reference.balance(rows), strict=True) for row in rows]
        keys = [compute_feature_key(hash_image(read_bytes(Path(path)))) for path, _ in rows]
        labels = torch.tensor([label for _, label in rows])
        parts[part] = Features(torch.from_numpy(store.read(keys, block)), labels)
    return parts


def permute(parts: Parts, seed: int = 0) -> Parts:
    """Return the features with the training images in another order."""
    train = parts["train"]
    order = np.random.default_rng(seed).permutation(len(train.y))
    return {**parts, "train": Features(train.x[order], train.y[order])}


def add_noise(parts: Parts, seed: int = 0) -> Parts:
    """Multiply each feature by 1 + ε, where ε is normal noise."""
    rng = np.random.default_rng(seed)
    noisy = {}
    for part, features in parts.items():
        noise = 1 + NOISE * rng.standard_normal(tuple(features.x.shape))
        noisy[part] = Features((features.x * torch.from_numpy(noise)).float(), features.y)
    return noisy


def select(file: str, blocks: Sequence[int]) -> dict[str, Any]:
    """Select block and C with whichgen; return them, and the validation and test metrics."""
    best: tuple[int, float, Metrics, Metrics] | None = None
    for block in blocks:
        parts = read_features(file, block)
        for c, head in _fit_path(parts):
            validation = _evaluate(head, parts, "val")
            if best is None or validation.auroc > best[2].auroc:
                best = block, c, validation, _evaluate(head, parts, "test")
    assert best is not None
    block, c, validation, test = best
    return {
        "block": block,
        "value": c,
        "validation": asdict(validation),
        "test": asdict(test),
    }


def compare_fits(parts: Parts, sweep: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the objective and the largest difference of metrics in points for each C.

    ``sweep`` contains the value, the number of steps, the objective and the validation metrics of
    each fit of the reference implementation.
    """
    rows = []
    for theirs, (c, head) in zip(sweep, _fit_path(parts), strict=True):
        metrics = asdict(_evaluate(head, parts, "val"))
        value = reference.objective(head.weights, head.bias, parts["train"], c)
        rows.append(
            {
                "value": c,
                "converged": theirs["steps"] < reference.MAX_ITER,
                "excess": theirs["objective"] / value - 1,
                "difference": max(abs(metrics[name] - theirs[name]) for name in metrics),
            }
        )
    return rows


def repeat(changed: dict[str, Parts], values: Sequence[float]) -> list[dict[str, Any]]:
    """Repeat the reference implementation's fits with changed features or another order of rows.

    Returns the selected value and the validation metrics of all values for each change.
    """
    rows = []
    for name, parts in changed.items():
        metrics = {
            c: reference.evaluate(
                reference.fit_linear(parts["train"], c), parts["val"], parts["val_unknown"]
            )
            for c in values
        }
        selected = max(metrics, key=lambda c: metrics[c].auroc)
        validation = [{"value": c, **asdict(m)} for c, m in metrics.items()]
        rows.append({"change": name, "value": selected, "validation": validation})
    return rows


def _take_neighbors(value: float) -> tuple[float, ...]:
    place = PAPER_C.index(value)
    return PAPER_C[max(0, place - _NEIGHBORS) : place + _NEIGHBORS + 1]


def _fit_path(parts: Parts) -> Iterator[tuple[float, LinearHead]]:
    """Yield each C with whichgen's fit on the balanced training images."""
    x, y = parts["train"].x.numpy(), parts["train"].y.numpy()
    for c, head in LinearMethod().fit_path(x, y, int(y.max()) + 1, PAPER_C):
        assert head is not None, f"C = {c:g} did not converge"
        yield c, head


def _evaluate(head: LinearHead, parts: Parts, part: str) -> Metrics:
    return reference.evaluate(
        lambda x: head.forward(x).probabilities, parts[part], parts[f"{part}_unknown"]
    )


if __name__ == "__main__":
    main()
