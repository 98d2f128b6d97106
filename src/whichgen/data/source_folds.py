"""Assign images to folds for cross-validation across sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whichgen.data.dataset import Sample


def assign_folds(samples: Sequence[Sample], n_folds: int, seed: int = 0) -> np.ndarray:
    """Assign each sample to a fold so that no source is divided between folds.

    Images without a source stay with their group; images without a source and a group are assigned
    individually. These units are assigned in descending order of size, each to the fold in which
    its origins are least represented. Every fold is used if there are at least ``n_folds`` units.

    Parameters
    ----------
    samples
        Sequence of n samples.
    n_folds
        Number of folds, at least 1.
    seed
        Random seed for the order of units of the same size.

    Returns
    -------
    ndarray of shape (n,), int64
        Fold of each sample, in [0, n_folds).
    """
    names = [(s.source, "" if s.source else s.group) for s in samples]
    keys = [(*name, -1 if any(name) else i) for i, name in enumerate(names)]
    index = {key: unit for unit, key in enumerate(dict.fromkeys(keys))}
    units = np.array([index[key] for key in keys], dtype=np.int64)
    origin_names, origins = np.unique([s.origin for s in samples], return_inverse=True)
    counts = np.zeros((len(index), len(origin_names)))
    np.add.at(counts, (units, origins), 1)
    shares = counts / counts.sum(axis=0)

    order = np.random.default_rng(seed).permutation(len(index))
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]
    fold_of = np.zeros(len(index), dtype=np.int64)
    fold_shares, fold_sizes = np.zeros((n_folds, len(origin_names))), np.zeros(n_folds)
    for unit in order:
        # In a tie, the smallest fold.
        fold = np.lexsort((fold_sizes, fold_shares @ counts[unit]))[0]
        fold_of[unit] = fold
        fold_shares[fold] += shares[unit]
        fold_sizes[fold] += counts[unit].sum()
    return fold_of[units]
