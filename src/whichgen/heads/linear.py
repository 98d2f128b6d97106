"""Linear probe: L2-regularized multinomial logistic regression.

For features x and origins y the weights minimize (Bishop, 2006, section 4.3.4; scikit-learn's
parametrization)::

    ½‖W‖² + C · Σᵢ [ log Σⱼ exp(wⱼ·xᵢ + bⱼ) − (w_yᵢ·xᵢ + b_yᵢ) ]

on raw features in float64, as the paper has it (no standardization), by
:mod:`whichgen.heads.solver`. Of two origins, as in scikit-learn, the penalty is on the one logit
that tells them apart: ½‖w₁ − w₀‖². All values of C are solved in ascending order, each from the
last solutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

from whichgen.errors import FitError
from whichgen.heads.base import check_training
from whichgen.heads.design_matrix import design
from whichgen.heads.solver import solve_path

#: The paper's grid: 45 values, log-spaced.
PAPER_C = tuple(float(c) for c in np.logspace(-6, 5, 45))


@dataclass(frozen=True)
class LinearHead:
    """A fitted probe: ``weights`` float64 (origins, d), ``bias`` float64 (origins,)."""

    weights: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """``W x + b``: float64 array (n, origins)."""
        return np.asarray(np.asarray(features, dtype=np.float64) @ self.weights.T + self.bias)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Softmax of the logits: float64 array (n, origins)."""
        return np.asarray(softmax(self.logits(features), axis=1))

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Log-softmax of the logits, as one view: float64 array (1, n, origins)."""
        return np.asarray(log_softmax(self.logits(features), axis=1)[None])

    def shares(self, features: np.ndarray) -> np.ndarray:
        """Of the one view: float64 array (1, n)."""
        return np.ones((1, len(features)))

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The features as they are."""
        return features

    def tensors(self) -> dict[str, np.ndarray]:
        """``weights`` and ``bias``."""
        return {"weights": self.weights, "bias": self.bias}


@dataclass(frozen=True)
class LinearMethod:
    """The family of linear probes over a grid of C.

    Parameters
    ----------
    values
        The values of C (> 0); the paper's 45 by default.
    max_iter
        Steps after which a solver that has not converged is an error.
    """

    values: tuple[float, ...] = PAPER_C
    max_iter: int = 1000
    name: str = "linear"
    parameter: str = "C"

    def __post_init__(self) -> None:
        if not self.values or min(self.values) <= 0:
            raise FitError(f"C must be positive, got {list(self.values)}.")

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
        for value, head in self.path(features, labels, n_origins, self.grid(len(features))):
            yield value, [head.predict_proba(query) for query in queries]

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> LinearHead:
        """The probe for one C.

        Raises
        ------
        FitError
            An origin has no image, a feature is not finite, or the solver did not converge.
        """
        ((_, head),) = self.path(features, labels, n_origins, (value,))
        return head

    def restore(
        self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float
    ) -> LinearHead:
        """The probe of these weights."""
        return LinearHead(tensors["weights"], tensors["bias"])

    def path(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        values: Sequence[float],
    ) -> Iterator[tuple[float, LinearHead]]:
        """Each value of C, ascending, with its probe; see :meth:`fit` for errors."""
        check_training(features, labels, n_origins)
        # ½‖w₁ − w₀‖² of a pair is twice ½‖W‖² where W = (−w/2, w/2), which is where the optimum is.
        halved = 0.5 if n_origins == 2 else 1.0
        solutions = solve_path(
            design(features),
            labels,
            n_origins,
            [value * halved for value in values],
            max_iter=self.max_iter,
        )
        for value, found in zip(values, solutions, strict=False):
            if found is None:
                raise FitError(
                    f"the linear probe did not converge at C = {value:g} within {self.max_iter} "
                    "steps. Raise --max-iter or lower --c-max."
                )
            yield value, LinearHead(*found)
