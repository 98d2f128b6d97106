"""Fusion: one linear probe per view, combined by a weighted mean of their log-probabilities.

A *view* is one feature block: the output of one block of an encoder, or one block of residual
statistics (:mod:`whichgen.encoders.residual_statistics`). Each view v, with d features, is
standardized (mean 0, variance 1/d over training images, clipped at ten standard deviations) and
gets its own probe (:mod:`whichgen.heads.linear`); all probes use the same C. The penalty on the
weights depends on the variation within origins::

    min  C Σᵢ −log p_v,yᵢ(xᵢ) + ½ Σ_j w_jᵀ Σ_λ w_j,    Σ_λ = (1 − λ) S_w d / tr S_w + λ I

w_j are the weights of origin j, yᵢ is the origin of image i, S_w is the within-class scatter of the
training images, and λ the *shrinkage*: λ = 1 is the usual ridge penalty. As in regularized
discriminant analysis (Friedman, 1989), a small λ increases the penalty in directions that vary
within origins, for example with image content, and reduces it in the other directions.

Predictions are pooled geometrically (logarithmic opinion pool: Genest & Zidek, 1986)::

    z_j(x) = Σ_v a_v log p_v,j(x),    p(x) = softmax(z(x))

with weights a_v that sum to 1. The views are divided into *votes*: groups of consecutive views. All
votes have the same weight, which the views of a vote share equally. For example, all blocks of an
encoder can form one vote, because their errors are correlated; together, they then have the same
weight as one block of residual statistics.

Before pooling, the probabilities of each view are mixed with a fraction ε of the uniform
distribution over the K origins: (1 − ε) p_v,j + ε / K. Therefore, no single view can rule out an
origin. This is necessary because a view can be certain but wrong for an image from a source outside
the training set.

``exp z_j`` is close to 1 only if every view predicts origin j with a probability close to 1. If the
views disagree, as they often do about images of unknown generators, ``z_j`` is low for every
origin. Therefore ``max_j z_j`` (the open-set score ``max_logit``) measures the agreement of the
views; the softmax discards this information.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whichgen.errors import ConvergenceError, FitError
from whichgen.heads.design_matrix import decompose_gram
from whichgen.heads.head import HeadOutput, check_training_features
from whichgen.heads.linear import LinearHead, LinearMethod, advise_on_convergence
from whichgen.heads.softmax import softmax

#: Default values of C to try: one per decade, from 0.1 to 10,000.
FUSION_C = tuple(10.0**k for k in range(-1, 5))

#: Default values of the shrinkage λ to try; 1 is the ridge penalty.
SHRINKAGES = (1.0, 0.1)

#: Maximum number of dimensions of the embedding.
EMBEDDING_DIMS = 128

#: Default fraction ε of the uniform distribution in the probabilities of each view.
FLOOR = 1e-3

# Standardized features are clipped to ± this number of standard deviations, so that a single
# outlier can't determine the prediction.
_CLIP = 10.0

# Eigenvalues of at most this fraction of the largest are treated as rounding errors.
_EIGENVALUE_TOLERANCE = 1e-10


@dataclass(frozen=True)
class ViewProbe:
    """Linear probe of one view with d features, and the standardization of these features.

    Parameters
    ----------
    mean, scale
        Standardization ``(features - mean) / scale`` before clipping: float32 arrays (d,).
    probe
        The probe, whose inputs are the standardized features.
    floor
        Fraction ε of the uniform distribution in the probabilities, in [0, 1).
    """

    mean: np.ndarray
    scale: np.ndarray
    probe: LinearHead
    floor: float = FLOOR

    def standardize(self, features: np.ndarray) -> np.ndarray:
        """Standardize and clip the view's features: float array (n, d) → float32 array (n, d)."""
        return _standardize(features, self.mean, self.scale)

    def predict_log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Predict log-probabilities: float array (n, d) → float64 array (n, origins), ≤ 0."""
        logs = np.asarray(self.probe.forward(self.standardize(features)).log_probabilities[0])
        if not self.floor:
            return logs
        log_floor = np.log(self.floor / logs.shape[1])
        return np.asarray(np.logaddexp(logs + np.log1p(-self.floor), log_floor))


@dataclass(frozen=True)
class FusionHead:
    """Head with one linear probe per view; its input is the d concatenated features of all views.

    Parameters
    ----------
    views
        The probes, in the order of the features.
    components
        Principal axes of the standardized training features: float32 array (k, d).
    views_per_vote
        Number of consecutive views in each vote; if empty, each view has its own vote.

    Raises
    ------
    FitError
        The numbers in ``views_per_vote`` do not add up to the number of views.
    """

    views: tuple[ViewProbe, ...]
    components: np.ndarray
    views_per_vote: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.views_per_vote and sum(self.views_per_vote) != len(self.views):
            raise FitError(
                f"views_per_vote {list(self.views_per_vote)} must add up to the number of views, "
                f"{len(self.views)}."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of features of each view."""
        return tuple(len(view.mean) for view in self.views)

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Pool the views' predictions for features, float array (n, d).

        The embedding is the projection of the standardized features on :attr:`components`: float32
        array (n, k).

        Raises
        ------
        FitError
            The number of features is not the sum of :attr:`widths`.
        """
        parts = zip(self.views, split_views(features, self.widths), strict=True)
        log_probabilities = np.stack([view.predict_log_probabilities(x) for view, x in parts])
        sizes = self.views_per_vote or (1,) * len(self.views)
        weights = np.concatenate([np.full(size, 1 / (size * len(sizes))) for size in sizes])
        logits = np.tensordot(weights, log_probabilities, axes=1)
        return HeadOutput(
            logits=logits,
            probabilities=np.asarray(softmax(logits, axis=1)),
            log_probabilities=log_probabilities,
            view_weights=np.repeat(weights[:, None], len(features), axis=1),
            compute_embedding=lambda: self.standardize(features) @ self.components.T,
        )

    def standardize(self, features: np.ndarray) -> np.ndarray:
        """Standardize and clip the features: float array (n, d) → float32 array (n, d).

        Raises
        ------
        FitError
            The number of features is not the sum of :attr:`widths`.
        """
        parts = split_views(features, self.widths)
        return np.hstack([view.standardize(x) for view, x in zip(self.views, parts, strict=True)])

    def replace_probes(self, probes: Iterable[LinearHead]) -> FusionHead:
        """Return a copy of the head with new probes, one per view."""
        views = zip(self.views, probes, strict=True)
        return replace(self, views=tuple(replace(view, probe=probe) for view, probe in views))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return, by name, the arrays from which :meth:`FusionMethod.restore` rebuilds the head.

        ``mean`` (d,), ``scale`` (d,) and ``weights`` (origins, d) are concatenated over the views;
        ``bias`` (views, origins) and ``floor`` (views,) are stacked. The other arrays are
        ``components`` (k, d), ``widths`` (views,), and ``votes``, which contains
        :attr:`views_per_vote`.
        """
        return {
            "widths": np.array(self.widths, dtype=np.int64),
            "floor": np.array([view.floor for view in self.views]),
            "votes": np.array(self.views_per_vote, dtype=np.int64),
            "mean": np.concatenate([view.mean for view in self.views]),
            "scale": np.concatenate([view.scale for view in self.views]),
            "weights": np.hstack([view.probe.weights for view in self.views]),
            "bias": np.stack([view.probe.bias for view in self.views]),
            "components": self.components,
        }


@dataclass(frozen=True)
class FusionMethod:
    """Method that fits fusions of linear probes, with the same C for all views.

    Parameters
    ----------
    widths
        Number of features of each view, in order; if empty, all features form one view.
    shrinkage
        λ in (0, 1], the same for all views.
    views_per_vote
        Number of consecutive views in each vote; if empty, each view has its own vote.
    """

    widths: tuple[int, ...] = ()
    shrinkage: float = 1.0
    views_per_vote: tuple[int, ...] = ()
    name: str = "fusion"
    parameter: str = "C"

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> FusionHead:
        """Fit the probe of each view with C = ``value``, and the principal axes of the embedding.

        See :meth:`whichgen.heads.head.HeadMethod.fit` for the parameters.

        Raises
        ------
        FitError
            The numbers in ``views_per_vote`` do not add up to the number of views, those in
            ``widths`` do not add up to the number of features, the shrinkage is out of range, or
            the training data is invalid (:func:`whichgen.heads.head.check_training_features`).
        ConvergenceError
            A probe did not converge.
        """
        views = self.fit_probes(features, labels, n_origins, value)
        return build_fusion(views, self.views_per_vote, features)

    def fit_probes(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> list[ViewProbe]:
        """Fit the probe of each view with C = ``value``; return the probes in view order.

        See :meth:`whichgen.heads.head.HeadMethod.fit` for the parameters.

        Raises
        ------
        FitError
            The numbers in ``widths`` do not add up to the number of features, the shrinkage is out
            of range, or the training data is invalid
            (:func:`whichgen.heads.head.check_training_features`).
        ConvergenceError
            A probe did not converge.
        """
        probes = []
        for number, x in enumerate(split_views(features, self.widths)):
            (probe,) = fit_view(x, labels, n_origins, (value,), self.shrinkage)
            if probe is None:
                raise ConvergenceError(
                    f"the linear probe of view {number} did not converge at C = {value:g}. "
                    f"{advise_on_convergence()}"
                )
            probes.append(probe)
        return probes

    def restore(
        self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float
    ) -> FusionHead:
        """Rebuild a fusion from the arrays that :meth:`FusionHead.tensors` returns.

        See :meth:`whichgen.heads.head.HeadMethod.restore` for the parameters and errors;
        ``n_origins`` and ``value`` are not used.
        """
        widths = tuple(int(width) for width in tensors["widths"])
        mean, scale = (split_views(tensors[k][None], widths) for k in ("mean", "scale"))
        weights = split_views(tensors["weights"], widths)
        # Models of version 0.2.0 have no floor.
        floors = tensors.get("floor", np.zeros(len(widths)))
        parts = zip(mean, scale, weights, tensors["bias"], floors.tolist(), strict=True)
        return FusionHead(
            tuple(
                ViewProbe(m[0], s[0], LinearHead(np.ascontiguousarray(w), b), floor)
                for m, s, w, b, floor in parts
            ),
            tensors["components"],
            tuple(int(vote) for vote in tensors["votes"]),
        )


def fit_view(
    features: np.ndarray,
    labels: np.ndarray,
    n_origins: int,
    values: Sequence[float],
    shrinkage: float = 1.0,
) -> list[ViewProbe | None]:
    """Fit one probe of a view for each C.

    Parameters
    ----------
    features
        Training features of the view: float array (n, d).
    labels, n_origins
        See :meth:`whichgen.heads.head.HeadMethod.fit`.
    values
        Values of C, ascending.
    shrinkage
        λ in (0, 1].

    Returns
    -------
    list of ViewProbe or None
        The probe for each C, in the order of ``values``; ``None`` if the solver did not converge.

    Raises
    ------
    FitError
        ``shrinkage`` is out of range, or the training data is invalid
        (:func:`whichgen.heads.head.check_training_features`).
    """
    if not 0 < shrinkage <= 1:
        raise FitError(f"shrinkage must be above 0 and at most 1, got {shrinkage:g}.")
    check_training_features(features, labels, n_origins)
    x = np.asarray(features, dtype=np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0)
    # Constant features carry no information. They are 0 after the mean is subtracted.
    scale = np.where(std > 0, std, 1) * np.sqrt(x.shape[1])
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    x = _standardize(features, mean, scale)
    # Substituting w = Σ_λ^(−½) u turns the penalty on w into the usual ridge penalty on u.
    whiten = fit_whitening(x, labels, n_origins, shrinkage)
    probes: list[ViewProbe | None] = []
    for _, solution in LinearMethod().fit_path(whiten(x), labels, n_origins, values):
        if solution is None:
            probes.append(None)
        else:
            probe = LinearHead(whiten(solution.weights), solution.bias)
            probes.append(ViewProbe(mean, scale, probe))
    return probes


def build_fusion(
    views: Sequence[ViewProbe],
    views_per_vote: Sequence[int] = (),
    features: np.ndarray | None = None,
) -> FusionHead:
    """Combine the probes of all views into a head.

    Parameters
    ----------
    views, views_per_vote
        See :class:`FusionHead`.
    features
        Features of n ≥ 1 training images, float array (n, d), from which the principal axes of the
        embedding are computed. If ``features`` is ``None`` or n is 1, there are no axes, and the
        embedding of each image is an empty vector.

    Raises
    ------
    FitError
        The numbers in ``views_per_vote`` do not add up to the number of views, or the number of
        features differs from that of the views.
    """
    d = sum(len(view.mean) for view in views)
    head = FusionHead(tuple(views), np.empty((0, d), np.float32), tuple(views_per_vote))
    if features is None or len(features) == 1:
        return head
    k = min(EMBEDDING_DIMS, len(features) - 1, d)
    from sklearn.decomposition import PCA  # takes a second to import

    pca = PCA(k, svd_solver="randomized", random_state=0).fit(head.standardize(features))
    components = np.ascontiguousarray(pca.components_, dtype=np.float32)
    return replace(head, components=components)


def split_views(features: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
    """Split features, array (n, d), into one array (n, width) per view, in order.

    If ``widths`` is empty, there is one view with all features.

    Raises
    ------
    FitError
        The numbers in ``widths`` do not add up to d.
    """
    if not widths:
        return [features]
    if sum(widths) != features.shape[1]:
        raise FitError(
            f"the widths of the views {list(widths)} add up to {sum(widths)}, but there are "
            f"{features.shape[1]} features. Pass the features of exactly these views, or correct "
            "the widths."
        )
    return np.split(features, np.cumsum(widths)[:-1].tolist(), axis=1)


def fit_whitening(
    x: np.ndarray, labels: np.ndarray, n_origins: int, shrinkage: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Compute Σ_λ from training features, and return a function that multiplies rows by Σ_λ^(−½).

    Σ_λ and S_w are defined in the module docstring. Along the eigenvectors of S_w with nonzero
    eigenvalues, of which there are at most min(n, d), Σ_λ is computed from these eigenvalues; in
    all other directions it equals λ I.

    Parameters
    ----------
    x
        Training features: float array (n, d).
    labels, n_origins
        See :meth:`whichgen.heads.head.HeadMethod.fit`.
    shrinkage
        λ in (0, 1].

    Returns
    -------
    function
        Maps a float array (m, d) to an array of the same shape and dtype. If λ is 1 or S_w is 0, it
        returns the array itself.
    """
    if shrinkage == 1:
        return lambda rows: rows
    means = np.stack([x[labels == origin].mean(axis=0) for origin in range(n_origins)])
    residuals = np.asarray(x - means[labels], dtype=np.float64)
    total = float(np.square(residuals).sum())
    if total == 0:  # for example with one image per origin
        return lambda rows: rows
    # Both Gram matrices have the same nonzero eigenvalues; use the smaller matrix.
    is_wide = residuals.shape[0] < residuals.shape[1]
    gram = residuals @ residuals.T if is_wide else residuals.T @ residuals
    values, vectors = decompose_gram(gram, _EIGENVALUE_TOLERANCE)
    axes = residuals.T @ vectors / np.sqrt(values) if is_wide else vectors
    eigenvalues = (1 - shrinkage) * values * x.shape[1] / total + shrinkage
    correction = axes * (1 / np.sqrt(eigenvalues) - 1 / np.sqrt(shrinkage))

    def whiten(rows: np.ndarray) -> np.ndarray:
        product = rows / np.sqrt(shrinkage) + (rows @ axes) @ correction.T
        return np.asarray(product, dtype=rows.dtype)

    return whiten


def _standardize(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    limit = _CLIP / np.sqrt(len(mean))
    rows = (np.asarray(features, dtype=np.float32) - mean) / scale
    return np.asarray(np.clip(rows, -limit, limit), dtype=np.float32)
