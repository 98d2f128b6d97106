"""Extract the features of a dataset's splits, and select the features of each fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from whichgen.data.dataset import SPLITS, Dataset, make_missing_error
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.images.perturbations import INTENSITIES, Perturbation
from whichgen.defaults import BATCH_SIZE
from whichgen.encoders.encoder import Encoder
from whichgen.evaluation.protocols import Fold, Protocol
from whichgen.features.extraction import PerturbedSample, extract_tables
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.io.run_metadata import hash_parts
from whichgen.progress import Progress, no_progress

#: Splits for training and selection.
FITTING_SPLITS = ("train", "val", "val_unknown")


class FoldTables(NamedTuple):
    """Feature tables of one fold.

    Parameters
    ----------
    origins
        Known origins.
    train
        Training images of the known origins.
    known, unknown
        Images of known and of unknown origins on which candidates are evaluated.
    """

    origins: tuple[str, ...]
    train: FeatureTable
    known: FeatureTable
    unknown: FeatureTable


def name_perturbed_table(split: str) -> str:
    """Return the name of the table with the perturbed copies of a split other than ``train``."""
    return f"{split}, perturbed"


@dataclass(frozen=True)
class SplitFeatures:
    """A dataset and the features of its splits.

    Parameters
    ----------
    dataset
        The dataset.
    tables
        Maps the name of each split to its feature table. The table ``train`` includes any perturbed
        copies of its images; copies of images in other splits are in separate tables
        (:func:`name_perturbed_table`).
    reader
        Collects facts about image files
        (:class:`~whichgen.data.images.image_facts.ImageFacts`); by default, the facts are kept only
        in memory.
    """

    dataset: Dataset
    tables: Mapping[str, FeatureTable]
    reader: ImageReader = field(default_factory=ImageReader, compare=False)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Error message of each unreadable file, without duplicates."""
        messages = (message for table in self.tables.values() for message in table.skipped)
        return tuple(dict.fromkeys(messages))

    @property
    def image_counts(self) -> dict[str, dict[str, int]]:
        """Number of readable images by split and origin, without perturbed copies.

        Validation images in the table ``train`` count as validation images.
        """
        counts = {}
        for split in SPLITS:
            if split in self.tables:
                members = set(self.dataset.split(split))
                samples = dict.fromkeys(self.tables[split].samples)
                counts[split] = dict(Counter(s.origin for s in samples if s in members))
        return counts

    @property
    def data_hash(self) -> str:
        """Digest of the content, perturbation, origin and split of all readable images."""
        return hash_parts(
            split.encode() + b"\0" + sample.origin.encode() + b"\0" + key
            for split, table in self.tables.items()
            for sample, key in zip(table.samples, table.keys, strict=True)
        )

    def select_test_tables(self, protocol: Protocol) -> tuple[FeatureTable, FeatureTable]:
        """Return the feature tables of the known and of the unknown test images of a protocol."""
        return self.tables[protocol.test_split], self.tables["test_unknown"]

    def select_perturbation(self, kind: str) -> SplitFeatures:
        """Return the features of the training and validation images with one kind of perturbation.

        If ``kind`` is ``""``, return those of the unchanged images. The result has no test images.

        Raises
        ------
        KeyError
            There is no table of perturbed copies for ``val`` or ``val_unknown``, and ``kind`` is
            not ``""``.
        """
        tables = {}
        for split in FITTING_SPLITS:
            table = self.tables[name_perturbed_table(split) if kind and split != "train" else split]
            tables[split] = table.take(np.flatnonzero(table.kinds == kind))
        return replace(self, tables=tables)


def extract_splits(
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    splits: Sequence[str] = SPLITS,
    augment: Sequence[str] = (),
    augmented_splits: Sequence[str] = ("train",),
    perturbation: Perturbation | None = None,
    reader: ImageReader | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
) -> SplitFeatures:
    """Return the features of a dataset's splits, and add missing features to the store.

    Parameters
    ----------
    dataset
        The dataset.
    encoder
        The encoder that computes the features.
    store
        Feature store of the encoder.
    splits
        Names of the splits to extract, from :data:`~whichgen.data.dataset.SPLITS`.
    augment
        Kinds of perturbation, keys of :data:`~whichgen.data.images.perturbations.INTENSITIES`. For
        each kind and each image of ``augmented_splits``, one perturbed copy is added. Its intensity
        is drawn at random from those of the kind.
    augmented_splits
        Names of the splits whose images are copied. Names that are not in ``splits`` are ignored.
    perturbation
        Perturbation to apply to every image except the copies from ``augment``; ``None`` for
        unchanged images.
    reader
        Reads the files; see :func:`~whichgen.features.extraction.extract`.
    seed
        Seed for drawing the intensities.
    batch_size
        Number of images per forward pass.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    SplitFeatures
        The features of the readable images.

    Raises
    ------
    DataError
        A known origin has no readable image in ``train``, ``val`` or ``test``. Only the splits in
        ``splits`` are checked.
    EncoderError, StoreError
        See :func:`~whichgen.features.extraction.extract_tables`.
    KeyError
        A kind of perturbation in ``augment`` does not exist.

    Warns
    -----
    WhichgenWarning
        See :func:`~whichgen.features.extraction.extract_tables`.
    """
    rng = np.random.default_rng(seed)
    images: dict[str, list[PerturbedSample]] = {}
    for split in splits:
        samples = dataset.split(split)
        images[split] = [(sample, perturbation) for sample in samples]
        for kind in augment if split in augmented_splits else ():
            name = split if split == "train" else name_perturbed_table(split)
            values = rng.choice(INTENSITIES[kind], len(samples))
            copies = [(s, Perturbation(kind, v)) for s, v in zip(samples, values, strict=True)]
            images[name] = [*images.get(name, []), *copies]
    # In one pass, fewer batches are padded, and decoding does not pause between splits.
    extracted = extract_tables(
        list(images.values()),
        encoder,
        store,
        reader=reader,
        batch_size=batch_size,
        progress=progress,
        description="Features" + (f" {perturbation}" if perturbation else ""),
    )
    tables = dict(zip(images, extracted, strict=True))
    for split in splits:
        origins = set(tables[split].origins.tolist())
        missing = [origin for origin in dataset.known if origin not in origins]
        if missing and split in ("train", "val", "test"):
            raise make_missing_error(split, missing, tables[split].skipped)
    return SplitFeatures(dataset, tables, reader or ImageReader())


def select_fold_tables(features: SplitFeatures, fold: Fold) -> FoldTables:
    """Select the feature tables of a fold from the tables of the splits."""

    def select(split: str, origins: Sequence[str]) -> FeatureTable:
        table = features.tables[split]
        return table.take(np.flatnonzero(np.isin(table.origins, origins)))

    unknown = select(fold.unknown_split, fold.unknown)
    return FoldTables(fold.known, select("train", fold.known), select("val", fold.known), unknown)
