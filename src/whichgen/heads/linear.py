"""Linear probe: L2-regularized multinomial logistic regression.

For features x and origins y, the weights W and biases b minimize (Bishop, 2006, section 4.3.4;
scikit-learn's parametrization)::

    ½‖W‖² + C · Σᵢ [ log Σⱼ exp(wⱼ·xᵢ + bⱼ) − (w_yᵢ·xᵢ + b_yᵢ) ]

C > 0 is the inverse strength of the penalty. As in the paper (UniversalAttribution), features are
converted to float64 and not standardized. For two origins, as in scikit-learn, the penalty is
½‖w₁ − w₀‖². The values of C are processed in ascending order with warm starts
(:mod:`whichgen.heads.solver`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.defaults import C_SWEEP, MAX_ITER
from whichgen.errors import ConvergenceError, FitError
from whichgen.heads.class_balance import count_repeats
from whichgen.heads.design_matrix import build_design_matrix, read_chunks
from whichgen.heads.head import HeadOutput, check_training_features
from whichgen.heads.solver import solve_path
from whichgen.option_names import name_option

#: The paper's 45 values of C, log-spaced.
PAPER_C = tuple(float(c) for c in np.logspace(*C_SWEEP))


@dataclass(frozen=True)
class LinearHead:
    """Linear probe with float64 arrays ``weights`` (origins, d) and ``bias`` (origins,)."""

    weights: np.ndarray
    bias: np.ndarray

    def forward(self, features: np.ndarray) -> HeadOutput:
        """Compute the logits ``W x + b`` of n images x, and their softmax.

        ``features`` is a float array (n, d), which is also the embedding.
        """
        logits = np.empty((len(features), len(self.bias)))
        for rows, x in read_chunks(features):  # a float64 copy of a million rows takes gigabytes
            logits[rows] = x @ self.weights.T + self.bias
        return HeadOutput.from_logits(logits, features)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays ``weights`` and ``bias`` by name."""
        return {"weights": self.weights, "bias": self.bias}


@dataclass(frozen=True)
class LinearMethod:
    """Method that fits linear probes for one or several values of C.

    Parameters
    ----------
    values
        Values of C, positive and finite; by default the paper's 45.
    max_iter
        Maximum number of Newton steps for each C.
    balanced
        Whether images of small classes count several times, so that all classes have the same
        weight (:mod:`whichgen.heads.class_balance`).

    Raises
    ------
    FitError
        ``values`` is empty or contains a value that is not positive and finite.
    """

    values: tuple[float, ...] = PAPER_C
    max_iter: int = MAX_ITER
    balanced: bool = False
    name: str = "linear"
    parameter: str = "C"

    def __post_init__(self) -> None:
        _check_values(self.values)

    def list_candidate_values(self, n_train: int) -> tuple[float, ...]:
        """Return all values of C, ascending; ``n_train`` is not used."""
        return tuple(sorted(self.values))

    def sweep(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_origins: int,
        queries: Sequence[np.ndarray],
    ) -> Iterator[tuple[float, list[np.ndarray]]]:
        """Fit a probe for each value of C, and classify the images of each query set.

        See :meth:`whichgen.heads.head.SweepMethod.sweep` for the parameters and the results.

        Raises
        ------
        FitError
            The training data is invalid (:func:`whichgen.heads.head.check_training_features`).
        """
        values = self.list_candidate_values(len(features))
        for value, head in self.fit_path(features, labels, n_origins, values):
            if head is not None:
                yield value, [head.forward(query).probabilities for query in queries]

    def fit(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, value: float
    ) -> LinearHead:
        """Fit the probe with C = ``value``.

        See :meth:`whichgen.heads.head.HeadMethod.fit` for the parameters.

        Raises
        ------
        FitError
            The value or the training data is invalid (:meth:`fit_path`).
        ConvergenceError
            The solver did not converge.
        """
        ((_, head),) = self.fit_path(features, labels, n_origins, (value,))
        if head is None:
            raise ConvergenceError(
                f"the linear probe did not converge at C = {value:g} within {self.max_iter} steps. "
                f"{advise_on_convergence()}"
            )
        return head

    def restore(
        self, tensors: Mapping[str, np.ndarray], n_origins: int, value: float
    ) -> LinearHead:
        """Rebuild a probe from the arrays that :meth:`LinearHead.tensors` returns.

        The arrays are not validated; ``n_origins`` and ``value`` are not used.

        Raises
        ------
        KeyError
            ``weights`` or ``bias`` is missing.
        """
        return LinearHead(tensors["weights"], tensors["bias"])

    def fit_path(
        self, features: np.ndarray, labels: np.ndarray, n_origins: int, values: Sequence[float]
    ) -> Iterator[tuple[float, LinearHead | None]]:
        """Fit a probe for each value of C, and yield pairs (C, probe).

        The probe is ``None`` if the solver did not converge.

        Parameters
        ----------
        features, labels, n_origins
            See :meth:`whichgen.heads.head.HeadMethod.fit`.
        values
            Values of C, ascending.

        Raises
        ------
        FitError
            A value is not positive and finite, or the training data is invalid
            (:func:`whichgen.heads.head.check_training_features`).
        """
        _check_values(values)
        check_training_features(features, labels, n_origins)
        # For two origins, the optimum has W = (−w/2, w/2), so ½‖w₁ − w₀‖² = ‖W‖², twice ½‖W‖².
        scale = 0.5 if n_origins == 2 else 1.0
        repeats = count_repeats(labels, n_origins) if self.balanced else None
        design, scaled = build_design_matrix(features, repeats), [value * scale for value in values]
        solutions = solve_path(design, labels, n_origins, scaled, max_iter=self.max_iter)
        for value, solution in zip(values, solutions, strict=True):
            yield value, solution and LinearHead(*solution)


def advise_on_convergence() -> str:
    """Return advice for a message that a linear probe did not converge."""
    return name_option(
        "Use a smaller --C or, with `whichgen linear`, a smaller --c-max or a larger --max-iter.",
        "Use smaller values of C or, with LinearMethod, a larger max_iter.",
    )


def _check_values(values: Sequence[float]) -> None:
    """Raise :class:`FitError` if there are no values of C, or a value is invalid."""
    if len(values) == 0 or not all(0 < value < np.inf for value in values):
        raise FitError(
            "at least one value of C is needed, and all values must be positive and finite; got "
            f"{list(values)}. Correct {name_option('--C', '`values`')}."
        )
