"""Assign a small number of large components, such as sources, to splits of given fractions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Maximum number of random assignments that are improved, and maximum product of this number and
#: the number of components, to limit the computing time. At least one assignment is improved.
_MAX_STARTS, _MAX_TOTAL_COMPONENTS = 20, 2000


def balance_splits(shares: np.ndarray, fractions: Sequence[float], seed: int = 0) -> np.ndarray:
    """Assign components to splits so that the splits have about the given fractions of each origin.

    Random assignments are improved by moving one component at a time to another split as long as
    this reduces the cost. The assignment with the lowest cost is returned. The cost of an
    assignment is the number of pairs of an origin and a split in which the split has no images of
    the origin. Ties are resolved by the mean of ``(share / fraction - 1)²`` over all pairs of an
    origin and a split, where ``share`` is the share of the origin's images that are in the split.

    Parameters
    ----------
    shares
        Share of each origin's images that each component contains: float64 array of shape
        (n_components, n_origins) with column sums 1.
    fractions
        Fraction of the images for each split: n_splits positive numbers with sum 1.
    seed
        Random seed.

    Returns
    -------
    ndarray of shape (n_components,), int64
        Split of each component, in [0, n_splits).
    """
    rng = np.random.default_rng(seed)
    targets = np.array(fractions)[:, None]

    def compute_cost(totals: np.ndarray) -> tuple[int, float]:
        """Return the cost, given the share of each origin in each split: (n_splits, n_origins)."""
        deviations = totals / targets - 1
        # Round the mean, because moving a component away and back changes the last digits.
        return int((totals < 1e-9).sum()), round(float(np.square(deviations).mean()), 9)

    def improve_random_assignment() -> tuple[tuple[int, float], np.ndarray]:
        """Return the cost and the splits of an improved random assignment."""
        splits = rng.choice(len(fractions), len(shares), p=fractions)
        totals = np.zeros((len(fractions), shares.shape[1]))
        np.add.at(totals, splits, shares)
        cost, previous = compute_cost(totals), None
        while cost != previous:
            previous = cost
            for component in rng.permutation(len(shares)):
                for split in range(len(fractions)):
                    new_totals = totals.copy()
                    new_totals[splits[component]] -= shares[component]
                    new_totals[split] += shares[component]
                    if (new_cost := compute_cost(new_totals)) < cost:
                        splits[component], totals, cost = split, new_totals, new_cost
        return cost, splits

    n_starts = min(max(_MAX_TOTAL_COMPONENTS // max(len(shares), 1), 1), _MAX_STARTS)
    results = [improve_random_assignment() for _ in range(n_starts)]
    return min(results, key=lambda result: result[0])[1]
