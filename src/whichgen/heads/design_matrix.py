"""Design matrices for :mod:`whichgen.heads.solver`: features projected on their principal axes.

Let xᵢ be the features of image i, a row vector, let ωᵢ be its sample weight, and let μ be the
weighted mean of the features. The columns of V are the r principal axes: the eigenvectors of
Σᵢ ωᵢ (xᵢ − μ)ᵀ(xᵢ − μ) with nonzero eigenvalues. Row i of the design matrix z is (xᵢ − μ) V
followed by a 1 for the bias. Small matrices are computed once and kept in memory
(:class:`InMemoryDesign`). Large matrices are never stored: each product reads the features, which
may be memory-mapped, in chunks (:class:`StreamedDesign`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

#: Maximum size in bytes of a design matrix in memory (:func:`build_design_matrix`).
MAX_MEMORY = 512 * 2**20

# Eigenvalues of at most this fraction of the largest are treated as rounding errors.
_EIGENVALUE_TOLERANCE = 1e-14

# Number of feature rows that are converted to float64 at a time.
_CHUNK_ROWS = 8192

#: Function of a slice of row indices and the logits of these m images, float64 array (origins, m).
#: It returns an array of the same shape, and does not change the logits.
LogitTransform = Callable[[slice, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class InMemoryDesign:
    """Design matrix in memory, with r axes, for n images with d features.

    Parameters
    ----------
    sample_weights
        Sample weights ω, > 0: float64 array (n,).
    column_squares
        Weighted sum of squares of each column of the design matrix z: float64 array (r + 1,).
    axes
        Principal axes: float64 array (r, d).
    center
        Weighted mean of the features: float64 array (d,).
    z_transposed
        The transposed design matrix: float64 array (r + 1, n).
    """

    sample_weights: np.ndarray
    column_squares: np.ndarray
    axes: np.ndarray
    center: np.ndarray
    z_transposed: np.ndarray

    def compute_logits(self, weights: np.ndarray) -> np.ndarray:
        """Compute ``weights @ z.T``: float64 array (origins, r + 1) → (origins, n)."""
        return np.asarray(weights @ self.z_transposed)

    def compute_weighted_sum(self, coefficients: np.ndarray) -> np.ndarray:
        """Compute ``coefficients @ z``: float64 array (origins, n) → (origins, r + 1)."""
        return np.asarray(coefficients @ self.z_transposed.T)

    def transform_and_sum(
        self, weights: np.ndarray, transform: LogitTransform
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the logits, and the product of the transformed logits with z.

        Parameters
        ----------
        weights
            Weights and biases: float64 array (origins, r + 1).
        transform
            Function that is applied to the logits; a :class:`StreamedDesign` applies it to the
            logits of each chunk of images separately.

        Returns
        -------
        sums, logits
            ``transform(…, logits) @ z``, float64 array (origins, r + 1), and
            ``logits = weights @ z.T``, float64 array (origins, n).
        """
        logits = self.compute_logits(weights)
        return self.compute_weighted_sum(transform(slice(None), logits)), logits

    def compute_weighted_gram(self, coefficients: np.ndarray) -> np.ndarray:
        """Compute ``z.T @ diag(coefficients) @ z``: float64 array (n,) → (r + 1, r + 1)."""
        return np.asarray((self.z_transposed * coefficients) @ self.z_transposed.T)


@dataclass(frozen=True)
class StreamedDesign:
    """Design matrix that is computed from the features, in chunks, whenever it is used.

    Parameters
    ----------
    sample_weights, column_squares, axes, center
        See :class:`InMemoryDesign`.
    features
        The features: float array (n, d).
    """

    sample_weights: np.ndarray
    column_squares: np.ndarray
    axes: np.ndarray
    center: np.ndarray
    features: np.ndarray

    def compute_logits(self, weights: np.ndarray) -> np.ndarray:
        """Compute ``weights @ z.T``: float64 array (origins, r + 1) → (origins, n)."""
        return self.transform_and_sum(weights, lambda _, logits: logits)[1]

    def compute_weighted_sum(self, coefficients: np.ndarray) -> np.ndarray:
        """Compute ``coefficients @ z``: float64 array (origins, n) → (origins, r + 1)."""
        sums = np.asarray(sum(coefficients[:, rows] @ x for rows, x in read_chunks(self.features)))
        return self._project_sums(sums, coefficients.sum(axis=1))

    def transform_and_sum(
        self, weights: np.ndarray, transform: LogitTransform
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the logits and a product with z, reading each chunk of the features once.

        See :meth:`InMemoryDesign.transform_and_sum` for the parameters and the results.
        """
        feature_weights = weights[:, :-1] @ self.axes
        bias = weights[:, -1:] - feature_weights @ self.center[:, None]
        logits = np.empty((len(weights), len(self.features)))
        sums, totals = np.zeros((len(weights), len(self.center))), np.zeros(len(weights))
        for rows, x in read_chunks(self.features):
            logits[:, rows] = feature_weights @ x.T
            logits[:, rows] += bias
            coefficients = transform(rows, logits[:, rows])
            sums += coefficients @ x
            totals += coefficients.sum(axis=1)
        return self._project_sums(sums, totals), logits

    def compute_weighted_gram(self, coefficients: np.ndarray) -> np.ndarray:
        """Compute ``z.T @ diag(coefficients) @ z``: float64 array (n,) → (r + 1, r + 1)."""
        gram = np.zeros((len(self.axes) + 1,) * 2)
        for rows, x in read_chunks(self.features):
            z = np.hstack([(x - self.center) @ self.axes.T, np.ones((len(x), 1))])
            gram += (z * coefficients[rows, None]).T @ z
        return gram

    def _project_sums(self, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """Convert ``coefficients @ features`` to ``coefficients @ z``.

        The shapes are (origins, d) and (origins, r + 1). ``totals``, float64 array (origins,),
        contains the sum of each origin's coefficients.
        """
        return np.column_stack([(sums - np.outer(totals, self.center)) @ self.axes.T, totals])


DesignMatrix = InMemoryDesign | StreamedDesign


def build_design_matrix(
    features: np.ndarray, sample_weights: np.ndarray | None = None
) -> DesignMatrix:
    """Build the design matrix of features.

    The matrix is kept in memory if an array of n · min(n, d) float64 values takes at most
    :data:`MAX_MEMORY` bytes; otherwise, the features are read in chunks.

    Parameters
    ----------
    features
        The features: float array (n, d).
    sample_weights
        Sample weights, > 0: integer or float array (n,). By default, all are 1.
    """
    n, d = features.shape
    omega = np.ones(n) if sample_weights is None else np.asarray(sample_weights, dtype=np.float64)
    if n * min(n, d) * 8 > MAX_MEMORY:
        return _build_streamed(features, omega)
    x = np.array(features, dtype=np.float64)  # a copy, changed in place
    center, roots = omega @ x / omega.sum(), np.sqrt(omega)
    x -= center
    x *= roots[:, None]
    # Both Gram matrices have the same nonzero eigenvalues; use the smaller matrix.
    is_wide = n < d
    squares, vectors = decompose_gram(x @ x.T if is_wide else x.T @ x, _EIGENVALUE_TOLERANCE)
    z_transposed = np.ones((len(squares) + 1, n))
    if is_wide:
        lengths = np.sqrt(squares)
        z_transposed[:-1], axes = (vectors * lengths).T, (x.T @ (vectors / lengths)).T
    else:
        np.matmul(vectors.T, x.T, out=z_transposed[:-1])
        axes = vectors.T
    z_transposed[:-1] /= roots
    squares = np.append(squares, omega.sum())
    return InMemoryDesign(omega, squares, np.ascontiguousarray(axes), center, z_transposed)


def _build_streamed(features: np.ndarray, omega: np.ndarray) -> StreamedDesign:
    center = np.asarray(sum(omega[rows] @ x for rows, x in read_chunks(features))) / omega.sum()
    roots = np.sqrt(omega)[:, None]
    chunks = (roots[rows] * (x - center) for rows, x in read_chunks(features))
    gram = np.asarray(sum(x.T @ x for x in chunks))
    squares, vectors = decompose_gram(gram, _EIGENVALUE_TOLERANCE)
    axes = np.ascontiguousarray(vectors.T)
    return StreamedDesign(omega, np.append(squares, omega.sum()), axes, center, features)


def read_chunks(features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Read features, float array (n, d), in chunks of consecutive rows.

    Yields
    ------
    rows, x
        Slice of the row indices of the chunk, and the features of these m rows: float64 array
        (m, d).
    """
    for start in range(0, len(features), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        yield rows, np.asarray(features[rows], dtype=np.float64)


def decompose_gram(gram: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the nonzero eigenvalues of a Gram matrix and their eigenvectors.

    Parameters
    ----------
    gram
        The Gram matrix: float64 array (m, m).
    tolerance
        Eigenvalues of at most ``tolerance`` times the largest eigenvalue count as zero, because
        they are rounding errors.

    Returns
    -------
    values, vectors
        The r nonzero eigenvalues, ascending, and their eigenvectors of unit length as columns:
        float64 arrays (r,) and (m, r).
    """
    from scipy.linalg import eigh  # takes a quarter of a second to import

    values, vectors = eigh(gram)
    is_nonzero = values > values[-1] * tolerance
    return values[is_nonzero], vectors[:, is_nonzero]
