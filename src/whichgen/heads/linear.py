"""Linear probe: L2-regularised multinomial logistic regression.

For features x and origins y the weights minimise (Bishop, 2006, section 4.3.4; scikit-learn's
parametrisation)::

    ½‖W‖² + C · Σᵢ [ log Σⱼ exp(wⱼ·xᵢ + bⱼ) − (w_yᵢ·xᵢ + b_yᵢ) ]

on raw features in float64, as the paper has it (no standardisation). It is scikit-learn's
``LogisticRegression``, and of two origins, as there, the penalty is on the one logit that tells
them apart: ½‖w₁ − w₀‖². All values of C are solved in ascending order, each from the last solution.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from whichgen.errors import FitError
from whichgen.heads.base import check_training

#: The paper's grid: 45 values, log-spaced.
PAPER_C = tuple(float(c) for c in np.logspace(-6, 5, 45))

# Newton's method takes a handful of steps where lbfgs takes hundreds (thousands where C is large
# and images are many), but its matrix has origins · (d + 1) rows. Measured: with some 600 images of
# EfficientNet-Lite0's blocks lbfgs wins above 1000 rows; with 4,008 images of 312 traces (1,565
# rows) six values of C take Newton 18 s and lbfgs 87 s.
_NEWTON_ROWS = 1000
_NEWTON_ROWS_OF_MANY, _MANY = 2000, 2000

#: The way by which a fit at one C gets there.
_DECADES = tuple(10.0**k for k in range(-6, 9))

# What is tried in turn, each from where the one before stopped. scikit-learn bounds the gradient of
# the mean loss + penalty / (n C), which is small all over where C is large: hence the low
# tolerances. On separable data rounding can keep Newton's method from them, and lbfgs from its own.
_NEWTON = (("newton-cholesky", 1e-12), ("lbfgs", 1e-14), ("lbfgs", 1e-9))
_LBFGS = (("lbfgs", 1e-14), ("lbfgs", 1e-9))


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

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The features as they are."""
        return features

    def tensors(self) -> dict[str, np.ndarray]:
        """``weights`` and ``bias``."""
        return {"weights": self.weights, "bias": self.bias}


@dataclass(frozen=True)
class LinearProbe:
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
        """See :meth:`whichgen.heads.base.HeadFamily.sweep`."""
        for value, head in self.path(features, labels, n_origins, self.grid(len(features))):
            yield value, [head.predict_proba(query) for query in queries]

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> LinearHead:
        """The probe for one C, reached by way of smaller ones.

        On separable data a solver that starts at a large C from nothing can fail where a sweep over
        the grid arrives.

        Raises
        ------
        FitError
            An origin has no image, a feature is not finite, or the solver did not converge.
        """
        way = [c for c in _DECADES if c < value]
        *_, (_, head) = self.path(features, labels, n_origins, (*way, value))
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
        x = np.asarray(features, dtype=np.float64)
        # Solved on centred features, where the unpenalised bias does not run against the weights;
        # the optimum is the same, with bias b − W·centre.
        centre = x.mean(axis=0)
        x = x - centre
        # With fewer images than dimensions the optimum lies in the span of the images (the penalty
        # does not change under rotation), so it is sought there: x = reduced @ basis.
        basis = None
        if len(x) < x.shape[1]:
            basis = np.linalg.qr(x.T)[0].T
            x = x @ basis.T
        # x/a with C·a² is the same problem (of weights a·W); with a the features' root mean square
        # the solver's tolerances mean the same for every encoder.
        scale = float(np.sqrt(np.mean(x**2))) or 1.0
        x = x / scale
        most = _NEWTON_ROWS_OF_MANY if len(x) >= _MANY else _NEWTON_ROWS
        newton = n_origins * (x.shape[1] + 1) <= most
        model = LogisticRegression(warm_start=True)
        for value in values:
            model.C = value * scale**2
            reason = ""
            for model.solver, model.tol in _NEWTON if newton else _LBFGS:
                # A step of lbfgs is a hundredth of the work, and of the way.
                model.max_iter = self.max_iter * (100 if model.solver == "lbfgs" else 1)
                reason = _fit_on(model, x, labels)
                if not reason:
                    break
            if reason:
                raise FitError(
                    f"the linear probe did not converge at C = {value:g} within {model.max_iter} "
                    f"steps ({reason}). Raise --max_train_iters or lower --c_max."
                )
            weights, bias = model.coef_ / scale, model.intercept_
            if n_origins == 2:
                # scikit-learn solves two classes with one logit z; softmax(−z/2, z/2) is the same.
                weights = np.vstack([-weights, weights]) / 2
                bias = np.array([-bias[0], bias[0]]) / 2
            # In C's order, as a loaded model has them: products are then equal to the bit.
            in_full = np.ascontiguousarray(weights @ basis if basis is not None else weights)
            yield value, LinearHead(in_full, bias - in_full @ centre)


def _fit_on(model: LogisticRegression, x: np.ndarray, labels: np.ndarray) -> str:
    """Fits on from where ``model`` is; returns why it does not converge, or nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(x, labels)
    reasons = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    return reasons[0].splitlines()[0] if reasons else ""
