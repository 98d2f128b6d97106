"""A path of C, every fourth of the paper's values: whichgen's solver beside scikit-learn's."""

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

Weights = tuple[np.ndarray, np.ndarray]

#: All 45 take scikit-learn's solvers too long for a run of all benchmarks.
VALUES = PAPER_C[::4]


def objective(solution: Weights, x: np.ndarray, y: np.ndarray, c: float) -> float:
    """½‖W‖² + C Σ cross-entropy."""
    weights, bias = solution
    logits = x @ weights.T + bias
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return float(0.5 * np.square(weights).sum() + c * loss.sum())


def whichgen(x: np.ndarray, y: np.ndarray, values: Sequence[float]) -> list[Weights]:
    """:mod:`whichgen.heads.solver`."""
    path = LinearMethod().fit_path(x, y, int(y.max()) + 1, values)
    return [(head.weights, head.bias) for _, head in path]


def scikit_learn(
    solver: str, *, tol: float, max_iter: int, warm: bool
) -> Callable[[np.ndarray, np.ndarray, Sequence[float]], list[Weights]]:
    """Fits one after another, each from nothing or from the one before (``warm``)."""

    def path(x: np.ndarray, y: np.ndarray, values: Sequence[float]) -> list[Weights]:
        model = LogisticRegression(solver=solver, tol=tol, max_iter=max_iter, warm_start=warm)
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            for model.C in values:
                model.fit(x, y)
                found.append((model.coef_.copy(), model.intercept_.copy()))
        return found

    return path


WAYS = {
    "whichgen": whichgen,
    "scikit-learn lbfgs, tol 1e-12, at most 1000 steps (reference implementation)": scikit_learn(
        "lbfgs", tol=1e-12, max_iter=1000, warm=False
    ),
    "scikit-learn lbfgs, warm, tol 1e-8, to the end": scikit_learn(
        "lbfgs", tol=1e-8, max_iter=100_000, warm=True
    ),
    "scikit-learn newton-cholesky, warm, tol 1e-8": scikit_learn(
        "newton-cholesky", tol=1e-8, max_iter=100, warm=True
    ),
}


def encoder_like(n: int, d: int, origins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features as a ViT's block gives them: a few long axes, a power law, means off zero."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % origins
    spread = np.arange(1, d + 1) ** -0.7
    z = rng.normal(0, 0.6, (origins, d))[y] * spread + rng.normal(0, 1, (n, d)) * spread
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (4 * z @ turn + rng.normal(0, 0.5, d)).astype(np.float32), y


def measure() -> list[Row]:
    """Return the rows of a small problem and of one that takes newton-cholesky too long."""
    quick = [way for way in WAYS if "newton-cholesky" not in way]
    return [*compare(240, 112, WAYS), *compare(2000, 256, quick)]


def compare(n: int, d: int, ways: Iterable[str], origins: int = 9) -> list[Row]:
    """Return one row per solver: time, ratio to whichgen's, and the worst objective."""
    name = f"made up: {n} × {d}, {origins} origins"
    x, y = encoder_like(n, d, origins)
    x = np.asarray(x, dtype=np.float64)
    times, values = {}, {}
    for way in ways:
        start = time.perf_counter()
        solutions = WAYS[way](x, y, VALUES)
        times[way] = time.perf_counter() - start
        print(f"{name}, {way}: {times[way]:.1f} s", flush=True)
        values[way] = np.array(
            [objective(s, x, y, c) for s, c in zip(solutions, VALUES, strict=True)]
        )
    best = np.min(list(values.values()), axis=0)
    return [
        {
            "features": name,
            "solver": way,
            "seconds": f"{times[way]:.1f}",
            "times whichgen's": f"{times[way] / times['whichgen']:.1f}",
            "worst objective over the best": f"{np.max(values[way] / best - 1):.0e}",
        }
        for way in times
    ]
