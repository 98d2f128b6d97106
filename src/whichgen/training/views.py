"""What views say alone and together: fitted once, and compared in every set of members."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import numpy as np

from whichgen.encoders.base import Encoder
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.predictions import Predictions, label_indices
from whichgen.features.table import FeatureTable
from whichgen.heads.fusion import FusionHead, ViewProbe, build_fusion, fit_view
from whichgen.openset.base import OpenSetScore
from whichgen.openset.registry import score_method
from whichgen.progress import Progress
from whichgen.training.sweeps import run_in_processes

K = TypeVar("K")

#: Accuracy, AUROC and OSCR; ``None`` where there are no unknown images.
Figures = tuple[float, float | None, float | None]

#: Shrinkage and C of a probe.
Setting = tuple[float, float]

#: Sets of blocks; each block has a probe of its own, each set a vote.
Votes = tuple[tuple[int, ...], ...]

#: Said of members that have one vote each.
EVEN = "a vote each"

#: Members, C and shrinkage are chosen by this score.
AGREEMENT = "max_logit"


@dataclass(frozen=True)
class FittedViews:
    """Every block's probe for each setting on some training images, and the images asked about."""

    probes: list[list[ViewProbe]]
    known: tuple[str, ...]
    train: FeatureTable
    asked_known: FeatureTable
    asked_unknown: FeatureTable


def member_sets(encoder: Encoder) -> dict[str, Votes]:
    """Every set of an encoder's members with its votes; the largest set last.

    Of one member alone there is one set. A set in which members have different numbers of votes is
    there twice, first with one vote for each member.
    """
    given = [member["name"] for member in encoder.preprocessing.get("members", ())]
    names = [Path(name).name for name in given or [encoder.name]]
    if len(set(names)) < len(names):  # folders of one name in different places
        names = given
    found: dict[str, Votes] = {}
    for size in range(1, len(names) + 1):
        for chosen in combinations(range(len(names)), size):
            name = " + ".join(names[m] for m in chosen)
            if len({len(encoder.block_groups[m]) for m in chosen}) > 1:
                even = (tuple(chain(*encoder.block_groups[m])) for m in chosen)
                found[f"{name}, {EVEN}"] = tuple(even)
            found[name] = tuple(chain(*(encoder.block_groups[m] for m in chosen)))
    return found


def fit_views(
    trained: Mapping[tuple[str, ...], FeatureTable],
    blocks: Sequence[int],
    settings: Sequence[Setting],
    *,
    jobs: int,
    progress: Progress,
) -> dict[tuple[str, ...], list[list[ViewProbe]]]:
    """For each set of known origins, every block's probe for each setting."""
    of_shrinkage: dict[float, list[float]] = {}
    for shrinkage, value in settings:
        of_shrinkage.setdefault(shrinkage, []).append(value)
    calls = (
        (table.block(block), label_indices(table.origins, known), len(known), values, shrinkage)
        for known, table in trained.items()
        for block in blocks
        for shrinkage, values in of_shrinkage.items()
    )
    each = len(of_shrinkage)
    paths = list(
        progress(
            run_in_processes(fit_view, calls, jobs=jobs),
            description="Fitting views",
            total=len(trained) * len(blocks) * each,
        )
    )
    of_block = [list(chain(*paths[i : i + each])) for i in range(0, len(paths), each)]
    return {
        known: of_block[i * len(blocks) : (i + 1) * len(blocks)] for i, known in enumerate(trained)
    }


def evaluate_member_sets(
    fitted: FittedViews,
    sets: Mapping[str, Votes],
    settings: Sequence[Setting],
) -> Iterator[tuple[tuple[str, Setting], Figures]]:
    """The figures of every set of members at every setting, by the views' agreement."""
    tables = (fitted.asked_known, fitted.asked_unknown)
    said = [
        [
            np.stack([probe.log_probabilities(table.block(block)) for probe in path])
            for block, path in enumerate(fitted.probes)
        ]
        for table in tables
    ]
    for name, votes in sets.items():
        pooled = [
            np.mean([np.mean([of[b] for b in blocks], axis=0) for blocks in votes], axis=0)
            for of in said
        ]
        for i, setting in enumerate(settings):
            logits = [of[i] for of in pooled]
            answers = [
                Predictions(z, table.origins, np.max(z, axis=1))
                for z, table in zip(logits, tables, strict=True)
            ]
            yield (name, setting), _figures(answers[0], answers[1], fitted.known)


def evaluate_scores(
    fitted: FittedViews, head: FusionHead, blocks: Sequence[int], names: Sequence[str]
) -> tuple[dict[str, Figures], dict[str, OpenSetScore]]:
    """The figures of every open-set score, and the scores fitted on the training images."""
    labels = label_indices(fitted.train.origins, fitted.known)
    train = head.forward(fitted.train.blocks(blocks))
    outputs = [
        (table.origins, head.forward(table.blocks(blocks)))
        for table in (fitted.asked_known, fitted.asked_unknown)
    ]
    figures, scores = {}, {}
    for name in names:
        score = score_method(name).fit(train, labels, len(fitted.known))
        known, unknown = (
            Predictions(output.logits, origins, score(output)) for origins, output in outputs
        )
        figures[name], scores[name] = _figures(known, unknown, fitted.known), score
    return figures, scores


def fuse_views(fitted: FittedViews, votes: Votes, at: int) -> FusionHead:
    """The head of the probes of one setting."""
    blocks = list(chain(*votes))
    probes = [fitted.probes[block][at] for block in blocks]
    return build_fusion(probes, [len(vote) for vote in votes], fitted.train.blocks(blocks))


def average_metrics(folds: Iterable[Iterable[tuple[K, Figures]]]) -> dict[K, Figures]:
    """Figures averaged over folds."""
    found: dict[K, list[Figures]] = defaultdict(list)
    for fold in folds:
        for key, figures in fold:
            found[key].append(figures)

    def mean(values: Iterable[float | None]) -> float | None:
        present = [v for v in values if v is not None]
        return fmean(present) if present else None

    return {
        key: (fmean(f[0] for f in of), mean(f[1] for f in of), mean(f[2] for f in of))
        for key, of in found.items()
    }


def _figures(known: Predictions, unknown: Predictions, origins: Sequence[str]) -> Figures:
    correct = known.predicted == known.labels(origins)
    if not len(unknown):
        return float(correct.mean()), None, None
    return (
        float(correct.mean()),
        auroc(known.scores, unknown.scores),
        oscr(known.scores, correct, unknown.scores),
    )
