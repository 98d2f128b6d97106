"""Predictions for held-out images, from which thresholds and calibration are computed.

By default, the held-out images are the validation images. For a fusion trained on images with
sources (except under the protocol ``paper``), training and validation images are pooled and divided
into at most :data:`SOURCE_FOLDS` folds such that no source is in two folds. For each fold, a head
fitted on the other folds predicts the fold's images. Unknown validation images that the protocol
uses for selection are predicted once. The final head is fitted on all pooled images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whichgen.data.splits.source_folds import assign_folds
from whichgen.errors import DataError
from whichgen.evaluation.predictions import encode_labels
from whichgen.evaluation.protocols import Fold
from whichgen.evaluation.training_sources import TrainingSources
from whichgen.heads.head import Head, HeadOutput
from whichgen.openset.score import OpenSetScore
from whichgen.openset.score_registry import fit_score
from whichgen.option_names import name_option
from whichgen.training.split_features import FITTING_SPLITS, FoldTables, SplitFeatures

#: Maximum number of folds for cross-validation over sources. With few folds, the heads are fitted
#: on far fewer sources than the final head, and their thresholds are too strict.
SOURCE_FOLDS = 10


@dataclass(frozen=True)
class HeldOutImages:
    """Predictions for n images by heads that were not fitted on them.

    Parameters
    ----------
    output
        Output of the heads. If there are several heads, the embeddings have no dimensions
        (:meth:`~whichgen.heads.head.HeadOutput.concatenate`).
    scores
        Open-set scores: float64 array (n,).
    labels
        Index of the true origin, or -1 for an unknown generator: int64 array (n,).
    origins
        Name of the true origin, also of unknown generators: str array (n,).
    sources
        Source of each image, empty for an image without one: str array (n,).
    """

    output: HeadOutput
    scores: np.ndarray
    labels: np.ndarray
    origins: np.ndarray
    sources: np.ndarray

    @property
    def known(self) -> HeldOutImages:
        """The predictions for images of known origins."""
        rows = np.flatnonzero(self.labels >= 0)
        arrays = (self.scores, self.labels, self.origins, self.sources)
        return HeldOutImages(self.output.take(rows), *(array[rows] for array in arrays))


def has_sources(features: SplitFeatures) -> bool:
    """Return whether every training image has a source."""
    return all(sample.source for sample in features.tables["train"].samples)


def collect_training_sources(features: SplitFeatures) -> TrainingSources | None:
    """Collect the source counts and digests of the images in the splits :data:`FITTING_SPLITS`.

    Return ``None`` if a training image has no source.
    """
    if not has_sources(features):
        return None
    samples = (s for split in FITTING_SPLITS for s in features.tables[split].samples)
    return TrainingSources.from_samples(samples)


def pool_training_images(features: SplitFeatures) -> SplitFeatures:
    """Return a copy of ``features`` whose table ``train`` also contains the validation images."""
    pooled_table = features.tables["train"] + features.tables["val"]
    return replace(features, tables={**features.tables, "train": pooled_table})


def make_source_folds(
    features: SplitFeatures, folds: Sequence[Fold], seed: int
) -> list[FoldTables]:
    """Divide pooled training images into at most :data:`SOURCE_FOLDS` folds by source.

    A fold without images of its known origins is left out, because its metrics would be undefined.

    Parameters
    ----------
    features
        Features whose table ``train`` contains the validation images
        (:func:`pool_training_images`), without perturbed copies.
    folds
        The folds of the protocol, which define the known and the unknown origins. They are assigned
        to the folds of sources in turn.
    seed
        Seed for dividing the sources.

    Returns
    -------
    list of FoldTables
        For each fold of sources, the training images from the other folds, the fold's images of
        known origins, and images of unknown origins: those in ``val_unknown`` or, if generators are
        held out as unknown, those in the fold. Unknown images are left out if their source is also
        a training source.

    Raises
    ------
    DataError
        All images of a known origin are in the same fold, for example because they have the same
        source.
    """
    train, unknown = features.tables["train"], features.tables["val_unknown"]
    samples = [*train.samples, *unknown.samples]
    fold_indices = assign_folds(samples, SOURCE_FOLDS, seed)[: len(train)]
    tables = []
    for k in range(SOURCE_FOLDS):
        fold = folds[k % len(folds)]
        is_known = np.isin(train.origins, fold.known)
        train_table = train.take(np.flatnonzero((fold_indices != k) & is_known))
        held_out = train.take(np.flatnonzero(fold_indices == k))
        candidates = unknown if fold.unknown_split == "val_unknown" else held_out
        sources = {sample.source for sample in train_table.samples}
        rows = [
            i
            for i, sample in enumerate(candidates.samples)
            if sample.origin in fold.unknown and sample.source not in sources
        ]
        if missing := sorted({*fold.known} - {*train_table.origins.tolist()}):
            raise DataError(
                f"the images of {', '.join(missing)} come from too few sources to hold out a "
                "source. Add images of these origins from other sources, or train without sources: "
                f"omit {name_option('--sources')} or, for a prepared benchmark, delete "
                "sources.tsv."
            )
        known = held_out.take(np.flatnonzero(np.isin(held_out.origins, fold.known)))
        if len(known):
            tables.append(FoldTables(fold.known, train_table, known, candidates.take(rows)))
    return tables


def predict_held_out(
    folds: Iterable[tuple[FoldTables, Head]], blocks: Sequence[int], score_method: str
) -> HeldOutImages:
    """Predict the held-out images of each fold with a head fitted on the fold's training images.

    An unknown image that is in several folds is predicted once, in the first of them.

    Parameters
    ----------
    folds
        Feature tables of each fold, and the head fitted on its training images. All folds have the
        same known origins.
    blocks
        Indices of the blocks whose features are the head's input.
    score_method
        Name of the open-set score, which is fitted on the training images of each fold.

    Returns
    -------
    HeldOutImages
        The predictions of all folds, one fold after the other; within a fold, images of known
        origins come first.

    Raises
    ------
    FitError
        The open-set score can't be fitted (:func:`~whichgen.openset.score_registry.fit_score`).
    StoreError
        The features can't be read.
    """
    parts = []
    keys: set[bytes] = set()
    for fold, head in folds:
        x, labels = fold.train.read_blocks(blocks), encode_labels(fold.train.origins, fold.origins)
        score = fit_score(score_method, head.forward(x), labels, len(fold.origins))
        rows = [i for i, key in enumerate(fold.unknown.keys) if key not in keys]
        keys.update(fold.unknown.keys)
        parts.append(
            predict_images(fold._replace(unknown=fold.unknown.take(rows)), head, score, blocks)
        )
    return HeldOutImages(
        HeadOutput.concatenate([part.output for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.origins for part in parts]),
        np.concatenate([part.sources for part in parts]),
    )


def predict_images(
    tables: FoldTables, head: Head, score: OpenSetScore, blocks: Sequence[int]
) -> HeldOutImages:
    """Predict the known and then the unknown images of a fold.

    ``head`` is fitted on the training images of the fold, ``score`` is the fitted open-set score,
    and ``blocks`` are the indices of the blocks whose features are the head's input.

    Raises
    ------
    StoreError
        The features can't be read.
    """
    images = tables.known + tables.unknown
    labels = encode_labels(tables.known.origins, tables.origins)
    output = head.forward(images.read_blocks(blocks))
    unknown = np.full(len(tables.unknown), -1)
    sources = np.array([sample.source for sample in images.samples])
    return HeldOutImages(output, score(output), np.append(labels, unknown), images.origins, sources)


def select_validation_tables(features: SplitFeatures) -> FoldTables:
    """Return the tables of the fold with all known origins whose held-out set is ``val``."""
    tables = features.tables
    return FoldTables(features.dataset.known, tables["train"], tables["val"], tables["val_unknown"])
