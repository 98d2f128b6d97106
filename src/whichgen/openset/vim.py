"""Virtual-logit matching, ViM (Wang et al., 2022): energy minus the scaled distance to a subspace.

Let x be the embedding of an image, z its logits, and o the center of the training embeddings, and
let the rows of P be an orthonormal basis of the principal subspace of the training embeddings. The
score s(x) is::

    r(x) = (I − Pᵀ P)(x − o),    s(x) = log Σ_j exp(z_j(x)) − α ‖r(x)‖

    α = Σᵢ max_j z_j(xᵢ) / Σᵢ ‖r(xᵢ)‖

The sums over i run over the training images; α gives both terms of s(x) the same scale.

Differences from the paper:

- The paper's o is the point where the head's weights give logits of 0. Here o is the mean of the
  training embeddings, because not every head has weights.
- Before α is computed, the mean logit of each image is subtracted from its logits, because some
  heads return log-probabilities, which are ≤ 0 and would make α negative.
- P has half as many rows (rounded down) as the rank of the centered training embeddings, so that
  the residual is not 0 even if this rank is less than the number of dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from whichgen.heads.head import HeadOutput
from whichgen.openset.logit_scores import Energy
from whichgen.openset.score import ROUNDING, OpenSetScore


@dataclass(frozen=True)
class Vim(OpenSetScore):
    """Virtual-logit matching score.

    Parameters
    ----------
    center
        Center o of the training embeddings: float64 array (d,). Saved models call it ``origin``.
    basis
        Orthonormal basis P of the principal subspace: float64 array (dimensions, d).
    alpha
        Scale α of the residual norm, ≥ 0.
    """

    center: np.ndarray = field(metadata={"key": "origin"})
    basis: np.ndarray
    alpha: float

    @classmethod
    def fit(cls, output: HeadOutput, labels: np.ndarray, n_origins: int) -> Self:
        """Compute the center, the principal subspace and α; see :meth:`OpenSetScore.fit`."""
        x = np.asarray(output.embedding, dtype=np.float64)
        center = x.mean(axis=0)
        centered = x - center
        variances, directions = np.linalg.eigh(centered.T @ centered)  # ascending
        rounding = len(variances) * np.finfo(np.float64).eps * variances[-1]
        dimensions = int((variances > rounding).sum()) // 2
        basis = np.ascontiguousarray(directions[:, len(variances) - dimensions :].T)
        z = np.asarray(output.logits, dtype=np.float64)
        size = float((z.max(axis=1) - z.mean(axis=1)).mean())
        residual = float(_compute_residual_norms(x, center, basis).mean())
        if residual <= ROUNDING * np.abs(x).max():
            residual = 1.0  # for example if all images have equal embeddings
        return cls(center, basis, size / residual)

    def __call__(self, output: HeadOutput) -> np.ndarray:
        """Compute the energy minus the scaled residual norm: float64 array (n,)."""
        norms = _compute_residual_norms(output.embedding, self.center, self.basis)
        return Energy()(output) - self.alpha * norms


def _compute_residual_norms(
    embedding: np.ndarray, center: np.ndarray, basis: np.ndarray
) -> np.ndarray:
    """Compute the norm ‖r(x)‖ of each image's residual: float64 array (n,)."""
    centered = np.asarray(embedding, dtype=np.float64) - center
    return np.asarray(np.linalg.norm(centered - (centered @ basis.T) @ basis, axis=1))
