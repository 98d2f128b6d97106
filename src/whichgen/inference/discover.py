"""Group images of unknown origin into putative generators.

Images from one generator differ in content, and encoder features mostly describe content.
Therefore features are first mapped to the metric of :mod:`whichgen.heads.fusion`, in which images
of one known origin lie close together regardless of content. They are normalized to unit length,
and their principal components are clustered. If the model reads residual statistics (``traces``),
only these are used because they hardly depend on content.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA

from whichgen.encoders.base import Encoder
from whichgen.encoders.names import TRACES
from whichgen.errors import FitError
from whichgen.evaluation.clustering import NOISE
from whichgen.heads.fusion import fit_whitening, split_views
from whichgen.heads.knn import normalize_rows
from whichgen.models.origin_model import OriginModel

#: λ of the metric, and the number of principal components that are clustered.
SHRINKAGE = 0.1
COMPONENTS = 16

# Standardized features are clipped to this absolute value.
_CLIP = 10.0


@dataclass(frozen=True)
class Group:
    """A putative generator.

    Parameters
    ----------
    name
        ``unknown-1`` for the largest group, and so on.
    members
        The indices of its images, the most typical (nearest to the mean) first.
    nearest_origin, share
        The known origin to which most members are nearest, and the share of these, in [0, 1].
    cohesion
        Mean cosine of the members with their mean, in [-1, 1].
    """

    name: str
    members: tuple[int, ...]
    nearest_origin: str
    share: float
    cohesion: float


def discover(
    model: OriginModel,
    encoder: Encoder,
    features: np.ndarray,
    *,
    k: int | None = None,
    min_size: int = 5,
    seed: int = 0,
) -> tuple[list[Group], np.ndarray]:
    """Group images.

    Parameters
    ----------
    features
        The head's input for each image: float array (n, d).
    k
        The number of groups (k-means); ``None``: HDBSCAN (Campello, Moulavi & Sander, 2013)
        determines the number of groups, and which images belong to none.
    min_size
        The smallest group of HDBSCAN, at least 2.

    Returns
    -------
    groups
        The largest first.
    group_of_image
        The index of each image's group, or :data:`~whichgen.evaluation.clustering.NOISE`: int64
        array (n,).

    Raises
    ------
    FitError
        There are fewer images than groups or than ``min_size``.
    """
    option, minimum = ("--n-clusters", k) if k else ("--min-size", min_size)
    if len(features) < max(minimum, 2):
        raise FitError(
            f"{len(features)} images can't be grouped with {option} {minimum}. Give more images, "
            "or add --all to include images of known origins."
        )
    points = embed_images(model, encoder, features)
    method = (
        KMeans(k, n_init=10, random_state=seed)
        if k
        else HDBSCAN(min_cluster_size=min_size, copy=True)
    )
    clusters = method.fit_predict(points)
    order = [c for c, _ in Counter(clusters[clusters >= 0].tolist()).most_common()]
    group_of_image = np.array([order.index(c) if c >= 0 else NOISE for c in clusters], np.int64)
    nearest = model.head.forward(features).logits.argmax(axis=1)
    groups = []
    for i in range(len(order)):
        rows = np.flatnonzero(group_of_image == i)
        members = points[rows]
        distances = np.linalg.norm(members - members.mean(axis=0), axis=1)
        lengths = np.linalg.norm(members, axis=1, keepdims=True)
        center = (members / np.where(lengths > 0, lengths, 1)).mean(axis=0)
        counts = np.bincount(nearest[rows], minlength=len(model.origins))
        groups.append(
            Group(
                name=f"unknown-{i + 1}",
                members=tuple(rows[np.argsort(distances, kind="stable")].tolist()),
                nearest_origin=model.origins[int(counts.argmax())],
                share=float(counts.max() / counts.sum()),
                # The mean cosine of unit vectors with their mean is the length of that mean.
                cohesion=float(np.linalg.norm(center)),
            )
        )
    return groups, group_of_image


def embed_images(model: OriginModel, encoder: Encoder, features: np.ndarray) -> np.ndarray:
    """Return the points to cluster: float64 array (n, at most :data:`COMPONENTS`)."""
    known, labels = model.exemplars.select(held_out=False)
    widths = [encoder.block_dims[block] for block in model.blocks]
    traces = _trace_blocks(encoder)
    pairs = list(zip(split_views(known, widths), split_views(features, widths), strict=True))
    selected = [pair for block, pair in zip(model.blocks, pairs, strict=True) if block in traces]
    views = []
    for pair in selected or pairs:
        x = pair[0]
        root = np.sqrt(x.shape[1])
        mean, std = x.mean(axis=0), x.std(axis=0)
        scale = np.where(std > 0, std, 1) * root
        x, queries = (np.clip((a - mean) / scale, -_CLIP / root, _CLIP / root) for a in pair)
        views.append(fit_whitening(x, labels, len(model.origins), SHRINKAGE)(queries))
    points = normalize_rows(np.hstack(views))
    n_components = min(COMPONENTS, *points.shape)
    pca = PCA(n_components, svd_solver="full")
    return np.asarray(pca.fit_transform(points.astype(np.float64)))


def _trace_blocks(encoder: Encoder) -> set[int]:
    """Return the blocks of the encoder that hold residual statistics."""
    names = [str(m["name"]) for m in encoder.preprocessing.get("members", ())] or [encoder.name]
    return {
        block
        for name, votes in zip(names, encoder.block_groups, strict=True)
        if name == TRACES
        for vote in votes
        for block in vote
    }
