"""Agreement of clusters with the true origins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

#: The cluster number of an image that belongs to no cluster.
NOISE = -1


@dataclass(frozen=True)
class ClusteringMetrics:
    """Agreement of clusters with true origins.

    Parameters
    ----------
    nmi
        Normalized mutual information (arithmetic mean), in [0, 1].
    purity
        Share of images of their cluster's most frequent origin, in [0, 1]. It rises with the number
        of clusters.
    ari
        Adjusted Rand index (Hubert & Arabie, 1985), in [-1, 1]; 0 is chance.
    grouped
        Share of images that belong to a cluster. Each of the others counts as a cluster of its own
        in ``nmi`` and ``ari``, and as impure in ``purity``.
    """

    nmi: float
    purity: float
    ari: float
    grouped: float

    def __str__(self) -> str:
        return f"NMI {self.nmi:.3f}, purity {self.purity:.3f}, ARI {self.ari:.3f}"


def clustering_metrics(origins: np.ndarray, clusters: np.ndarray) -> ClusteringMetrics:
    """Compare a str array ``origins`` (n,) with an int array ``clusters`` (n,), n at least 1.

    :data:`NOISE` marks images that belong to no cluster.
    """
    is_noise = clusters == NOISE
    singletons = clusters.max(initial=0) + 1 + np.arange(len(clusters))
    separated = np.where(is_noise, singletons, clusters)
    largest = (
        np.unique(origins[clusters == cluster], return_counts=True)[1].max()
        for cluster in np.unique(clusters[~is_noise])
    )
    return ClusteringMetrics(
        nmi=float(normalized_mutual_info_score(origins, separated)),
        purity=int(sum(largest)) / len(origins),
        ari=float(adjusted_rand_score(origins, separated)),
        grouped=float((~is_noise).mean()),
    )
