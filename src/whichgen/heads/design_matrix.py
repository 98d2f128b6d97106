"""Images in their principal axes, as :mod:`whichgen.heads.solver` multiplies with them.

With μ the mean of the features x and V their principal axes, z = (x − μ) V and a last 1 for the
bias. Few images are rotated once and kept; of many only the features are there, on disk if they are
a memory map, and are rotated piece by piece in each product – by turning the few weights instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import eigh

#: Rotated images of more bytes than that are not kept.
IN_MEMORY = 512 * 2**20

# Smaller shares of the largest eigenvalue are rounding.
_SMALLEST = 1e-14

# Images that are rotated at a time.
_ROWS = 8192


#: Which images, and their logits (origins, images) → values of the same shape.
Bend = Callable[[slice, np.ndarray], np.ndarray]


class Design(Protocol):
    """Images z, a row of r values and 1 for each of n: features are center + z[:, :-1] @ axes."""

    @property
    def squares(self) -> np.ndarray:
        """The sums of squares of the columns of z: float64 array (r + 1,)."""
        ...

    @property
    def axes(self) -> np.ndarray:
        """The principal axes: float64 array (r, d)."""
        ...

    @property
    def center(self) -> np.ndarray:
        """The mean of the features: float64 array (d,)."""
        ...

    def logits(self, weights: np.ndarray) -> np.ndarray:
        """``weights @ z.T``: float64 array (origins, r + 1) → (origins, n)."""
        ...

    def gather(self, values: np.ndarray) -> np.ndarray:
        """``values @ z``: float64 array (origins, n) → (origins, r + 1)."""
        ...

    def through(self, weights: np.ndarray, bend: Bend) -> tuple[np.ndarray, np.ndarray]:
        """``gather(bend(logits(weights)))``, and the logits; ``bend`` sees each image by itself."""
        ...

    def outer(self, values: np.ndarray) -> np.ndarray:
        """``z.T @ diag(values) @ z``: float64 array (n,) → (r + 1, r + 1)."""
        ...


@dataclass(frozen=True)
class Rotated:
    """A :class:`Design` in memory; ``z`` is transposed, float64 (r + 1, n)."""

    z: np.ndarray
    squares: np.ndarray
    axes: np.ndarray
    center: np.ndarray

    def logits(self, weights: np.ndarray) -> np.ndarray:
        """See :class:`Design`."""
        return np.asarray(weights @ self.z)

    def gather(self, values: np.ndarray) -> np.ndarray:
        """See :class:`Design`."""
        return np.asarray(values @ self.z.T)

    def through(self, weights: np.ndarray, bend: Bend) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Design`."""
        logits = self.logits(weights)
        return self.gather(bend(slice(None), logits)), logits

    def outer(self, values: np.ndarray) -> np.ndarray:
        """See :class:`Design`."""
        return np.asarray((self.z * values) @ self.z.T)


@dataclass(frozen=True)
class Streamed:
    """A :class:`Design` of features (n, d) of any float type, which stay where they are."""

    features: np.ndarray
    squares: np.ndarray
    axes: np.ndarray
    center: np.ndarray

    def logits(self, weights: np.ndarray) -> np.ndarray:
        """See :class:`Design`."""
        turned, bias = self._turned(weights)
        found = np.empty((len(weights), len(self.features)))
        for rows, x in _pieces(self.features):
            found[:, rows] = turned @ x.T
            found[:, rows] += bias
        return found

    def gather(self, values: np.ndarray) -> np.ndarray:
        """See :class:`Design`."""
        found = np.zeros((len(values), len(self.center)))
        for rows, x in _pieces(self.features):
            found += values[:, rows] @ x
        return self._gathered(found, values.sum(axis=1))

    def through(self, weights: np.ndarray, bend: Bend) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Design`; the features are read once."""
        turned, bias = self._turned(weights)
        logits = np.empty((len(weights), len(self.features)))
        found, total = np.zeros((len(weights), len(self.center))), np.zeros(len(weights))
        for rows, x in _pieces(self.features):
            logits[:, rows] = turned @ x.T
            logits[:, rows] += bias
            values = bend(rows, logits[:, rows])
            found += values @ x
            total += values.sum(axis=1)
        return self._gathered(found, total), logits

    def _turned(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias (origins, 1) of the features as they are."""
        turned = weights[:, :-1] @ self.axes
        return turned, weights[:, -1:] - turned @ self.center[:, None]

    def _gathered(self, found: np.ndarray, total: np.ndarray) -> np.ndarray:
        """What was gathered of the features as they are, as of z."""
        return np.column_stack([(found - np.outer(total, self.center)) @ self.axes.T, total])

    def outer(self, values: np.ndarray) -> np.ndarray:
        """See :class:`Design`."""
        found = np.zeros((len(self.axes) + 1,) * 2)
        for rows, x in _pieces(self.features):
            z = np.hstack([(x - self.center) @ self.axes.T, np.ones((len(x), 1))])
            found += (z * values[rows, None]).T @ z
        return found


def build_design_matrix(features: np.ndarray) -> Design:
    """The :class:`Design` of features, float array (n, d)."""
    n, d = features.shape
    if n * min(n, d) * 8 > IN_MEMORY:
        return _streamed(features)
    x = np.asarray(features, dtype=np.float64)
    center = x.mean(axis=0)
    x = x - center
    # The smaller one of the two Gram matrices.
    wide = n < d
    squares, vectors = _axes(x @ x.T if wide else x.T @ x)
    if wide:
        lengths = np.sqrt(squares)
        z, axes = vectors * lengths, (x.T @ (vectors / lengths)).T
    else:
        z, axes = x @ vectors, vectors.T
    return Rotated(
        np.vstack([z.T, np.ones(n)]),
        np.append(squares, n),
        np.ascontiguousarray(axes),
        center,
    )


def _pieces(features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some thousand rows at a time: which, and float64 features."""
    for start in range(0, len(features), _ROWS):
        rows = slice(start, min(start + _ROWS, len(features)))
        yield rows, features[rows].astype(np.float64)


def _streamed(features: np.ndarray) -> Streamed:
    n, d = features.shape
    center = np.zeros(d)
    for _, x in _pieces(features):
        center += x.sum(axis=0)
    center /= n
    gram = np.zeros((d, d))
    for _, x in _pieces(features):
        around = x - center
        gram += around.T @ around
    squares, vectors = _axes(gram)
    return Streamed(features, np.append(squares, n), np.ascontiguousarray(vectors.T), center)


def _axes(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors, a column each, without those that are rounding."""
    squares, vectors = eigh(gram)
    kept = squares > squares[-1] * _SMALLEST
    return squares[kept], vectors[:, kept]
