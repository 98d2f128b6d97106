"""Design matrices for :mod:`whichgen.heads.solver`: features projected on their principal axes.

Let μ be the weighted mean of the features x, and let the columns of V be their principal axes, the
eigenvectors of Σᵢ ωᵢ (xᵢ − μ)ᵀ(xᵢ − μ) for sample weights ωᵢ. Row i of the design matrix z is
(xᵢ − μ) V followed by a 1 for the bias. Small datasets are projected once and kept in memory
(:class:`InMemoryDesign`). Large datasets are not copied, because they may be memory-mapped: each
product reads the features in chunks and projects the weights instead (:class:`StreamedDesign`).

Both classes have the same methods. For r axes and n images, weights and weighted sums have shape
(origins, r + 1); logits and the coefficients of sums have shape (origins, n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

#: Maximum size in bytes of projected features in memory.
MAX_MEMORY = 512 * 2**20

# Eigenvalues below this fraction of the largest are rounding errors.
_MIN_EIGENVALUE = 1e-14

# Number of feature rows that are converted to float64 at a time.
_CHUNK_ROWS = 8192

#: Function from a slice of image numbers and the logits of these m images, float64 array
#: (origins, m), to an array of the same shape.
LogitTransform = Callable[[slice, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class InMemoryDesign:
    """Design matrix in memory.

    Parameters
    ----------
    sample_weights
        Sample weights ω, > 0: float64 array (n,).
    column_squares
        Weighted sums of squares of the columns of the design matrix z: float64 array (r + 1,).
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
        """Return ``transform(…, logits) @ z`` and the logits, where ``logits = weights @ z.T``."""
        logits = self.compute_logits(weights)
        return self.compute_weighted_sum(transform(slice(None), logits)), logits

    def compute_weighted_gram(self, coefficients: np.ndarray) -> np.ndarray:
        """Compute ``z.T @ diag(coefficients) @ z``: float64 array (n,) → (r + 1, r + 1)."""
        return np.asarray((self.z_transposed * coefficients) @ self.z_transposed.T)


@dataclass(frozen=True)
class StreamedDesign:
    """Design matrix that reads ``features``, a float array (n, d), in chunks.

    See :class:`InMemoryDesign` for the other parameters and the methods.
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
        return self._rotate_sums(sums, coefficients.sum(axis=1))

    def transform_and_sum(
        self, weights: np.ndarray, transform: LogitTransform
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ``transform(…, logits) @ z`` and the logits, where ``logits = weights @ z.T``.

        Each chunk of the features is read once.
        """
        rotated = weights[:, :-1] @ self.axes
        bias = weights[:, -1:] - rotated @ self.center[:, None]
        logits = np.empty((len(weights), len(self.features)))
        sums, totals = np.zeros((len(weights), len(self.center))), np.zeros(len(weights))
        for rows, x in read_chunks(self.features):
            logits[:, rows] = rotated @ x.T
            logits[:, rows] += bias
            coefficients = transform(rows, logits[:, rows])
            sums += coefficients @ x
            totals += coefficients.sum(axis=1)
        return self._rotate_sums(sums, totals), logits

    def compute_weighted_gram(self, coefficients: np.ndarray) -> np.ndarray:
        """Compute ``z.T @ diag(coefficients) @ z``: float64 array (n,) → (r + 1, r + 1)."""
        gram = np.zeros((len(self.axes) + 1,) * 2)
        for rows, x in read_chunks(self.features):
            z = np.hstack([(x - self.center) @ self.axes.T, np.ones((len(x), 1))])
            gram += (z * coefficients[rows, None]).T @ z
        return gram

    def _rotate_sums(self, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """Convert weighted sums of feature rows to sums of z: (origins, d) → (origins, r + 1).

        ``totals``, float64 array (origins,), contains the sum of each origin's coefficients.
        """
        return np.column_stack([(sums - np.outer(totals, self.center)) @ self.axes.T, totals])


DesignMatrix = InMemoryDesign | StreamedDesign


def build_design_matrix(
    features: np.ndarray, sample_weights: np.ndarray | None = None
) -> DesignMatrix:
    """Build the design matrix of features.

    The matrix is kept in memory if it takes at most :data:`MAX_MEMORY` bytes; otherwise, the
    features are read in chunks.

    Parameters
    ----------
    features
        The features: float array (n, d).
    sample_weights
        Sample weights, > 0: array (n,). By default, all are 1.
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
    squares, vectors = decompose_gram(x @ x.T if is_wide else x.T @ x, _MIN_EIGENVALUE)
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
    centered = ((x - center) * np.sqrt(omega[rows])[:, None] for rows, x in read_chunks(features))
    gram = np.asarray(sum(x.T @ x for x in centered))
    squares, vectors = decompose_gram(gram, _MIN_EIGENVALUE)
    axes = np.ascontiguousarray(vectors.T)
    return StreamedDesign(omega, np.append(squares, omega.sum()), axes, center, features)


def read_chunks(features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield consecutive slices of row numbers, and the features of these rows as float64 arrays.

    ``features`` is a float array (n, d).
    """
    for start in range(0, len(features), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        yield rows, np.asarray(features[rows], dtype=np.float64)


def decompose_gram(gram: np.ndarray, minimum: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the r nonzero eigenvalues of a Gram matrix, and their eigenvectors as columns.

    The matrix has shape (m, m), and the returned arrays have shapes (r,) and (m, r). Eigenvalues
    are ascending. Those of at most ``minimum`` times the largest are rounding errors and count as
    zero.
    """
    from scipy.linalg import eigh  # takes a quarter of a second to import

    values, vectors = eigh(gram)
    nonzero = values > values[-1] * minimum
    return values[nonzero], vectors[:, nonzero]
