"""Fusion: one linear probe a view, and the mean of their log-probabilities.

A *view* is one block: what an encoder sees after one of its blocks, or one block of traces. Each
view v is standardized (mean 0, variance 1/d over training images, nothing beyond ten standard
deviations) and gets a probe of its own (:mod:`whichgen.heads.linear`), all with one C. Its weights
are penalized in the metric of how images of *one* origin differ::

    min  C Σᵢ −log p_v,yᵢ(xᵢ) + ½ Σ_j w_jᵀ Σ_λ w_j,    Σ_λ = (1 − λ) S_w d / tr S_w + λ I

S_w is the scatter of training images about the mean of their origin, and λ its *shrinkage*. With
λ = 1 this is the usual ridge. A small λ costs what content moves and spares what it does not, as
linear discriminant analysis does (Friedman, 1989); that helps most where images are few.

Answers are pooled geometrically (a logarithmic opinion pool: Genest & Zidek, 1986)::

    z_j(x) = Σ_v a_v log p_v,j(x),    p(x) = softmax(z(x))

with weights a_v that sum to 1. Some views share a *vote*: all blocks of an encoder weigh together
as much as one block of traces, for they miss the same: what its resized picture does not show.

``exp z_j ≤ 1``, and it is 1 only where every view is certain of origin j. Where views disagree, no
origin's ``z`` is high, so ``max_j z_j`` (the score ``max_logit``) says how much they agree; the
softmax would make it forget. An image of an unknown generator often looks to one view like one
known origin and to another like another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh
from scipy.special import log_softmax, softmax
from sklearn.decomposition import PCA

from whichgen.errors import FitError
from whichgen.heads.base import check_training
from whichgen.heads.linear import LinearHead, LinearMethod

#: A value of C a decade, for standardized views.
FUSION_C = tuple(10.0**k for k in range(-1, 5))

#: The strengths of shrinkage that are tried: the usual ridge, and a metric that is mostly learned.
SHRINKAGES = (1.0, 0.1)

#: Distances are measured in so many principal components.
EMBEDDING_DIMS = 128

#: A standardized value is cut here: one wild pixel statistic must not decide alone.
_FARTHEST = 10.0

# Smaller shares of the largest are rounding.
_SMALLEST_EIGENVALUE = 1e-10


@dataclass(frozen=True)
class ViewProbe:
    """One view's probe: ``mean`` and ``scale`` float32 (d,) standardize what ``probe`` reads."""

    mean: np.ndarray
    scale: np.ndarray
    probe: LinearHead

    def standardize(self, features: np.ndarray) -> np.ndarray:
        """float array (n, d) → float32 array (n, d), whose rows have length 1 on average."""
        return _standardized(features, self.mean, self.scale)

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """float array (n, d) → float64 array (n, origins), each at most 0."""
        return np.asarray(log_softmax(self.probe.logits(self.standardize(features)), axis=1))


@dataclass(frozen=True)
class FusionHead:
    """The probes of all views; features are the views' columns, one view after another.

    ``components``, float32 (k, d), are the principal axes of the standardized training images.
    ``votes`` are the numbers of consecutive views that share a vote; empty: each has one.
    """

    views: tuple[ViewProbe, ...]
    components: np.ndarray
    votes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.votes and sum(self.votes) != len(self.views):
            raise FitError(f"votes of {list(self.votes)} views, but there are {len(self.views)}.")

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of columns of each view."""
        return tuple(len(view.mean) for view in self.views)

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """What each view says on its own: float64 array (views, n, origins), each at most 0."""
        parts = split_views(features, self.widths)
        return np.stack(
            [view.log_probabilities(x) for view, x in zip(self.views, parts, strict=True)]
        )

    def shares(self, features: np.ndarray) -> np.ndarray:
        """a, how much each view weighs, in all images alike: float64 array (views, n)."""
        return np.repeat(self._shares[:, None], len(features), axis=1)

    @property
    def _shares(self) -> np.ndarray:
        votes = self.votes or (1,) * len(self.views)
        return np.concatenate([np.full(views, 1 / (views * len(votes))) for views in votes])

    def logits(self, features: np.ndarray) -> np.ndarray:
        """z, the weighted mean of log-probabilities: float64 array (n, origins), at most 0."""
        return np.tensordot(self._shares, self.log_probabilities(features), axes=1)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Softmax of z: float64 array (n, origins)."""
        return np.asarray(softmax(self.logits(features), axis=1))

    def standardize(self, features: np.ndarray) -> np.ndarray:
        """The standardized views side by side: float32 array (n, d)."""
        parts = split_views(features, self.widths)
        return np.hstack([view.standardize(x) for view, x in zip(self.views, parts, strict=True)])

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The standardized views in k principal components: float32 array (n, k)."""
        return np.asarray(self.standardize(features) @ self.components.T)

    def tensors(self) -> dict[str, np.ndarray]:
        """``widths``, ``votes``, of all views in turn ``mean`` to ``bias``, and ``components``."""
        return {
            "widths": np.array(self.widths, dtype=np.int64),
            "votes": np.array(self.votes, dtype=np.int64),
            "mean": np.concatenate([view.mean for view in self.views]),
            "scale": np.concatenate([view.scale for view in self.views]),
            "weights": np.hstack([view.probe.weights for view in self.views]),
            "bias": np.stack([view.probe.bias for view in self.views]),
            "components": self.components,
        }


@dataclass(frozen=True)
class FusionMethod:
    """The family of fused probes over a grid of C.

    Parameters
    ----------
    widths
        The number of columns of each view, in order; empty: all columns are one view.
    values
        The values of C (> 0), for every view.
    shrinkage
        λ, over 0 and at most 1, for every view.
    votes
        The numbers of consecutive views that share a vote; empty: each has one.
    """

    widths: tuple[int, ...] = ()
    values: tuple[float, ...] = FUSION_C
    shrinkage: float = 1.0
    votes: tuple[int, ...] = ()
    max_iter: int = 1000
    name: str = "fusion"
    parameter: str = "C"

    def grid(self, n_train: int) -> tuple[float, ...]:
        """All values of C, ascending."""
        return tuple(sorted(self.values))

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """See :meth:`whichgen.heads.base.HeadMethod.sweep`."""
        grid = self.grid(len(features))
        parts = split_views(features, self.widths)
        probes = [self._fit_view(x, labels, n_origins, grid) for x in parts]
        for value, views in zip(grid, zip(*probes, strict=True), strict=True):
            head = without_embedding(views, self.votes)
            yield value, [head.predict_proba(query) for query in queries]

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> FusionHead:
        """The probes of all views at one C.

        Raises
        ------
        FitError
            As of :meth:`whichgen.heads.linear.LinearMethod.fit`, or the views' widths do not add up
            to the features'.
        """
        return fused(self.probes(features, labels, n_origins, value), features, self.votes)

    def probes(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> list[ViewProbe]:
        """What :meth:`fit` fits, without an embedding."""
        parts = split_views(features, self.widths)
        return [self._fit_view(x, labels, n_origins, (value,))[0] for x in parts]

    def restore(
        self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float
    ) -> FusionHead:
        """The head of these arrays."""
        widths = tuple(int(width) for width in tensors["widths"])
        mean, scale = (split_views(tensors[k][None], widths) for k in ("mean", "scale"))
        weights = split_views(tensors["weights"], widths)
        return FusionHead(
            tuple(
                ViewProbe(m[0], s[0], LinearHead(np.ascontiguousarray(w), b))
                for m, s, w, b in zip(mean, scale, weights, tensors["bias"], strict=True)
            ),
            tensors["components"],
            tuple(int(vote) for vote in tensors["votes"]),
        )

    def _fit_view(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, values: Sequence[float]
    ) -> list[ViewProbe]:
        return fit_view(features, labels, n_origins, values, self.shrinkage, max_iter=self.max_iter)


def fit_view(
    features: np.ndarray,
    labels: np.ndarray,
    n_origins: int,
    values: Sequence[float],
    shrinkage: float = 1.0,
    *,
    max_iter: int = 1000,
) -> list[ViewProbe]:
    """One view's probe for each C of an ascending path.

    Raises
    ------
    FitError
        An origin has no image, a feature is not finite, a solver did not converge, or
        ``shrinkage`` is out of range.
    """
    if not 0 < shrinkage <= 1:
        raise FitError(f"shrinkage must be over 0 and at most 1, got {shrinkage:g}.")
    check_training(features, labels, n_origins)
    exact = np.asarray(features, dtype=np.float64)
    mean, spread = exact.mean(axis=0), exact.std(axis=0)
    # A feature that is the same in every image says nothing: it stays 0 wherever it is equal.
    scale = np.where(spread > 0, spread, 1) * np.sqrt(exact.shape[1])
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    x = _standardized(features, mean, scale)
    # With w = Σ_λ^(−½) u the penalty is the usual one of u.
    apply = fit_whitening(x, labels, n_origins, shrinkage)
    path = LinearMethod(max_iter=max_iter).path(apply(x), labels, n_origins, values)
    return [
        ViewProbe(mean, scale, LinearHead(apply(probe.weights), probe.bias)) for _, probe in path
    ]


def fused(
    views: Sequence[ViewProbe], features: np.ndarray, votes: Sequence[int] = ()
) -> FusionHead:
    """The head of fitted views; ``features``, float array (n, d), are the training images."""
    head = without_embedding(views, votes)
    k = min(EMBEDDING_DIMS, len(features) - 1, features.shape[1])
    if k < 1:
        return head
    pca = PCA(k, svd_solver="randomized", random_state=0).fit(head.standardize(features))
    return replace(head, components=np.ascontiguousarray(pca.components_, dtype=np.float32))


def without_embedding(views: Sequence[ViewProbe], votes: Sequence[int] = ()) -> FusionHead:
    """The head of fitted views, of which nobody asks distances."""
    d = sum(len(view.mean) for view in views)
    return FusionHead(tuple(views), np.empty((0, d), np.float32), tuple(votes))


def split_views(features: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
    """The columns (n, d) as one array a view; :class:`FitError` unless the widths add up to d.

    Without widths all are one view.
    """
    if not widths:
        return [features]
    if sum(widths) != features.shape[1]:
        raise FitError(f"views of {list(widths)} columns, but there are {features.shape[1]}.")
    return np.split(features, np.cumsum(widths)[:-1].tolist(), axis=1)


def fit_whitening(
    x: np.ndarray, labels: np.ndarray, n_origins: int, shrinkage: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Rows (n, d) → rows · Σ_λ^(−½), of the same dtype.

    S_w has at most n eigenvalues s² over 0, with eigenvectors V; off their span Σ_λ is λ I.
    """
    if shrinkage == 1:
        return lambda rows: rows
    means = np.stack([x[labels == origin].mean(axis=0) for origin in range(n_origins)])
    residuals = np.asarray(x - means[labels], dtype=np.float64)
    total = float(np.square(residuals).sum())
    if total == 0:  # one image of each origin: nothing is known of how images of one differ
        return lambda rows: rows
    # The smaller of the two Gram matrices has the same eigenvalues.
    wide = residuals.shape[0] < residuals.shape[1]
    values, vectors = eigh(residuals @ residuals.T if wide else residuals.T @ residuals)
    kept = values > values[-1] * _SMALLEST_EIGENVALUE
    values, vectors = values[kept], vectors[:, kept]
    axes = residuals.T @ vectors / np.sqrt(values) if wide else vectors
    along = (1 - shrinkage) * values * x.shape[1] / total + shrinkage
    change = axes * (1 / np.sqrt(along) - 1 / np.sqrt(shrinkage))

    def apply(rows: np.ndarray) -> np.ndarray:
        off = rows / np.sqrt(shrinkage)
        return np.asarray(off + (rows @ axes) @ change.T, dtype=rows.dtype)

    return apply


def _standardized(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    farthest = _FARTHEST / np.sqrt(len(mean))
    rows = (np.asarray(features, dtype=np.float32) - mean) / scale
    return np.asarray(np.clip(rows, -farthest, farthest), dtype=np.float32)
