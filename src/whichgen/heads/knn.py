"""k-nearest neighbors on L2-normalized features, with votes weighted by cosine similarity.

Let N_k(x) be the k training images most similar to image x, and y_i the origin of training image i.
The probability of origin j is::

    p_j(x) = Σ_{i ∈ N_k(x), y_i = j} s(x, x_i)  /  Σ_{i ∈ N_k(x)} s(x, x_i),    s = max(cos, 0)

Negative cosines count as zero, because probabilities can't be negative. If no neighbor has a
positive cosine, all origins are equally probable. A training image that is repeated to balance the
classes counts as several neighbors (:mod:`whichgen.heads.class_balance`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whichgen.defaults import K_SWEEP
from whichgen.errors import FitError
from whichgen.heads.class_balance import count_repeats
from whichgen.heads.head import HeadOutput, check_training_features
from whichgen.option_names import name_option

#: Values of k in the paper (UniversalAttribution): 1 to 20.
PAPER_K = tuple(range(K_SWEEP[0], K_SWEEP[1] + 1))

# Smaller probabilities are replaced with this value, so that their logarithms are finite.
_MIN_PROBABILITY = 1e-300


def build_cosine_index(vectors: np.ndarray) -> Any:
    """Build an exact faiss inner-product index of unit vectors, float32 array (n, d)."""
    import faiss  # takes a third of a second to import

    index: Any = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def normalize_rows(features: np.ndarray) -> np.ndarray:
    """Scale the rows of features to unit length: array (n, d) → float32 array (n, d).

    Rows of zeros stay zero.
    """
    rows = np.asarray(features, dtype=np.float32)
    # Squares are summed in float64: in float32 they overflow above 1e19 and vanish below 1e-23.
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)


def vote(similarities: np.ndarray, labels: np.ndarray, n_origins: int) -> np.ndarray:
    """Compute the probabilities of the origins for every k from 1 to k_max.

    Parameters
    ----------
    similarities, labels
        Cosine similarities and origin indices of the k_max nearest neighbors of each of m queries,
        most similar first: float and integer arrays (m, k_max).
    n_origins
        Number of origins.

    Returns
    -------
    float64 array (k_max, m, n_origins)
        Entry ``[k - 1]`` contains the probabilities computed from the k nearest neighbors.
    """
    weights = np.clip(similarities.astype(np.float64), 0, None)
    one_hot = labels[..., None] == np.arange(n_origins)
    sums = np.cumsum(weights[..., None] * one_hot, axis=1).transpose(1, 0, 2)
    totals = sums.sum(axis=2, keepdims=True)
    return np.asarray(np.where(totals > 0, sums / np.where(totals > 0, totals, 1), 1 / n_origins))


@dataclass(frozen=True)
class KnnHead:
    """Fitted k-nearest-neighbor head.

    Parameters
    ----------
    exemplars
        Training features scaled to unit length: float32 array (n, d).
    labels
        Origin index of each exemplar: int64 array (n,).
    n_origins
        Number of origins.
    k
        Number of neighbors, from 1 to n.
    repeats
        Number of times that each exemplar counts, ≥ 1: int64 array (n,).
    """

    exemplars: np.ndarray
    labels: np.ndarray
    n_origins: int
    k: int
    repeats: np.ndarray

    @cached_property
    def index(self) -> Any:
        """The faiss index of the exemplars, built on first use."""
        return build_cosine_index(self.exemplars)

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes build their own index.
        return {name: value for name, value in vars(self).items() if name != "index"}

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Compute the output for features, float array (n, d).

        The logits are the log-probabilities, and the embedding is the normalized features.
        """
        probabilities = vote(*self.find_neighbors(features), self.n_origins)[-1]
        logits = np.log(np.maximum(probabilities, _MIN_PROBABILITY))
        return HeadOutput(
            logits=logits,
            probabilities=probabilities,
            log_probabilities=logits[None],
            view_weights=np.ones((1, len(features))),
            compute_embedding=lambda: normalize_rows(features),
        )

    def find_neighbors(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest exemplars of each of m images.

        ``features``, float array (m, d), contains the features of these images. An exemplar with
        several repeats counts as several neighbors.

        Returns
        -------
        similarities, labels
            Cosine similarities and origin indices of the neighbors, most similar first: float32 and
            int64 arrays (m, k).
        """
        similarities, neighbors = self.index.search(normalize_rows(features), self.k)
        labels = self.labels[neighbors]
        if (self.repeats == 1).all():
            return similarities, labels
        repeats = np.minimum(self.repeats[neighbors], self.k)
        n_free = self.k - (np.cumsum(repeats, axis=1) - repeats)
        places = np.clip(n_free, 0, repeats).ravel()  # sums to k in each row
        shape = similarities.shape
        return (
            np.repeat(similarities.ravel(), places).reshape(shape),
            np.repeat(labels.ravel(), places).reshape(shape),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays ``exemplars``, ``labels`` and ``repeats`` by name."""
        return {"exemplars": self.exemplars, "labels": self.labels, "repeats": self.repeats}


@dataclass(frozen=True)
class KnnMethod:
    """Method that fits k-nearest-neighbor heads; one neighbor search serves all values of k.

    Parameters
    ----------
    values
        Values of k to try, ≥ 1; by default :data:`PAPER_K`. Values above the number of training
        images are skipped.
    balanced
        Whether training images of small classes count several times, so that all classes have the
        same weight (:mod:`whichgen.heads.class_balance`).

    Raises
    ------
    FitError
        ``values`` is empty or contains a value below 1.
    """

    values: tuple[int, ...] = PAPER_K
    balanced: bool = False
    name: str = "knn"
    parameter: str = "k"

    def __post_init__(self) -> None:
        if not self.values or min(self.values) < 1:
            raise FitError(
                "at least one value of k is needed, and all values must be at least 1; got "
                f"{list(self.values)}. Correct {name_option('--K', '`values`')}."
            )

    def list_candidate_values(self, n_train: int) -> tuple[float, ...]:
        """Return the values of k that are at most ``n_train``, ascending.

        Raises
        ------
        FitError
            All values exceed ``n_train``.
        """
        values = tuple(float(k) for k in sorted(self.values) if k <= n_train)
        if not values:
            raise FitError(
                f"k = {min(self.values)} exceeds the number of training images, {n_train}. Use a "
                f"smaller {name_option('--k-min or --K', 'k')}, or more images."
            )
        return values

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """Classify the images of each query set for each k; search for neighbors only once.

        See :meth:`whichgen.heads.head.SweepMethod.sweep` for the parameters, results and errors.
        """
        values = self.list_candidate_values(len(features))
        head = self.fit(features, labels, n_origins, values[-1])
        votes = [vote(*head.find_neighbors(query), n_origins) for query in queries]
        for value in values:
            yield value, [by_k[int(value) - 1] for by_k in votes]

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> KnnHead:
        """Normalize the training features, and build a head with k = ``value`` from them.

        See :meth:`whichgen.heads.head.HeadMethod.fit` for the parameters.

        Raises
        ------
        FitError
            The training data is invalid (:func:`whichgen.heads.head.check_training_features`), or k
            is not from 1 to the number of images.
        """
        check_training_features(features, labels, n_origins)
        repeats = count_repeats(labels, n_origins) if self.balanced else None
        exemplars, labels = normalize_rows(features), labels.astype(np.int64)
        return _build_head(exemplars, labels, n_origins, value, repeats)

    def restore(self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float) -> KnnHead:
        """Rebuild a head from the arrays that :meth:`KnnHead.tensors` returns.

        See :meth:`whichgen.heads.head.HeadMethod.restore` for the parameters. Without ``repeats``,
        as in models of version 0.2.0, each exemplar counts once.

        Raises
        ------
        KeyError
            ``exemplars`` or ``labels`` is missing.
        FitError
            The numbers of labels, repeats and exemplars differ, the repeats are not positive signed
            integers, or k is not from 1 to the number of exemplars.
        """
        arrays = tensors["exemplars"], tensors["labels"]
        return _build_head(*arrays, n_origins, value, tensors.get("repeats"))


def _build_head(
    exemplars: np.ndarray,
    labels: np.ndarray,
    n_origins: int,
    k: float,
    repeats: np.ndarray | None,
) -> KnnHead:
    n = len(exemplars)
    if repeats is None:
        repeats = np.ones(n, dtype=np.int64)
    if labels.shape != (n,):
        raise FitError(f"'labels' must contain one label for each of the {n} exemplars.")
    if repeats.shape != (n,) or repeats.dtype.kind != "i" or (repeats < 1).any():
        raise FitError(
            f"'repeats' must contain one positive integer for each of the {n} exemplars."
        )
    if not 1 <= k <= n:
        raise FitError(f"k must be from 1 to {n}, the number of training images; got {k:g}.")
    return KnnHead(exemplars, labels, n_origins, int(k), repeats)
