"""Virtual-logit matching, ViM (Wang et al., 2022): energy minus the distance from a subspace.

With the rows of P an orthonormal basis of the subspace in which training features vary most around
o, and z the logits::

    r(x) = (I − Pᵀ P)(x − o),    s(x) = log Σ_j exp(z_j(x)) − α ‖r(x)‖

    α = Σᵢ max_j z_j(xᵢ) / Σᵢ ‖r(xᵢ)‖   over training images, which gives both terms the same scale

Differences from the paper: its o is the point where the head's weights give logits of 0, but not
every head has weights, so o is the training mean here. For the same reason α uses logits minus the
mean of their row (already 0 for a linear probe): with log-probabilities, which are all ≤ 0, α would
be negative. P has half as many dimensions as the training features span; if they span fewer than d
dimensions, more would leave no residual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from whichgen.heads.base import HeadOutput
from whichgen.openset.base import ROUNDING, OpenSetScore
from whichgen.openset.logit_scores import Energy


@dataclass(frozen=True)
class Vim(OpenSetScore):
    """``origin`` o float64 (d,), ``basis`` P float64 (dimensions, d), and ``alpha``."""

    origin: np.ndarray
    basis: np.ndarray
    alpha: float

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the mean, the principal subspace and α; see :meth:`OpenSetScore.fit`."""
        x = np.asarray(output.embedding, dtype=np.float64)
        origin = x.mean(axis=0)
        centered = x - origin
        variances, directions = np.linalg.eigh(centered.T @ centered)  # ascending
        rounding = len(variances) * np.finfo(np.float64).eps * variances[-1]
        dimensions = int((variances > rounding).sum()) // 2
        basis = np.ascontiguousarray(directions[:, len(variances) - dimensions :].T)
        z = np.asarray(output.logits, dtype=np.float64)
        size = float((z.max(axis=1) - z.mean(axis=1)).mean())
        residual = float(_residual_norms(x, origin, basis).mean())
        if residual <= ROUNDING * np.abs(x).max():
            residual = 1.0  # all images are equal
        return cls(origin, basis, size / residual)

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the energy minus the virtual logit: float64 array (n,)."""
        norms = _residual_norms(output.embedding, self.origin, self.basis)
        return Energy()(output) - self.alpha * norms


def _residual_norms(features: np.ndarray, origin: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Compute the distance of features from the subspace: float64 array (n,)."""
    centered = np.asarray(features, dtype=np.float64) - origin
    return np.asarray(np.linalg.norm(centered - (centered @ basis.T) @ basis, axis=1))
