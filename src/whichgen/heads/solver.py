r"""All values of C of a multinomial logistic regression on one design matrix.

The problem of images zᵢ, a row of n, for each C of an ascending path::

    min f(W, b) = ½‖W‖² + C Σᵢ [ log Σⱼ exp(wⱼ·zᵢ + bⱼ) − (w_yᵢ·zᵢ + b_yᵢ) ]

*Axes.* The penalty does not change under rotation, and the optimum lies in the span of the images.
So z are the centered images in their r ≤ min(n, d) principal axes: zᵀz = diag(s²), found once
(:mod:`whichgen.heads.design_matrix`).

*Steps.* Newton's, H Δ = −∇f, where with P the probabilities (origins, n) at the current weights ::

    H[Δ] = Δ_W + C [P ∘ (Δz) − P ∘ 1ᵀ(P ∘ (Δz))] zᵀ

is only ever multiplied with: conjugate gradients solve for Δ, as far as pays (Dembo & Steihaug,
1983), with a preconditioner that has every image's covariance diag(pᵢ) − pᵢpᵢᵀ replaced by their
mean M = Q diag(μ) Qᵀ. It is then diagonal in the axes Q of origins and those of z::

    H ≈ 1 + C μ_k s_j²

which is what makes raw features, some of whose axes are thousands of times as long as others, as
easy as whitened ones. The rare C that is not there after two dozen steps gets the whole matrix for
the rest. A step is halved until f falls (Armijo).

*Path.* log C ascends, the solution moves smoothly: each C starts from the line through the last two
solutions, if f is lower there than at the last one.

*Certificate.* At fixed b's optimum (∇_b f = 0, by Newton steps of its own) f is strongly convex in
W with modulus 1, and so (Nesterov, 2004, theorem 2.1.10)::

    f − f* ≤ ½‖∇_W f‖²

A solution is given out when this is at most a hundred-billionth of f or, where rounding lets f fall
no further, at most :data:`TOLERANCE` · f; never for the number of steps.

Why not a library's: measured beside scikit-learn's lbfgs and newton-cholesky in
``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.heads.design_matrix import Design

#: A solution's objective is at most so much above the least one, relative to it: proven.
TOLERANCE = 1e-7

# What is aimed at.
_AIM = 1e-11

# Newton's direction to one part in ten is enough far from the optimum.
_COARSE = 0.1

# A gain that f has no digits for.
_ROUNDING = 1e-15

_CG_STEPS = 1000

# Where C is huge and the images not separable, a few images in doubt make all curvature, and the
# preconditioner is far off. Steps after so many take the whole matrix.
_ITERATIVE = 25
_HALVINGS = 40


def solve_path(
    images: Design, labels: np.ndarray, n_origins: int, values: Sequence[float], *, max_iter: int
) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
    """For each C, ascending, the weights in the features' own axes and the bias.

    Parameters
    ----------
    labels
        Class indices, int array (n,); every class has an image.
    max_iter
        Newton steps for one C.

    Yields
    ------
    (float64 array (origins, d), float64 array (origins,)), or ``None``: not converged; nothing
    comes after it.
    """
    problem = _Problem(images, labels)
    shares = np.bincount(labels, minlength=n_origins) / len(labels)
    point = problem.at(
        np.hstack([np.zeros((n_origins, len(images.axes))), np.log(shares)[:, None]])
    )
    last: _Point | None = None
    for c in values:
        start = point
        if last is not None:
            ahead = _Point(2 * point.weights - last.weights, 2 * point.logits - last.logits)
            start = min(point, ahead, key=lambda p: problem.value(p, c))
        found = _solve(problem, start, c, max_iter)
        if found is None:
            yield None
            return
        last, point = point, found
        weights = point.weights[:, :-1] @ images.axes
        yield weights, point.weights[:, -1] - weights @ images.center


@dataclass(frozen=True)
class _Point:
    """``weights`` (origins, r + 1), whose last column is the bias, and ``logits`` (origins, n)."""

    weights: np.ndarray
    logits: np.ndarray

    def moved(self, step: _Point, by: float) -> _Point:
        return _Point(self.weights + by * step.weights, self.logits + by * step.logits)


class _Problem:
    """f, its gradient and products with its Hessian."""

    def __init__(self, images: Design, labels: np.ndarray) -> None:
        self.images = images
        self.squares = images.squares
        self.labels, self.index = labels, np.arange(len(labels))
        self.penalty = np.append(np.ones(len(images.squares) - 1), 0)

    def at(self, weights: np.ndarray) -> _Point:
        return _Point(weights, self.images.logits(weights))

    def value(self, point: _Point, c: float) -> float:
        # Without cancellation: on separable data a loss of 1e-9 must keep its digits.
        margins = point.logits - point.logits[self.labels, self.index]
        first = margins.argmax(axis=0)
        top = margins[first, self.index]
        others = np.exp(margins - top)
        others[first, self.index] = 0
        loss = top + np.log1p(others.sum(axis=0))
        return float(0.5 * np.square(point.weights[:, :-1]).sum() + c * loss.sum())

    def gradient(self, point: _Point, p: np.ndarray, c: float) -> np.ndarray:
        return np.asarray(self.penalty * point.weights + c * self.images.gather(self.less_truth(p)))

    def less_truth(self, p: np.ndarray) -> np.ndarray:
        """Probabilities (origins, n) less 1 at each image's own origin."""
        off = p.copy()
        off[self.labels, self.index] -= 1
        return off

    def curved(self, step: np.ndarray, p: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
        """H[step], and the logits of the step."""

        def bend(rows: slice, logits: np.ndarray) -> np.ndarray:
            bent = p[:, rows] * logits
            bent -= p[:, rows] * bent.sum(axis=0)
            return np.asarray(bent)

        gathered, logits = self.images.through(step, bend)
        return self.penalty * step + c * gathered, logits

    def level(self, point: _Point) -> tuple[_Point, np.ndarray]:
        """The point with the bias at its optimum, and the probabilities there."""
        for _ in range(_HALVINGS):
            p = _softmax(point.logits)
            off = self.less_truth(p).sum(axis=1)
            if np.abs(off).max() <= 1e-12 * len(self.labels):
                break
            shift = -np.linalg.solve(_covariance(p), off)
            shift *= min(1.0, 1.0 / np.abs(shift).max())  # not beyond where f is nearly quadratic
            point = _Point(point.weights.copy(), point.logits + shift[:, None])
            point.weights[:, -1] += shift
        return point, p


def _solve(problem: _Problem, point: _Point, c: float, max_iter: int) -> _Point | None:
    """The optimum for one C from a point near it; ``None`` if it is not reached."""
    for number in range(max_iter):
        point, p = problem.level(point)
        f = problem.value(point, c)
        gradient = problem.gradient(point, p, c)
        above = 0.5 * np.square(gradient[:, :-1]).sum() / f
        if above <= _AIM:
            return point
        if number < _ITERATIVE:
            step = _newton_step(problem, gradient, p, c, f)
        else:
            step = _exact_step(problem, gradient, p, c)
        slope, size = float((gradient * step.weights).sum()), 1.0
        if above <= TOLERANCE and -slope <= _ROUNDING * f:
            return point
        for _ in range(_HALVINGS):
            ahead = point.moved(step, size)
            if problem.value(ahead, c) <= f + 1e-4 * size * slope:
                break
            size /= 2
        else:
            return point if above <= TOLERANCE else None
        point = ahead
    return None


def _newton_step(
    problem: _Problem, gradient: np.ndarray, p: np.ndarray, c: float, f: float
) -> _Point:
    """Δ with H Δ ≈ −∇f by preconditioned conjugate gradients."""
    mu, turn = np.linalg.eigh(_covariance(p) / p.shape[1])
    diagonal = problem.penalty + c * mu[:, None] * problem.squares

    def eased(residual: np.ndarray) -> np.ndarray:
        return np.asarray(turn @ ((turn.T @ residual) / diagonal))

    step, logits = np.zeros_like(gradient), np.zeros_like(p)
    residual = -gradient
    direction = eased(residual)
    size = float((residual * direction).sum())
    gained = 0.0
    for _ in range(_CG_STEPS):
        product, of_direction = problem.curved(direction, p, c)
        curvature = float((direction * product).sum())
        if curvature <= 0:  # rounding: as far as this goes
            break
        along = size / curvature
        step += along * direction
        logits += along * of_direction
        residual -= along * product
        gained += 0.5 * along * size
        nearly = 0.5 * np.square(residual[:, :-1]).sum() <= 0.1 * _AIM * f
        following = eased(residual)
        before, size = size, float((residual * following).sum())
        if nearly or size <= 2 * gained * min(_COARSE, np.sqrt(gained / f)):
            break
        direction = following + size / before * direction
    return _Point(step, logits)


def _covariance(p: np.ndarray) -> np.ndarray:
    """Σᵢ diag(pᵢ) − pᵢpᵢᵀ: float64 array (origins, origins), made positive definite.

    It is blind to a shift of all logits, which no gradient has. There it is given the mean of its
    other eigenvalues.
    """
    found = np.asarray(np.diag((p * (1 - p)).sum(axis=1)))
    off = ~np.eye(len(p), dtype=bool)
    found[off] = -(p @ p.T)[off]
    return np.asarray(found + max(np.trace(found), 1e-300) / (len(p) * (len(p) - 1)))


def _exact_step(problem: _Problem, gradient: np.ndarray, p: np.ndarray, c: float) -> _Point:
    """Δ with H Δ = −∇f, of the whole matrix H."""
    k, r = gradient.shape
    hessian = np.empty((k, r, k, r))
    for i in range(k):
        for j in range(i, k):
            bent = c * p[i] * ((i == j) - p[j])
            hessian[i, :, j] = hessian[j, :, i] = problem.images.outer(bent)
        hessian[i, :, i] += np.diag(problem.penalty)
    # All biases may be shifted alike; any stiffness against it will do.
    hessian[:, -1, :, -1] += c
    flat = hessian.reshape(k * r, k * r)
    # Rounding can leave a separable problem's matrix a little indefinite.
    flat[np.diag_indices(k * r)] *= 1 + 1e-12
    return problem.at(np.linalg.solve(flat, -gradient.ravel()).reshape(k, r))


def _softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(axis=0))
    return np.asarray(p / p.sum(axis=0))
