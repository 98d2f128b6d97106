"""Add one origin to a fitted head from a few images, without refitting the other origins.

*Exemplars* are training images of the old origins whose features are stored. In a k-NN head, the
new images are added to the exemplars. In each linear probe, the weights and biases of the K old
origins stay unchanged, and weights w and a bias b are added for the new origin. The gate of a
mixture of experts stays unchanged. Let aᵢⱼ be the logit of old origin j for image i, let
sᵢ = log Σ_j exp aᵢⱼ, and let zᵢ = w·xᵢ + b be the logit of the new origin. The cross-entropy over
all K + 1 origins depends on w and b only through zᵢ − sᵢ, so w and b are fitted by logistic
regression with offsets::

    min  C [ Σ_old log(1 + e^(zᵢ − sᵢ)) + ω Σ_new log(1 + e^(sᵢ − zᵢ)) ] + ½ wᵀ Σ_λ w

C is the inverse strength of the penalty. The penalty matrix Σ_λ (:mod:`whichgen.heads.fusion`) is
computed from the variation within the old origins. The weight ω makes the total weight of the new
images equal to the mean number of exemplars per old origin.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from whichgen.errors import FitError
from whichgen.heads.experts import ExpertsHead
from whichgen.heads.fusion import FusionHead, fit_whitening, split_views
from whichgen.heads.head import Head, check_training_features
from whichgen.heads.knn import KnnHead, normalize_rows
from whichgen.heads.linear import LinearHead
from whichgen.heads.softmax import logsumexp

#: Shrinkage λ for the new origin.
SHRINKAGE = 0.1

#: Inverse strength C of the penalty on the weights of the new origin.
C = 300.0

# Maximum number of iterations of L-BFGS-B.
_MAX_ITERATIONS = 2000


def extend(head: Head, features: np.ndarray, labels: np.ndarray, n_origins: int) -> Head:
    """Return a copy of a head with one additional origin.

    Parameters
    ----------
    head
        The fitted head: k-NN head, linear probe, fusion or mixture of experts. It is not changed.
    features, labels
        Features, float array (n, d), and origin indices, integer array (n,), of the exemplars and
        the new images. The old origins have indices from 0 to n_origins - 1, and the new origin has
        index ``n_origins``. A k-NN head already contains exemplars, so only the new images are
        added to it.
    n_origins
        Number of old origins.

    Raises
    ------
    FitError
        An origin has no image, the features or labels are otherwise invalid
        (:func:`whichgen.heads.head.check_training_features`), a fusion or mixture of experts has
        another number of features, or heads of this type can't be extended.
    ValueError
        A k-NN head or linear probe has another number of features.
    """
    check_training_features(features, labels, n_origins + 1)
    if isinstance(head, KnnHead):
        exemplars = normalize_rows(features[labels == n_origins])
        return KnnHead(
            np.concatenate([head.exemplars, exemplars]),
            np.concatenate([head.labels, np.full(len(exemplars), n_origins, dtype=np.int64)]),
            n_origins + 1,
            head.k,
            np.append(head.repeats, np.ones(len(exemplars), dtype=np.int64)),
        )
    if isinstance(head, LinearHead):
        return _add_origin(head, np.asarray(features, dtype=np.float32), labels)
    if isinstance(head, FusionHead):
        parts = zip(head.views, split_views(features, head.widths), strict=True)
        return head.replace_probes(
            _add_origin(view.probe, view.standardize(x), labels) for view, x in parts
        )
    if isinstance(head, ExpertsHead):
        experts = (extend(expert, features, labels, n_origins) for expert in head.experts)
        return replace(head, experts=tuple(experts))
    raise FitError(
        f"{type(head).__name__} can't be extended. Fit a new model that includes the new origin."
    )


def lower_last_bias(head: Head, offset: float) -> Head:
    """Return a copy of a head with the last origin's bias reduced by ``offset`` in every probe.

    ``offset`` is in nats, the unit of logits, ≥ 0. The gate of a mixture of experts stays
    unchanged. For a head without a bias, such as a k-NN head, return the same object.
    """
    if isinstance(head, LinearHead):
        return _lower_bias(head, offset)
    if isinstance(head, FusionHead):
        return head.replace_probes(_lower_bias(view.probe, offset) for view in head.views)
    if isinstance(head, ExpertsHead):
        experts = (lower_last_bias(expert, offset) for expert in head.experts)
        return replace(head, experts=tuple(experts))
    return head


def _lower_bias(probe: LinearHead, offset: float) -> LinearHead:
    return replace(probe, bias=np.append(probe.bias[:-1], probe.bias[-1] - offset))


def _add_origin(probe: LinearHead, x: np.ndarray, labels: np.ndarray) -> LinearHead:
    """Fit the weights and the bias of a new origin, and return a probe that includes them.

    ``x``, float32 array (n, d), contains the inputs of the probe, and ``labels``, integer array
    (n,), contains the origin indices, of which the largest is that of the new origin.
    """
    n_origins = len(probe.bias)
    is_new = labels == n_origins
    whiten = fit_whitening(x[~is_new], labels[~is_new], n_origins, SHRINKAGE)
    rows = np.asarray(whiten(x), dtype=np.float64)
    offsets = logsumexp(probe.forward(x).logits, axis=1)
    sign = np.where(is_new, 1.0, -1.0)
    cost = C * np.where(is_new, (~is_new).sum() / n_origins / is_new.sum(), 1.0)

    def compute_loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        margins = sign * (rows @ weights + bias - offsets)
        gradient = -cost * sign * expit(-margins)
        loss = float(cost @ np.logaddexp(0, -margins) + weights @ weights / 2)
        return loss, np.append(rows.T @ gradient + weights, gradient.sum())

    start = np.append(np.zeros(rows.shape[1]), np.median(offsets))
    solution = minimize(
        compute_loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_ITERATIONS}
    )
    weights = whiten(solution.x[None, :-1])
    return LinearHead(np.vstack([probe.weights, weights]), np.append(probe.bias, solution.x[-1]))
