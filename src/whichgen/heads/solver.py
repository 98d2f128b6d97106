r"""Solver for multinomial logistic regression with a range of values of C.

Problem
-------
For n images with features uᵢ, labels yᵢ and sample weights ωᵢ, minimize for each C in ascending
order::

    f(W, b) = ½‖W‖² + C Σᵢ ωᵢ [ log Σⱼ exp(wⱼ·uᵢ + bⱼ) − (w_yᵢ·uᵢ + b_yᵢ) ]

The penalty is invariant under rotation, and the optimal weights lie in the span of the centered
features. The features uᵢ are therefore the d original features, centered and projected on their
r ≤ min(n, d) principal axes. Row i of the design matrix z is uᵢ followed by a 1 for the bias, and
zᵀ diag(ω) z = diag(s²) (:mod:`whichgen.heads.design_matrix`).

Method
------
*Newton-CG.* Each step Δ solves H Δ = −∇f by conjugate gradients (CG), which need only products with
the Hessian H. Let P be the probabilities (origins, n) at the current weights, Δ_W the step with its
bias column set to 0, and ∘ the elementwise product::

    H[Δ] = Δ_W + C [P ∘ (Δzᵀ) − P ∘ 1 1ᵀ(P ∘ (Δzᵀ))] diag(ω) z

CG stops early far from the optimum (truncated Newton: Dembo & Steihaug, 1983). A step is halved
until f decreases sufficiently (Armijo).

*Preconditioner.* The covariance matrix diag(pᵢ) − pᵢpᵢᵀ of each image, where pᵢ is column i of P,
is replaced with the weighted mean of these matrices over images, M = Q diag(μ) Qᵀ. This
approximation of the Hessian is diagonal in the axes Q of the origins and the columns of z. Its
elements, of which those of the bias have no penalty term 1, are::

    1 + C μ_k s_j²

The preconditioner compensates for the different scales of the principal axes of raw features, which
can differ by factors of thousands. In the rare case that the solver has not converged after
:data:`_MAX_CG_NEWTON_STEPS` Newton steps, the remaining steps use the full Hessian matrix.

*Warm starts.* The solution is a smooth function of log C. The solver starts from the last solution
or, if f is lower there, from the linear extrapolation of the last two solutions, which assumes
equal steps of log C. For the first C, it starts from zero weights and the logarithms of the class
frequencies as biases.

*Stopping criterion.* Separate Newton steps keep b at its optimum for W (∇_b f = 0). Then f is
strongly convex in W with modulus 1, so for its minimum f* (Nesterov, 2004, theorem 2.1.10)::

    f − f* ≤ ½‖∇_W f‖²

The solver has converged when this bound is at most 1e-11 · f or, if rounding prevents any further
decrease, at most :data:`TOLERANCE` · f. Otherwise no solution is returned.

``benchmarks/RESULTS.md`` compares this solver with scikit-learn's lbfgs and newton-cholesky.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.heads.design_matrix import DesignMatrix
from whichgen.heads.softmax import softmax

#: Upper bound on (f − f*) / f for a solution.
TOLERANCE = 1e-7

# Upper bound on (f − f*) / f at or below which the solver stops.
_TARGET = 1e-11

# Relative accuracy of the Newton direction far from the optimum.
_COARSE_ACCURACY = 0.1

# Relative decrease of f that is lost to rounding.
_ROUNDING = 1e-15

# Maximum number of CG iterations per Newton step.
_MAX_CG_ITERATIONS = 1000

# Maximum number of Newton steps by CG for each C. If C is large and the images are not separable, a
# few uncertain images dominate the curvature, and the preconditioner approximates it badly.
_MAX_CG_NEWTON_STEPS = 25

# Maximum number of halvings of a step, and of Newton steps for the bias.
_MAX_HALVINGS = _MAX_BIAS_STEPS = 40


def solve_path(
    design: DesignMatrix,
    labels: np.ndarray,
    n_origins: int,
    values: Sequence[float],
    *,
    max_iter: int,
) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
    """Minimize the objective f for each C, and yield the solutions.

    Parameters
    ----------
    design
        Design matrix of n images with d features.
    labels
        Origin index of each image: integer array (n,). Every origin needs at least one image.
    n_origins
        Number of origins.
    values
        Values of C, ascending.
    max_iter
        Maximum number of Newton steps for each C.

    Yields
    ------
    weights, bias
        Weights of the original features, float64 array (origins, d), and biases, float64 array
        (origins,). ``None`` for a value of C for which the solver does not converge.
    """
    totals = np.bincount(labels, design.sample_weights, minlength=n_origins)
    frequencies = totals / totals.sum()
    weights = np.hstack([np.zeros((n_origins, len(design.axes))), np.log(frequencies)[:, None]])
    point = _Point(weights, design.compute_logits(weights))
    previous: _Point | None = None
    for c in values:
        problem, start = _Problem(design, labels, c), point
        if previous is not None:
            extrapolation = _Point(
                2 * point.weights - previous.weights, 2 * point.logits - previous.logits
            )
            start = min(point, extrapolation, key=problem.compute_objective)
        solution = _minimize(problem, start, max_iter)
        if solution is None:
            yield None
            continue
        previous, point = point, solution
        weights = point.weights[:, :-1] @ design.axes
        yield weights, point.weights[:, -1] - weights @ design.center


@dataclass(frozen=True)
class _Point:
    """Weights (origins, r + 1), whose last column is the bias, and their logits (origins, n)."""

    weights: np.ndarray
    logits: np.ndarray


class _Problem:
    """Objective f for one C, its gradient, and products with its Hessian."""

    def __init__(self, design: DesignMatrix, labels: np.ndarray, c: float) -> None:
        self.design, self.c = design, c
        self.labels, self.index = labels, np.arange(len(labels))
        self.sample_weights = design.sample_weights
        self.penalty = np.append(np.ones(len(design.axes)), 0)  # the bias is not penalized

    def compute_objective(self, point: _Point) -> float:
        # Avoid cancellation: on separable data, even a loss of 1e-9 must be exact.
        margins = point.logits - point.logits[self.labels, self.index]
        first = margins.argmax(axis=0)
        top = margins[first, self.index]
        others = np.exp(margins - top)
        others[first, self.index] = 0
        loss = top + np.log1p(others.sum(axis=0))
        return float(
            0.5 * np.square(point.weights[:, :-1]).sum() + self.c * (loss @ self.sample_weights)
        )

    def compute_gradient(self, point: _Point, p: np.ndarray) -> np.ndarray:
        sums = self.design.compute_weighted_sum(self.weight_residuals(p))
        return np.asarray(self.penalty * point.weights + self.c * sums)

    def weight_residuals(self, p: np.ndarray) -> np.ndarray:
        """Subtract the one-hot labels from probabilities (origins, n), and multiply by ω."""
        residuals = np.asarray(p * self.sample_weights)
        residuals[self.labels, self.index] -= self.sample_weights
        return residuals

    def multiply_hessian(
        self, step: np.ndarray, p: np.ndarray, weighted_p: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute H[step], and return it with the logits of the step.

        ``step``, (origins, r + 1), is a change of the weights, ``p``, (origins, n), are the
        probabilities at the current weights, and ``weighted_p`` is ``p`` times ω.
        """

        def multiply(rows: slice, logits: np.ndarray) -> np.ndarray:
            product = weighted_p[:, rows] * logits
            product -= p[:, rows] * product.sum(axis=0)
            return np.asarray(product)

        sums, logits = self.design.transform_and_sum(step, multiply)
        return self.penalty * step + self.c * sums, logits

    def optimize_bias(self, point: _Point) -> tuple[_Point, np.ndarray]:
        """Optimize only the bias by Newton steps; return the new point and its probabilities."""
        for _ in range(_MAX_BIAS_STEPS):
            p = softmax(point.logits, axis=0)
            gradient = self.weight_residuals(p).sum(axis=1)
            if np.abs(gradient).max() <= 1e-12 * self.sample_weights.sum():
                break
            shift = -np.linalg.solve(_sum_covariances(p, self.sample_weights), gradient)
            shift *= min(1.0, 1.0 / np.abs(shift).max())  # stay where f is nearly quadratic
            point = _Point(point.weights.copy(), point.logits + shift[:, None])
            point.weights[:, -1] += shift
        return point, p


def _minimize(problem: _Problem, point: _Point, max_iter: int) -> _Point | None:
    """Minimize f, starting from ``point``; return ``None`` if the solver does not converge."""
    for iteration in range(max_iter):
        point, p = problem.optimize_bias(point)
        f = problem.compute_objective(point)
        gradient = problem.compute_gradient(point, p)
        bound = 0.5 * np.square(gradient[:, :-1]).sum() / f
        if bound <= _TARGET:
            return point
        if iteration < _MAX_CG_NEWTON_STEPS:
            step = _solve_by_cg(problem, gradient, p, f)
        else:
            step = _solve_exactly(problem, gradient, p)
        slope, size = float((gradient * step.weights).sum()), 1.0
        if bound <= TOLERANCE and -slope <= _ROUNDING * f:
            return point
        for _ in range(_MAX_HALVINGS):
            candidate = _Point(
                point.weights + size * step.weights, point.logits + size * step.logits
            )
            if problem.compute_objective(candidate) <= f + 1e-4 * size * slope:
                break
            size /= 2
        else:
            return point if bound <= TOLERANCE else None
        point = candidate
    return None


def _solve_by_cg(problem: _Problem, gradient: np.ndarray, p: np.ndarray, f: float) -> _Point:
    """Solve H Δ ≈ −∇f by preconditioned conjugate gradients; return Δ and its logits."""
    omega = problem.sample_weights
    weighted_p = p * omega
    mu, q = np.linalg.eigh(_sum_covariances(p, omega) / omega.sum())
    diagonal = problem.penalty + problem.c * mu[:, None] * problem.design.column_squares

    def precondition(residual: np.ndarray) -> np.ndarray:
        return np.asarray(q @ ((q.T @ residual) / diagonal))

    step, step_logits = np.zeros_like(gradient), np.zeros_like(p)
    residual = -gradient
    direction = precondition(residual)
    norm = float((residual * direction).sum())
    decrease = 0.0  # decrease of the quadratic model of f
    for _ in range(_MAX_CG_ITERATIONS):
        product, direction_logits = problem.multiply_hessian(direction, p, weighted_p)
        curvature = float((direction * product).sum())
        if curvature <= 0:  # a rounding error, which prevents further progress
            break
        size = norm / curvature
        step += size * direction
        step_logits += size * direction_logits
        residual -= size * product
        decrease += 0.5 * size * norm
        converged = 0.5 * np.square(residual[:, :-1]).sum() <= 0.1 * _TARGET * f
        preconditioned = precondition(residual)
        previous_norm, norm = norm, float((residual * preconditioned).sum())
        if converged or norm <= 2 * decrease * min(_COARSE_ACCURACY, np.sqrt(decrease / f)):
            break
        direction = preconditioned + norm / previous_norm * direction
    return _Point(step, step_logits)


def _solve_exactly(problem: _Problem, gradient: np.ndarray, p: np.ndarray) -> _Point:
    """Solve H Δ = −∇f with the full matrix H; return Δ and its logits."""
    k, r = gradient.shape
    hessian = np.empty((k, r, k, r))
    for i in range(k):
        for j in range(i, k):
            coefficients = problem.c * problem.sample_weights * p[i] * ((i == j) - p[j])
            block = problem.design.compute_weighted_gram(coefficients)
            hessian[i, :, j] = hessian[j, :, i] = block
        hessian[i, :, i] += np.diag(problem.penalty)
    # The Hessian is singular because equal shifts of all biases do not change f. Gradients are
    # orthogonal to such shifts, so any positive curvature can be added in this direction.
    hessian[:, -1, :, -1] += problem.c
    flat = hessian.reshape(k * r, k * r)
    # Rounding can make the matrix of a separable problem slightly indefinite.
    flat[np.diag_indices(k * r)] *= 1 + 1e-12
    step = np.linalg.solve(flat, -gradient.ravel()).reshape(k, r)
    return _Point(step, problem.design.compute_logits(step))


def _sum_covariances(p: np.ndarray, sample_weights: np.ndarray) -> np.ndarray:
    """Compute Σᵢ ωᵢ [diag(pᵢ) − pᵢpᵢᵀ], made positive definite: float64 array (origins, origins).

    ``p`` contains the probabilities pᵢ of image i as column i: (origins, n). The sum is singular in
    the direction of equal shifts of all logits, to which every gradient is orthogonal. The
    eigenvalue of this direction is set to the mean of the others.
    """
    covariance = -((p * sample_weights) @ p.T)
    covariance[np.diag_indices(len(p))] = (p * (1 - p)) @ sample_weights
    return np.asarray(covariance + max(np.trace(covariance), 1e-300) / (len(p) * (len(p) - 1)))
