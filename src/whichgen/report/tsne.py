"""Compute two-dimensional t-SNE coordinates of the test images' embeddings.

The embeddings (:attr:`whichgen.heads.head.HeadOutput.embedding`) are first reduced to at most 50
principal components, which suppresses noise and speeds up t-SNE (van der Maaten and Hinton,
*Visualizing Data using t-SNE*, 2008, use 30 components).
"""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from whichgen.io.result_files import Row
from whichgen.training.finalize_model import EvaluatedModel

#: Maximum number of points, which limits the computation time.
MAX_POINTS = 2000
#: Minimum number of points; with fewer, there are no coordinates.
MIN_POINTS = 5


def compute_tsne_rows(result: EvaluatedModel) -> list[Row]:
    """Compute the t-SNE coordinates of the known and unknown test images of a model.

    If there are more than :data:`MAX_POINTS` images, a random sample of :data:`MAX_POINTS` images,
    drawn with a fixed seed, is used.

    Parameters
    ----------
    result
        The model, with the features of its test images.

    Returns
    -------
    list of dict
        One row per image: ``path``, true ``origin``, and coordinates ``x`` and ``y``, which have no
        unit; only distances between nearby points are meaningful. Empty if there are fewer than
        :data:`MIN_POINTS` images.

    Raises
    ------
    StoreError
        The features can't be read.
    """
    model = result.model
    known, unknown = result.features.select_test_tables(result.protocol)
    images = known + unknown
    if len(images) < MIN_POINTS:
        return []
    size = min(len(images), MAX_POINTS)
    selected_rows = np.sort(np.random.default_rng(0).choice(len(images), size, replace=False))
    images = images.take(selected_rows)
    x = model.head.forward(images.read_blocks(model.blocks)).embedding
    # Use one thread: on busy cores, waiting OpenMP threads make t-SNE four times slower.
    with threadpool_limits(1):
        components = PCA(min(50, *x.shape), random_state=0).fit_transform(x)
        tsne = TSNE(perplexity=min(30.0, (len(x) - 1) / 3), init="pca", random_state=0)
        points = tsne.fit_transform(components)
    return [
        {"path": str(sample.path), "origin": sample.origin, "x": x, "y": y}
        for sample, (x, y) in zip(images.samples, points.tolist(), strict=True)
    ]
