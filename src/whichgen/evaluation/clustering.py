"""Metrics of agreement between clusters and true origins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

#: Cluster label of images without a cluster.
NOISE = -1


@dataclass(frozen=True)
class ClusteringMetrics:
    """Agreement between clusters and true origins.

    Parameters
    ----------
    nmi
        Mutual information of clusters and origins, divided by the arithmetic mean of their
        entropies, in [0, 1]; 1 if there is only one origin and only one cluster.
    purity
        Fraction of images that are correct if each cluster is assigned to its most frequent true
        origin, in [0, 1]. Purity tends to increase with the number of clusters.
    ari
        Adjusted Rand index (Hubert & Arabie, 1985), in [-0.5, 1]. The expected value for random
        clusters is 0.
    clustered_fraction
        Fraction of images that are in a cluster, in [0, 1]. An image without a cluster counts as a
        singleton cluster in ``nmi`` and ``ari``, and as an error in ``purity``.
    """

    nmi: float
    purity: float
    ari: float
    clustered_fraction: float

    def __str__(self) -> str:
        return f"NMI {self.nmi:.3f}, purity {self.purity:.3f}, ARI {self.ari:.3f}"


def compute_clustering_metrics(origins: np.ndarray, clusters: np.ndarray) -> ClusteringMetrics:
    """Compute the agreement between clusters and true origins of n images, n at least 1.

    Parameters
    ----------
    origins
        True origins: str array (n,).
    clusters
        Cluster labels, :data:`NOISE` for images without a cluster: int array (n,).
    """
    is_noise = clusters == NOISE
    singletons = clusters.max(initial=0) + 1 + np.arange(len(clusters))
    labels = np.where(is_noise, singletons, clusters)
    largest_counts = (
        np.unique(origins[clusters == cluster], return_counts=True)[1].max()
        for cluster in np.unique(clusters[~is_noise])
    )
    return ClusteringMetrics(
        nmi=float(normalized_mutual_info_score(origins, labels)),
        purity=int(sum(largest_counts)) / len(origins),
        ari=float(adjusted_rand_score(origins, labels)),
        clustered_fraction=float((~is_noise).mean()),
    )
