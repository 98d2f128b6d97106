"""How the reference implementation does it, written from its description: the baseline.

For every block: decode every image again, run the whole encoder again, keep one block of it; then
one scikit-learn fit for each C, none helped by another; for k-NN one search for each k, and votes
counted in Python. Fits that stop at their step limit count as they are, unconverged.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from whichgen.encoders.base import Encoder

BATCH = 32
TOLERANCE, MAX_ITER = 1e-12, 1000


def block_features(paths: Sequence[Path], encoder: Encoder, block: int) -> np.ndarray:
    """The features of one block: float32 array (n, d)."""
    found = []
    for start in range(0, len(paths), BATCH):
        images = [Image.open(path).convert("RGB") for path in paths[start : start + BATCH]]
        pixels = np.stack([encoder.preprocess(image) for image in images])
        found.append(encoder.encode(pixels)[block])
    return np.concatenate(found)


def fit_each_c(
    x: np.ndarray, y: np.ndarray, values: Sequence[float], queries: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """For each C the probabilities of the queries."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for c in values:
            model = LogisticRegression(C=c, tol=TOLERANCE, max_iter=MAX_ITER)
            model.fit(x.astype(np.float64), y)
            found.append([model.predict_proba(query) for query in queries])
    return found


def vote_each_k(
    x: np.ndarray, y: np.ndarray, values: Sequence[int], queries: Sequence[np.ndarray]
) -> list[list[np.ndarray]]:
    """For each k the similarity-weighted votes about the queries."""
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    n_origins = int(y.max()) + 1
    found = []
    for k in values:
        index = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(units)
        answers = []
        for query in queries:
            distances, rows = index.kneighbors(query)
            votes = np.zeros((len(query), n_origins))
            for i in range(len(query)):
                of_origin: dict[int, float] = defaultdict(float)
                for distance, row in zip(distances[i], rows[i], strict=True):
                    of_origin[int(y[row])] += max(0.0, 1 - float(distance))
                total = sum(of_origin.values())
                for origin, weight in of_origin.items():
                    votes[i, origin] = weight / total
            answers.append(votes)
        found.append(answers)
    return found
