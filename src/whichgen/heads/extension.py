"""One origin more for a fitted head, from a few images, without fitting the others again.

A probe's rows stay as they are, and one is added (weights w, bias b). With aᵢ the old logits of
image i and sᵢ = log Σ_j exp aᵢⱼ, the cross-entropy of K + 1 origins depends on the new row only by
how zᵢ = w·xᵢ + b compares with sᵢ: it is a logistic regression with offsets::

    min  C [ Σ_old log(1 + e^(zᵢ − sᵢ)) + ω Σ_new log(1 + e^(sᵢ − zᵢ)) ] + ½ wᵀ Σ_λ w

Σ_λ is the metric of :mod:`whichgen.heads.fusion`, learned from the exemplars of old origins: how
images of one origin differ is known before the new one is seen. ω makes the new images weigh as
much as an old origin's. k-NN adds the images to its exemplars.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from whichgen.errors import FitError
from whichgen.heads.base import Head, check_training
from whichgen.heads.experts import ExpertsHead
from whichgen.heads.fusion import FusionHead, fit_whitening, split_views
from whichgen.heads.knn import KnnHead, normalize_rows
from whichgen.heads.linear import LinearHead

#: λ and C of a new row. With one to thirty images of a generator, C from 30 to 300 and λ from 0.03
#: to 0.1 were found to be about alike, and the usual ridge (λ = 1) worse.
SHRINKAGE = 0.1
C = 300.0

_MAX_STEPS = 2000


def extend(head: Head, features: np.ndarray, labels: np.ndarray, n_origins: int) -> Head:
    """The head with one more origin.

    Parameters
    ----------
    features, labels
        Exemplars of the old origins, 0…n_origins-1, and images of the new one, ``n_origins``:
        a float array (n, d) and an integer array (n,).
    n_origins
        How many origins the head knows.

    Raises
    ------
    FitError
        An origin has no image, a feature is not finite, or the head is of a kind not known here.
    """
    check_training(features, labels, n_origins + 1)
    if isinstance(head, KnnHead):
        new = normalize_rows(features[labels == n_origins])
        return KnnHead(
            np.concatenate([head.exemplars, new]),
            np.concatenate([head.labels, np.full(len(new), n_origins, dtype=np.int64)]),
            n_origins + 1,
            head.k,
        )
    if isinstance(head, LinearHead):
        return _with_row(head, np.asarray(features, dtype=np.float32), labels)
    if isinstance(head, ExpertsHead):
        experts = (_fusion_with_row(expert, features, labels) for expert in head.experts)
        return replace(head, experts=tuple(experts))
    if isinstance(head, FusionHead):
        return _fusion_with_row(head, features, labels)
    raise FitError(f"a {type(head).__name__} can't be extended; fit it anew with the new origin.")


def lower_last_bias(head: Head, offset: float) -> Head:
    """The head with its last origin's bias lowered by ``offset`` ≥ 0 in every view.

    k-NN has no bias and stays as it is.
    """
    if isinstance(head, LinearHead):
        return _lowered_probe(head, offset)
    if isinstance(head, ExpertsHead):
        experts = (_lowered_fusion(expert, offset) for expert in head.experts)
        return replace(head, experts=tuple(experts))
    if isinstance(head, FusionHead):
        return _lowered_fusion(head, offset)
    return head


def _lowered_fusion(head: FusionHead, offset: float) -> FusionHead:
    views = (replace(view, probe=_lowered_probe(view.probe, offset)) for view in head.views)
    return replace(head, views=tuple(views))


def _lowered_probe(probe: LinearHead, offset: float) -> LinearHead:
    return replace(probe, bias=np.append(probe.bias[:-1], probe.bias[-1] - offset))


def _fusion_with_row(head: FusionHead, features: np.ndarray, labels: np.ndarray) -> FusionHead:
    views = (
        replace(view, probe=_with_row(view.probe, view.standardize(x), labels))
        for view, x in zip(head.views, split_views(features, head.widths), strict=True)
    )
    return replace(head, views=tuple(views))


def _with_row(probe: LinearHead, x: np.ndarray, labels: np.ndarray) -> LinearHead:
    """``x``, float32 (n, d), is what the probe reads."""
    n_origins = len(probe.bias)
    new = labels == n_origins
    apply = fit_whitening(x[~new], labels[~new], n_origins, SHRINKAGE)
    rows = np.asarray(apply(x), dtype=np.float64)
    opponents = logsumexp(probe.logits(x), axis=1)
    side = np.where(new, 1.0, -1.0)
    cost = C * np.where(new, (~new).sum() / n_origins / new.sum(), 1.0)

    def loss(row: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = row[:-1], row[-1]
        ahead = side * (rows @ weights + bias - opponents)
        by_logit = -cost * side * expit(-ahead)
        value = float(cost @ np.logaddexp(0, -ahead) + weights @ weights / 2)
        return value, np.append(rows.T @ by_logit + weights, by_logit.sum())

    start = np.append(np.zeros(rows.shape[1]), np.median(opponents))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_STEPS})
    weights = apply(found.x[None, :-1])
    return LinearHead(np.vstack([probe.weights, weights]), np.append(probe.bias, found.x[-1]))
