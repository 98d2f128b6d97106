"""Compute two-dimensional t-SNE coordinates of the test images' embeddings.

The embeddings (:attr:`whichgen.heads.base.HeadOutput.embedding`) are first reduced to at most 50
principal components, as recommended by van der Maaten and Hinton (*Visualizing Data using t-SNE*,
2008).
"""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from whichgen.io.tables import Row
from whichgen.training.finalize import EvaluatedModel

#: Maximum number of points; t-SNE of more points takes minutes.
MAX_POINTS = 2000
#: Minimum number of points.
MIN_POINTS = 5


def tsne_rows(result: EvaluatedModel) -> list[Row]:
    """Compute the t-SNE coordinates of test images, one row (path, origin, x, y) per image.

    If there are fewer than :data:`MIN_POINTS` test images, the list is empty. If there are more
    than :data:`MAX_POINTS`, a random sample of :data:`MAX_POINTS` images is used. The coordinates
    x and y have no unit, and only distances between nearby points are meaningful.
    """
    model = result.model
    tables = [t for t in result.features.test_tables(result.protocol) if len(t)]
    samples = [sample for table in tables for sample in table.samples]
    if len(samples) < MIN_POINTS:
        return []
    embeddings = np.concatenate(
        [model.head.forward(t.blocks(model.blocks)).embedding for t in tables]
    )
    size = min(len(samples), MAX_POINTS)
    chosen = np.sort(np.random.default_rng(0).choice(len(samples), size, replace=False))
    x = embeddings[chosen]
    # One thread: OpenMP's spinning on busy cores makes t-SNE four times slower.
    with threadpool_limits(1):
        reduced = PCA(min(50, *x.shape), random_state=0).fit_transform(x)
        tsne = TSNE(perplexity=min(30.0, (len(x) - 1) / 3), init="pca", random_state=0)
        points = tsne.fit_transform(reduced)
    return [
        {"path": str(samples[i].path), "origin": samples[i].origin, "x": x, "y": y}
        for i, (x, y) in zip(chosen.tolist(), points.tolist(), strict=True)
    ]
