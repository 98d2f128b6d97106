"""Compare whichgen's solver with scikit-learn's on every fourth of the paper's values of C."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from whichgen.heads.linear import PAPER_C, LinearMethod
from whichgen.io.result_files import Row

#: Weights (origins, d) and biases (origins,).
Solution = tuple[np.ndarray, np.ndarray]

#: Values of C. With all 45 values, scikit-learn's solvers would take too long.
VALUES = PAPER_C[::4]


def compute_objective(solution: Solution, x: np.ndarray, y: np.ndarray, c: float) -> float:
    """Compute ½‖W‖² + C Σ cross-entropy."""
    weights, bias = solution
    logits = x @ weights.T + bias
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return float(0.5 * np.square(weights).sum() + c * loss.sum())


def fit_whichgen(x: np.ndarray, y: np.ndarray, values: Sequence[float]) -> list[Solution]:
    """Fit one probe per value of C with :mod:`whichgen.heads.solver`."""
    path = LinearMethod().fit_path(x, y, int(y.max()) + 1, values)
    return [(head.weights, head.bias) for _, head in path if head]


def make_scikit_learn(
    solver: str, *, tol: float, max_iter: int, warm: bool
) -> Callable[[np.ndarray, np.ndarray, Sequence[float]], list[Solution]]:
    """Return a function that fits one probe per value of C, with warm starts if ``warm``."""

    def fit(x: np.ndarray, y: np.ndarray, values: Sequence[float]) -> list[Solution]:
        model = LogisticRegression(solver=solver, tol=tol, max_iter=max_iter, warm_start=warm)
        solutions = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for model.C in values:
                model.fit(x, y)
                solutions.append((model.coef_.copy(), model.intercept_.copy()))
        return solutions

    return fit


#: Function that fits the probes, by name of the solver.
SOLVERS = {
    "whichgen": fit_whichgen,
    "scikit-learn lbfgs, tol 1e-12, at most 1000 steps (reference implementation)": (
        make_scikit_learn("lbfgs", tol=1e-12, max_iter=1000, warm=False)
    ),
    "scikit-learn lbfgs, warm starts, tol 1e-8, until convergence": make_scikit_learn(
        "lbfgs", tol=1e-8, max_iter=100_000, warm=True
    ),
    "scikit-learn newton-cholesky, warm starts, tol 1e-8": make_scikit_learn(
        "newton-cholesky", tol=1e-8, max_iter=100, warm=True
    ),
}


def draw_features(n: int, d: int, origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw features (n, d) that resemble those of a ViT block, and the labels (n,).

    The standard deviations along the principal axes follow a power law, and the means are not 0.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % origins
    std = np.arange(1, d + 1) ** -0.7
    z = rng.normal(0, 0.6, (origins, d))[y] * std + rng.normal(0, 1, (n, d)) * std
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (4 * z @ rotation + rng.normal(0, 0.5, d)).astype(np.float32), y


def measure() -> list[Row]:
    """Return the rows of a small problem and of a large one.

    newton-cholesky is not measured on the large problem, because it would take too long.
    """
    fast_solvers = [name for name in SOLVERS if "newton-cholesky" not in name]
    return [*compare(240, 112, SOLVERS), *compare(2000, 256, fast_solvers)]


def compare(n: int, d: int, solvers: Iterable[str], origins: int = 9) -> list[Row]:
    """Return one row per solver: time, ratio to whichgen's time, and excess of the objective.

    The excess is relative to the lowest objective of all solvers; the largest excess over values of
    C is reported.
    """
    name = f"random: {n} × {d}, {origins} origins"
    x, y = draw_features(n, d, origins)
    x = np.asarray(x, dtype=np.float64)
    times, objectives = {}, {}
    for solver in solvers:
        start = time.perf_counter()
        solutions = SOLVERS[solver](x, y, VALUES)
        times[solver] = time.perf_counter() - start
        print(f"{name}, {solver}: {times[solver]:.1f} s", flush=True)
        objectives[solver] = np.array(
            [compute_objective(s, x, y, c) for s, c in zip(solutions, VALUES, strict=True)]
        )
    best = np.min(list(objectives.values()), axis=0)
    return [
        {
            "features": name,
            "solver": solver,
            "seconds": f"{times[solver]:.1f}",
            "relative to whichgen": f"{times[solver] / times['whichgen']:.1f}",
            "excess of the objective": f"{np.max(objectives[solver] / best - 1):.0e}",
        }
        for solver in times
    ]
