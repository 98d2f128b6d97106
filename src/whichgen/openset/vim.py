"""Virtual-logit matching, ViM (Wang et al., 2022): energy minus the size of what is out of plane.

With the rows of P an orthonormal basis of the subspace in which training features vary most about
o, and z the logits::

    r(x) = (I − Pᵀ P)(x − o),    s(x) = log Σ_j exp(z_j(x)) − α ‖r(x)‖

    α = Σᵢ max_j z_j(xᵢ) / Σᵢ ‖r(xᵢ)‖   over training images, which makes both terms alike in size

The paper's o is where the head's weights give logits of 0. Not every head has weights, so o is the
training mean here. For the same reason z counts from its row's mean in α (a linear probe's does by
itself): a head of log-probabilities, none above 0, would make α negative. P has half as many
dimensions as the training features span; where they are fewer than d, more would leave no residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whichgen.openset.base import ROUNDING, check_training
from whichgen.openset.logit import energy


@dataclass(frozen=True)
class VimScore:
    """``origin`` float64 (d,), orthonormal ``basis`` float64 (dimensions, d), and ``alpha``."""

    origin: np.ndarray
    basis: np.ndarray
    alpha: float

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Energy minus the virtual logit: float64 array (n,)."""
        return energy(logits) - self.alpha * _residuals(features, self.origin, self.basis)

    def tensors(self) -> dict[str, np.ndarray]:
        """``origin``, ``basis`` and ``alpha``."""
        return {"origin": self.origin, "basis": self.basis, "alpha": np.array([self.alpha])}


@dataclass(frozen=True)
class Vim:
    """The family of ViM scores."""

    name: str = "vim"

    def fit(
        self, features: np.ndarray, logits: np.ndarray, labels: np.ndarray, n_origins: int
    ) -> VimScore:
        """Mean, principal subspace and α.

        Raises
        ------
        FitError
            An origin has no image, or a feature or logit is not finite.
        """
        check_training(features, logits, labels, n_origins)
        x = np.asarray(features, dtype=np.float64)
        origin = x.mean(axis=0)
        centered = x - origin
        variances, directions = np.linalg.eigh(centered.T @ centered)  # ascending
        rounding = len(variances) * np.finfo(np.float64).eps * variances[-1]
        dimensions = int((variances > rounding).sum()) // 2
        basis = np.ascontiguousarray(directions[:, len(variances) - dimensions :].T)
        z = np.asarray(logits, dtype=np.float64)
        size = float((z.max(axis=1) - z.mean(axis=1)).mean())
        residual = float(_residuals(x, origin, basis).mean())
        if residual <= ROUNDING * np.abs(x).max():
            # All images are one: there is no residual to compare with.
            residual = 1.0
        return VimScore(origin, basis, size / residual)

    def restore(self, tensors: Mapping[str, np.ndarray]) -> VimScore:
        """The score of this subspace."""
        return VimScore(tensors["origin"], tensors["basis"], tensors["alpha"].item())


def _residuals(features: np.ndarray, origin: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Distance of the features from the subspace: float64 array (n,)."""
    centered = np.asarray(features, dtype=np.float64) - origin
    return np.asarray(np.linalg.norm(centered - (centered @ basis.T) @ basis, axis=1))
