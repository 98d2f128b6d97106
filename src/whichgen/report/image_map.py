"""A map of the test images: t-SNE (van der Maaten & Hinton, 2008) of what the head compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from whichgen.io.tables import Row
from whichgen.training.finalize import EvaluatedModel

#: t-SNE of more images takes minutes.
_MOST_POINTS = 2000
#: Of fewer there is nothing to see.
_FEWEST_POINTS = 5


@dataclass(frozen=True)
class ImageMap:
    """Where test images lie on the map.

    Parameters
    ----------
    rows
        Which test images are on it, known ones counted first, then unknown: int64 array (m,).
        Where there are many, it is a random draw of them; where there are next to none, it is
        empty.
    points
        float32 array (m, 2). Only who is near whom means anything.
    """

    rows: np.ndarray
    points: np.ndarray


def compute_image_map(fit: EvaluatedModel, *, seed: int = 0) -> ImageMap:
    """The map of a fit's test images."""
    rng = np.random.default_rng(seed)
    tables = [t for t in (fit.known_table, fit.unknown_table) if len(t)]
    features = np.concatenate([fit.model.head.embed(t.blocks(fit.model.blocks)) for t in tables])
    rows = np.arange(len(features))
    if len(features) < _FEWEST_POINTS:
        return ImageMap(rows[:0], np.zeros((0, 2), np.float32))
    if len(features) > _MOST_POINTS:
        rows = np.sort(rng.choice(len(features), _MOST_POINTS, replace=False))
        features = features[rows]
    # One thread: on busy cores OpenMP's spinning made this four times as slow.
    with threadpool_limits(1):
        reduced = PCA(min(50, *features.shape), random_state=seed).fit_transform(features)
        perplexity = min(30.0, (len(features) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
        return ImageMap(rows, tsne.fit_transform(reduced))


def image_map_rows(fit: EvaluatedModel, embedding: ImageMap) -> list[Row]:
    """A row for each image of the map, for ``embedding.csv``: path, origin, x, y."""
    samples = (*fit.known_table.samples, *fit.unknown_table.samples)
    return [
        {"path": str(samples[i].path), "origin": samples[i].origin, "x": x, "y": y}
        for i, (x, y) in zip(embedding.rows.tolist(), embedding.points.tolist(), strict=True)
    ]
