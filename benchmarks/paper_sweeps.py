"""Predictions of the paper's method for each fold, for ``paper_claims.py``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.images.perturbations import Perturbation
from whichgen.encoders.encoder import Encoder
from whichgen.evaluation.predictions import Predictions, encode_labels
from whichgen.experiments.cross_source import SourceSplit, make_fold_datasets
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.features.table import FeatureTable
from whichgen.heads.head import SweepMethod
from whichgen.openset.predict import predict
from whichgen.training.selection import compute_selection_metrics

#: Block and hyperparameter value.
Choice = tuple[int, float]
#: Best validation metric of each block, and the hyperparameter value that reaches it.
Sweep = dict[int, tuple[float, float]]
#: Predictions for known and for unknown images.
Pair = tuple[Predictions, Predictions]


@dataclass(frozen=True)
class Setting:
    """Images with their sources, unknown origins for validation and for testing, and folds.

    Perturbations are tested on every image of each origin whose number is a multiple of ``step``.
    """

    samples: Sequence[Sample]
    unknown_val: Sequence[str]
    unknown_test: Sequence[str]
    split: SourceSplit
    step: int = 1

    def make_folds(self) -> list[Dataset]:
        """Return the dataset of each fold; ``val_unknown`` also has generators of the test set."""
        unknown = [*self.unknown_val, *self.unknown_test]
        return make_fold_datasets("", self.samples, unknown, self.unknown_test, self.split)

    def select_perturbed(self) -> list[Sample]:
        """Return the images on which perturbations are tested."""
        samples, counts = [], Counter[str]()
        for sample in self.samples:
            if sample.origin not in self.unknown_val:
                if counts[sample.origin] % self.step == 0:
                    samples.append(sample)
                counts[sample.origin] += 1
        return samples


def sweep_blocks(
    method: SweepMethod, tables: Mapping[str, FeatureTable], known: Sequence[str], n_blocks: int
) -> tuple[Sweep, Sweep, Sweep]:
    """Sweep every block; return the best values by three validation metrics.

    The metrics are AUROC and OSCR under the protocol ``clean``, and AUROC under the protocol
    ``paper``. Only ``paper`` uses images of generators of the test set.
    """
    train, val, unknown = (tables[name] for name in ("train", "val", "val_unknown"))
    clean_rows = ~np.isin(unknown.origins, tables["test_unknown"].origins)
    labels, val_labels = (encode_labels(t.origins, known) for t in (train, val))
    best: tuple[Sweep, Sweep, Sweep] = ({}, {}, {})
    for block in range(n_blocks):
        queries = [val.read_block(block), unknown.read_block(block)]
        for value, (p, u) in method.sweep(train.read_block(block), labels, len(known), queries):
            correct, scores = p.argmax(axis=1) == val_labels, u.max(axis=1)
            clean, paper = (
                compute_selection_metrics(p.max(axis=1), correct, unknown_scores)
                for unknown_scores in (scores[clean_rows], scores)
            )
            for sweep, metric in zip(best, (clean.auroc, clean.oscr, paper.auroc), strict=True):
                if block not in sweep or metric > sweep[block][0]:
                    sweep[block] = (metric, value)
    return best


def select_block(sweep: Sweep) -> Choice:
    """Return the block with the highest validation metric, and its hyperparameter value."""
    block = max(sweep, key=lambda b: sweep[b][0])
    return block, sweep[block][1]


def test_head(
    method: SweepMethod,
    train: FeatureTable,
    known: Sequence[str],
    choice: Choice,
    tests: Sequence[FeatureTable],
) -> Pair:
    """Fit a head on a block, and predict the known and the unknown images of ``tests``."""
    block, value = choice
    head = method.fit(
        train.read_block(block), encode_labels(train.origins, known), len(known), value
    )
    outputs = [(t, *predict(head.forward(t.read_block(block)))) for t in tests]
    first, second = (Predictions(p, t.origins, scores, t.sources) for t, p, scores in outputs)
    return first, second


def draw_training(table: FeatureTable, size: int, seed: int) -> FeatureTable:
    """Draw at most ``size`` images of each origin; a smaller draw is a subset of a larger draw."""
    order = np.random.default_rng(seed).permutation(len(table))
    rows = [order[table.origins[order] == o][:size] for o in np.unique(table.origins)]
    return table.take(np.sort(np.concatenate(rows)))


def take_split(images: FeatureTable, samples: Sequence[Sample]) -> FeatureTable:
    """Return the rows of the samples that are in the table."""
    rows = {sample.path: row for row, sample in enumerate(images.samples)}
    return images.take([rows[s.path] for s in samples if s.path in rows])


def sweep_folds(
    encoder: Encoder,
    methods: Mapping[int, SweepMethod],
    setting: Setting,
    store: FeatureStore,
) -> tuple[dict[str, list[Pair]], list[tuple[Choice, Choice]]]:
    """Select and test a method on every fold, for numbers of training images (0: all).

    Returns
    -------
    variants, choices
        Predictions of each variant of the method for each fold, and the block and hyperparameter
        value selected by AUROC and by OSCR for each fold.
    """
    images = extract(setting.samples, encoder, store)
    variants, choices = defaultdict(list), []
    for fold, dataset in enumerate(setting.make_folds()):
        known = dataset.known
        tables = {part: take_split(images, dataset.split(part)) for part in SPLITS}
        tests = [tables["test"], tables["test_unknown"]]
        for size, method in methods.items():
            train = draw_training(tables["train"], size, fold) if size else tables["train"]
            sized = {**tables, "train": train}
            sweeps = sweep_blocks(method, sized, known, len(encoder.block_dims))
            clean, by_oscr, paper = map(select_block, sweeps)
            variants[f"size {size}"].append(test_head(method, train, known, clean, tests))
            variants[f"size {size} OSCR"].append(test_head(method, train, known, by_oscr, tests))
            if size:
                continue
            choices.append((clean, by_oscr))
            for block, (_, value) in sweeps[0].items():
                predictions = test_head(method, train, known, (block, value), tests)
                variants[f"block {block}"].append(predictions)
            validation = [tables["val"], tables["test_unknown"]]
            variants["paper"].append(test_head(method, train, known, paper, validation))
    return variants, choices


def perturb_folds(
    encoder: Encoder,
    method: SweepMethod,
    setting: Setting,
    store: FeatureStore,
    *,
    choices: Sequence[Choice],
    perturbation: Perturbation | None,
) -> list[Pair]:
    """Test a method with the selected blocks and values on perturbed test images of each fold."""
    samples = setting.select_perturbed()
    images = extract(setting.samples, encoder, store)
    copies = extract(samples, encoder, store, perturbations=[perturbation] * len(samples))
    pairs = []
    for dataset, choice in zip(setting.make_folds(), choices, strict=True):
        tests = [take_split(copies, s) for s in (dataset.test, dataset.test_unknown)]
        train = take_split(images, dataset.train)
        pairs.append(test_head(method, train, dataset.known, choice, tests))
    return pairs
