"""Assign images to folds for cross-validation across sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from whichgen.data.checks.duplicates import find_components, link_near_duplicates
from whichgen.data.dataset import Sample
from whichgen.data.images.image_facts import ImageFacts
from whichgen.data.images.image_reader import ImageReader
from whichgen.progress import Progress, no_progress


def link_across_sources(
    samples: Sequence[Sample],
    reader: ImageReader | None = None,
    *,
    progress: Progress = no_progress,
) -> list[tuple[int, int]]:
    """Link near-duplicates that have different sources.

    Unreadable files are skipped.

    Parameters
    ----------
    samples
        Samples with sources.
    reader
        Reads the images; by default, nothing is cached.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    list of (int, int)
        Pairs of indices of samples with different sources: the first image of a cluster of
        near-duplicates, and each image of the cluster whose source differs from that of the first
        (:func:`~whichgen.data.checks.duplicates.link_near_duplicates`).

    Raises
    ------
    StoreError
        The reader's cache can't be read or written.
    """
    images = (reader or ImageReader()).read(samples, progress=progress)
    hashes = {i: f.perceptual_hash for i, f in enumerate(images) if isinstance(f, ImageFacts)}
    rows = list(hashes)
    pairs = link_near_duplicates(list(hashes.values()))
    return [
        (rows[i], rows[j]) for i, j in pairs if samples[rows[i]].source != samples[rows[j]].source
    ]


def assign_folds(
    samples: Sequence[Sample],
    n_folds: int,
    seed: int = 0,
    *,
    links: Iterable[tuple[int, int]] = (),
) -> np.ndarray:
    """Assign each sample to a fold so that no source is divided between folds.

    All images of a source form a unit. The images of a group form a unit if they have no source. An
    image that has neither a source nor a group is a unit of its own. Units with linked images are
    joined. Units are assigned in descending order of size, each to the fold in which its origins
    are least represented. If there are at least ``n_folds`` units, no fold is empty.

    Parameters
    ----------
    samples
        Sequence of n samples.
    n_folds
        Number of folds, at least 1.
    seed
        Random seed for the order of units of the same size.
    links
        Pairs of indices of samples that must be in the same fold
        (:func:`link_across_sources`).

    Returns
    -------
    ndarray of shape (n,), int64
        Fold of each sample, in [0, n_folds).
    """
    names = [(s.source, "" if s.source else s.group) for s in samples]
    keys = [(*name, -1 if any(name) else i) for i, name in enumerate(names)]
    index = {key: unit for unit, key in enumerate(dict.fromkeys(keys))}
    units = np.array([index[key] for key in keys], dtype=np.int64)
    components = find_components(len(index), [(units[i], units[j]) for i, j in links])
    units, n_units = components[units], int(components.max(initial=-1)) + 1
    origin_names, origins = np.unique([s.origin for s in samples], return_inverse=True)
    counts = np.zeros((n_units, len(origin_names)))
    np.add.at(counts, (units, origins), 1)
    shares = counts / counts.sum(axis=0)

    order = np.random.default_rng(seed).permutation(n_units)
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]
    fold_of = np.zeros(n_units, dtype=np.int64)
    fold_shares, fold_sizes = np.zeros((n_folds, len(origin_names))), np.zeros(n_folds)
    for unit in order:
        # In a tie, choose the smallest fold.
        fold = np.lexsort((fold_sizes, fold_shares @ counts[unit]))[0]
        fold_of[unit] = fold
        fold_shares[fold] += shares[unit]
        fold_sizes[fold] += counts[unit].sum()
    return fold_of[units]
