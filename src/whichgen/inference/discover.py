"""Images of unknown origin grouped into putative generators.

Images of one generator show different things, and what an encoder sees is mostly that. So features
are put into the metric of :mod:`whichgen.heads.fusion` first, in which images of *one* known origin
lie close together whatever they show; lengths are made equal, and the principal components of the
images asked about are clustered. Where the model reads traces, these alone are used: they hardly
see content at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA

from whichgen.encoders.base import Encoder
from whichgen.encoders.names import TRACES
from whichgen.errors import FitError
from whichgen.evaluation.clustering import NOISE
from whichgen.heads.fusion import fit_whitening
from whichgen.heads.knn import normalize_rows
from whichgen.models.origin_model import OriginModel

#: λ of the metric, and how many principal components are clustered.
SHRINKAGE = 0.1
COMPONENTS = 16

#: Standardised values are cut here.
_FARTHEST = 10.0


@dataclass(frozen=True)
class Group:
    """A putative generator.

    Parameters
    ----------
    name
        ``unknown-1`` for the largest, and so on.
    members
        Numbers of its images, the most typical (nearest to the mean) first.
    nearest_origin, share
        The known origin most of them are nearest to, and how many are, in [0, 1].
    cohesion
        Mean cosine of members with their mean, in [-1, 1].
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
    """Groups images.

    Parameters
    ----------
    features
        What the model reads of each image: float array (n, d).
    k
        So many groups, by k-means; ``None``: HDBSCAN (Campello, Moulavi & Sander, 2013) tells how
        many there are, and which images are in none.
    min_size
        Images that HDBSCAN wants in a group, at least 2.

    Returns
    -------
    groups, number
        The largest first; and for each image the number of its group from 0, or
        :data:`~whichgen.evaluation.clustering.NOISE`: int64 array (n,).

    Raises
    ------
    FitError
        Fewer images than groups, or than ``min_size``; or the model keeps no exemplars.
    """
    fewest = k if k is not None else min_size
    if len(features) < max(fewest, 2) or fewest < (1 if k is not None else 2):
        raise FitError(
            f"{len(features)} images can't be grouped with "
            + (f"-k {k}" if k is not None else f"--min-size {min_size}")
            + ". Give more images, or use --all to group those of known origins, too."
        )
    points = embedding(model, encoder, features)
    found = (
        KMeans(k, n_init=10, random_state=seed).fit_predict(points)
        if k is not None
        else HDBSCAN(min_cluster_size=min_size, copy=True).fit_predict(points)
    )
    order = [c for c, _ in Counter(found[found >= 0].tolist()).most_common()]
    number = np.array([order.index(c) if c >= 0 else NOISE for c in found], dtype=np.int64)
    nearest = model.head.forward(features).logits.argmax(axis=1)
    return [_group(i, number, points, nearest, model.origins) for i in range(len(order))], number


def embedding(model: OriginModel, encoder: Encoder, features: np.ndarray) -> np.ndarray:
    """The points that are clustered: float64 array (n, at most :data:`COMPONENTS`)."""
    if model.exemplars is None:
        raise FitError(
            "the model keeps no exemplars of its origins, so nothing can be discovered. Fit anew."
        )
    known, labels = model.exemplars.select(held_out=False)
    parts = []
    for columns in _columns(model, encoder):
        rows, asked = known[:, columns], features[:, columns]
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        spread = np.where(spread > 0, spread, 1) * np.sqrt(rows.shape[1])
        far = _FARTHEST / np.sqrt(rows.shape[1])
        rows, asked = (np.clip((x - mean) / spread, -far, far) for x in (rows, asked))
        parts.append(fit_whitening(rows, labels, len(model.origins), SHRINKAGE)(asked))
    points = normalize_rows(np.hstack(parts))
    k = min(COMPONENTS, *points.shape)
    return np.asarray(PCA(k, svd_solver="full").fit_transform(points.astype(np.float64)))


def _columns(model: OriginModel, encoder: Encoder) -> list[slice]:
    """The columns of each block that the model reads; of traces' blocks alone if it reads any."""
    names = [str(m["name"]) for m in encoder.preprocessing.get("members", ())] or [encoder.name]
    traces = {
        block
        for name, votes in zip(names, encoder.block_groups, strict=True)
        if name == TRACES
        for vote in votes
        for block in vote
    }
    ends = np.cumsum([encoder.block_dims[block] for block in model.blocks]).tolist()
    slices = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    of_traces = [s for block, s in zip(model.blocks, slices, strict=True) if block in traces]
    return of_traces or slices


def _group(
    i: int, number: np.ndarray, points: np.ndarray, nearest: np.ndarray, origins: Sequence[str]
) -> Group:
    rows = np.flatnonzero(number == i)
    lengths = np.linalg.norm(points[rows], axis=1, keepdims=True)
    units = points[rows] / np.where(lengths > 0, lengths, 1)
    center = units.mean(axis=0)
    cosines = units @ (center / (np.linalg.norm(center) or 1))
    distances = np.linalg.norm(points[rows] - points[rows].mean(axis=0), axis=1)
    counts = np.bincount(nearest[rows], minlength=len(origins))
    return Group(
        name=f"unknown-{i + 1}",
        members=tuple(rows[np.argsort(distances, kind="stable")].tolist()),
        nearest_origin=origins[int(counts.argmax())],
        share=float(counts.max() / counts.sum()),
        cohesion=float(cosines.mean()),
    )
