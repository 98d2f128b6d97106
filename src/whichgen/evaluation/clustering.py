"""How well groups found without labels agree with the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from whichgen.errors import DataError

#: The group of an image that is in none.
NOISE = -1


@dataclass(frozen=True)
class ClusteringMetrics:
    """Groups against true origins.

    Parameters
    ----------
    nmi
        Normalized mutual information (arithmetic mean), in [0, 1].
    purity
        Share of images of their group's most frequent origin, in [0, 1]. It rises with the number
        of groups.
    ari
        Adjusted Rand index (Hubert & Arabie, 1985), in [-1, 1]; 0 is chance.
    grouped
        Share of images that are in a group. Each of the others counts as a group of its own in
        ``nmi`` and ``ari``, and as impure in ``purity``.
    """

    nmi: float
    purity: float
    ari: float
    grouped: float


def clustering_metrics(truth: np.ndarray, groups: np.ndarray) -> ClusteringMetrics:
    """Figures of str array ``truth`` (n,) and int array ``groups`` (n,), n ≥ 1.

    :data:`NOISE` marks images in no group.
    """
    if len(truth) != len(groups) or not len(truth):
        raise DataError(f"{len(groups)} groups for {len(truth)} origins: one each is needed.")
    alone = groups == NOISE
    apart = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    pure = 0
    for group in np.unique(groups[~alone]):
        pure += int(np.unique(truth[groups == group], return_counts=True)[1].max())
    return ClusteringMetrics(
        nmi=float(normalized_mutual_info_score(truth, apart)),
        purity=pure / len(truth),
        ari=float(adjusted_rand_score(truth, apart)),
        grouped=float((~alone).mean()),
    )
