"""Cluster images of unknown origin into putative generators.

Images from one generator differ in content, and encoder features mostly describe content. The
features of each block are therefore standardized and then whitened by the regularized within-class
scatter of the known origins (:func:`whichgen.heads.fusion.fit_whitening`), which brings images of
one origin close together regardless of content. The whitened features of all blocks are
concatenated and scaled to unit length, and their principal components are clustered. If the model
uses residual statistics (the encoder ``traces``), only these are used, because they hardly depend
on content.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA

from whichgen.defaults import MIN_GROUP_SIZE
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.encoder_names import TRACES
from whichgen.errors import FitError
from whichgen.evaluation.clustering import NOISE
from whichgen.heads.fusion import fit_whitening, split_views
from whichgen.heads.knn import normalize_rows
from whichgen.models.origin_model import OriginModel
from whichgen.option_names import name_option

#: Shrinkage λ of the whitening, and the maximum number of principal components to cluster.
SHRINKAGE = 0.1
COMPONENTS = 16

#: Standardized features are clipped to this absolute value, so that outliers do not dominate.
_CLIP = 10.0


@dataclass(frozen=True)
class Group:
    """Group (cluster) of images that may come from one generator.

    Parameters
    ----------
    name
        ``unknown-1`` for the largest group, ``unknown-2`` for the second largest, ….
    members
        Indices of the group's images, sorted by increasing distance of their points
        (:func:`embed_images`) from the mean of the group's points.
    nearest_origin, share
        Most frequently predicted known origin (highest logit) of the group's images, and the
        fraction of the group's images with this prediction, in [0, 1].
    cohesion
        Cosine similarity between a point and the mean of the group's points, averaged over the
        group, in [0, 1]. All points are scaled to unit length first.
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
    min_size: int = MIN_GROUP_SIZE,
    seed: int = 0,
) -> tuple[list[Group], np.ndarray]:
    """Cluster images of unknown origin into putative generators (see the module docstring).

    Parameters
    ----------
    model
        The fitted model; its training exemplars are used for whitening.
    encoder
        The encoder whose features the model was fitted on.
    features
        The head's input for each image: float array (n, d).
    k
        Number of groups for k-means. ``None`` or 0 selects HDBSCAN (Campello, Moulavi & Sander,
        2013), which determines the number of groups and leaves outliers without a group.
    min_size
        Minimum group size for HDBSCAN, at least 2; ignored by k-means.
    seed
        Seed for k-means.

    Returns
    -------
    groups
        The groups, largest first.
    group_of_image
        Index of each image's group in ``groups``, or :data:`~whichgen.evaluation.clustering.NOISE`
        for an outlier: int64 array (n,).

    Raises
    ------
    FitError
        There are fewer than two images, fewer than ``k`` (k-means) or fewer than ``min_size``
        (HDBSCAN), or the number of features does not match the model.
    ValueError
        ``k`` is negative, ``min_size`` is less than 2 (HDBSCAN), or a feature is not finite.
    """
    min_images = max(k or min_size, 2)
    option = name_option(f"--min-size {min_size}", f"min_size = {min_size}")
    if k:
        option = name_option(f"--n-clusters {k}", f"k = {k}")
    if len(features) < min_images:
        advice = name_option(
            "Add more images; without --all, only images classified as `unknown` are grouped.",
            "Add more images.",
        )
        raise FitError(
            f"too few images for {option}: {len(features)} instead of at least {min_images}. "
            f"{advice}"
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
    """Compute the points that :func:`discover` clusters.

    Parameters
    ----------
    model
        The fitted model; its training exemplars are used for whitening.
    encoder
        The encoder whose features the model was fitted on.
    features
        The head's input for each image: float array (n, d).

    Returns
    -------
    numpy.ndarray
        Principal components of the whitened features, which are first scaled to unit length:
        float64 array (n, c), where c is the minimum of :data:`COMPONENTS`, n and the number of
        whitened features.

    Raises
    ------
    FitError
        The number of features does not match the model.
    ValueError
        There are no images, or a feature is not finite.
    """
    exemplars, labels = model.exemplars.select(held_out=False)
    widths = [encoder.block_dims[block] for block in model.blocks]
    traces = _find_trace_blocks(encoder)
    pairs = list(zip(split_views(exemplars, widths), split_views(features, widths), strict=True))
    trace_pairs = [pair for block, pair in zip(model.blocks, pairs, strict=True) if block in traces]
    views = []
    for pair in trace_pairs or pairs:
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


def _find_trace_blocks(encoder: Encoder) -> set[int]:
    """Return the indices of the encoder's blocks with residual statistics (``traces``)."""
    names = [str(m["name"]) for m in encoder.preprocessing.get("members", ())] or [encoder.name]
    return {
        block
        for name, groups in zip(names, encoder.block_groups, strict=True)
        if name == TRACES
        for group in groups
        for block in group
    }
