"""The features of a data set's five parts, and the arrays that heads and metrics want of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.constants import BATCH_SIZE
from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.perturbations import INTENSITIES, Perturbation
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.evaluation.predictions import label_indices
from whichgen.evaluation.protocols import Fold
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.io.run_metadata import hash_parts
from whichgen.progress import Progress, no_progress
from whichgen.training.selection import FoldFeatures

#: The parts that are learned from and chosen on.
FITTING_SPLITS = ("train", "val", "val_unknown")


def perturbed(part: str) -> str:
    """The name of the table of a part's perturbed copies."""
    return f"{part}, perturbed"


@dataclass(frozen=True)
class SplitFeatures:
    """A data set and the features of its parts; every image was encoded once for all blocks.

    ``tables`` are named after parts. Perturbed copies of training images are beside these, those of
    other parts in tables of their own (:func:`perturbed`).
    """

    dataset: Dataset
    tables: Mapping[str, FeatureTable]

    @property
    def skipped(self) -> tuple[str, ...]:
        """Why files are missing, one reason each."""
        reasons = (reason for table in self.tables.values() for reason in table.skipped)
        return tuple(dict.fromkeys(reasons))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each part by origin, perturbed copies not counted."""
        return {
            part: dict(Counter(s.origin for s in dict.fromkeys(self.tables[part].samples)))
            for part in SPLITS
            if part in self.tables
        }

    @property
    def data_hash(self) -> str:
        """A digest of every image's content, origin and part."""
        rows = (
            part.encode() + b"\0" + sample.origin.encode() + b"\0" + key
            for part, table in self.tables.items()
            for sample, key in zip(table.samples, table.keys, strict=True)
        )
        return hash_parts(rows)

    def with_train(self, rows: np.ndarray) -> SplitFeatures:
        """The same with only some rows of the training part."""
        return SplitFeatures(
            self.dataset, {**self.tables, "train": self.tables["train"].take(rows)}
        )

    def of_kind(self, kind: str) -> SplitFeatures:
        """Training and validation images of one kind of perturbation; empty: as they are."""
        found = {}
        for part in FITTING_SPLITS:
            table = self.tables[perturbed(part) if kind and part != "train" else part]
            found[part] = table.take(np.flatnonzero(table.kinds == kind))
        return SplitFeatures(self.dataset, found)


def extract_splits(
    dataset: Dataset,
    encoder: Encoder,
    store: FeatureStore,
    *,
    parts: Sequence[str] = SPLITS,
    augment: Sequence[str] = (),
    copied: Sequence[str] = ("train",),
    perturbation: Perturbation | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
) -> SplitFeatures:
    """Extracts (or finds in the store) the features of a data set.

    Parameters
    ----------
    parts
        Those wanted, of :data:`~whichgen.data.dataset.SPLITS`.
    augment
        Kinds of perturbation: each image of the parts ``copied`` is there as it is and once more
        for every kind, at an intensity drawn (seeded) from the five.
    perturbation
        One that every image of ``parts`` goes through; for testing.

    Raises
    ------
    DataError
        After unreadable files were passed over, a known origin has no image left to learn from,
        to choose by or to be tested on.
    """
    rng = np.random.default_rng(seed)
    tables = {}

    def extracted(
        name: str, samples: Sequence[Sample], applied: Sequence[Perturbation | None]
    ) -> FeatureTable:
        return extract(
            samples,
            encoder,
            store,
            perturbations=applied,
            batch_size=batch_size,
            progress=progress,
            description=f"Extracting {name}" + (f" {perturbation}" if perturbation else ""),
        )

    for part in parts:
        samples = dataset.split(part)
        plain: list[Perturbation | None] = [perturbation] * len(samples)
        kinds = augment if part in copied else ()
        copies = list(samples) * len(kinds)
        drawn: list[Perturbation | None] = [
            Perturbation(kind, value)
            for kind in kinds
            for value in rng.choice(INTENSITIES[kind], len(samples))
        ]
        if part == "train":
            tables[part] = extracted(part, [*samples, *copies], plain + drawn)
        else:
            tables[part] = extracted(part, samples, plain)
            if kinds:
                tables[perturbed(part)] = extracted(perturbed(part), copies, drawn)
        empty = [o for o in dataset.known if o not in set(tables[part].origins.tolist())]
        if empty and part in ("train", "val", "test"):
            raise DataError(
                f"no readable {part} image of {', '.join(empty)}; the first problem: "
                f"{(*tables[part].skipped, 'there is none')[0]}. Run `whichgen dataset check`."
            )
    return SplitFeatures(dataset, tables)


#: A fold's training, known validation and unknown validation images.
FoldTables = tuple[FeatureTable, FeatureTable, FeatureTable]


def fold_tables(parts: SplitFeatures, fold: Fold) -> FoldTables:
    """A fold's training, known validation and unknown validation images."""

    def of(part: str, origins: Sequence[str]) -> FeatureTable:
        table = parts.tables[part]
        return table.take(np.flatnonzero(np.isin(table.origins, origins)))

    return of("train", fold.known), of("val", fold.known), of(fold.unknown_split, fold.unknown)


def fold_features(tables: FoldTables, known: Sequence[str], block: int) -> FoldFeatures:
    """The arrays of one block for a fold's tables."""
    train, val, unknown = tables
    return FoldFeatures(
        train=train.block(block),
        train_labels=label_indices(train.origins, known),
        val=val.block(block),
        val_labels=label_indices(val.origins, known),
        unknown=unknown.block(block),
        n_origins=len(known),
    )
