"""Fit the views of a fusion, and evaluate sets of its members.

A *view* is a feature block with its linear probe, a *vote* is a group of views with a joint weight
(:mod:`whichgen.heads.fusion`), and a *member* is one of the encoders of a combined encoder
(:func:`whichgen.encoders.combinations.combine_encoders`). One probe is fitted for each block and
each *setting*, a pair (C, shrinkage). All sets of members share these probes.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from whichgen.encoders.encoder import Encoder
from whichgen.errors import ConvergenceError, WhichgenWarning
from whichgen.evaluation.predictions import encode_labels
from whichgen.heads.fusion import FusionHead, ViewProbe, build_fusion, fit_view
from whichgen.heads.linear import advise_on_convergence
from whichgen.openset.score import OpenSetScore
from whichgen.openset.score_registry import fit_score
from whichgen.progress import Progress
from whichgen.training.parallel_sweeps import run_in_processes
from whichgen.training.selection import SelectionMetrics, compute_selection_metrics
from whichgen.training.split_features import FoldTables

#: C and shrinkage of a probe.
Setting = tuple[float, float]

#: Blocks of each vote; each block has its own probe.
Votes = tuple[tuple[int, ...], ...]

#: End of the name of a set whose members have one vote each instead of their own votes.
ONE_VOTE_EACH = "one vote each"

#: Open-set score for selecting members, C and shrinkage: agreement of the views.
AGREEMENT = "max_logit"


@dataclass(frozen=True)
class FittedViews:
    """The probes fitted on one fold, and the fold's feature tables.

    Parameters
    ----------
    probes
        ``probes[b][s]`` is the probe of the block with index b at the setting with index s.
    tables
        Feature tables of the fold.
    """

    probes: list[list[ViewProbe]]
    tables: FoldTables


def list_member_sets(encoder: Encoder) -> dict[str, Votes]:
    """Map the name of each nonempty subset of an encoder's members to the votes of the subset.

    A member has one vote for each of its groups of blocks
    (:attr:`whichgen.encoders.encoder.Encoder.block_groups`). If the members of a subset have
    different numbers of votes, the subset is included twice: first with one vote per member, then
    with each member's own votes. The last entry is the set of all members with their own votes.
    """
    full_names = [member["name"] for member in encoder.preprocessing.get("members", ())]
    full_names = full_names or [encoder.name]
    names = [Path(name).name for name in full_names]
    if len(set(names)) < len(names):  # folders with the same name in different places
        names = full_names
    sets: dict[str, Votes] = {}
    for size in range(1, len(names) + 1):
        for members in combinations(range(len(names)), size):
            name = " + ".join(names[m] for m in members)
            if len({len(encoder.block_groups[m]) for m in members}) > 1:
                sets[f"{name}, {ONE_VOTE_EACH}"] = tuple(
                    tuple(chain(*encoder.block_groups[m])) for m in members
                )
            sets[name] = tuple(chain(*(encoder.block_groups[m] for m in members)))
    return sets


def fit_views(
    folds: Sequence[FoldTables],
    blocks: Sequence[int],
    settings: Sequence[Setting],
    jobs: int,
    progress: Progress,
) -> tuple[list[FittedViews], list[Setting]]:
    """Fit one probe per block and setting on each fold.

    Folds with the same known origins and training images share their probes. Settings at which a
    probe of any fold does not converge are left out.

    Parameters
    ----------
    folds
        Feature tables of each fold.
    blocks
        Indices of the blocks: 0, 1, 2 and so on, without gaps.
    settings
        Pairs (C, shrinkage), grouped by shrinkage and ascending in C.
    jobs
        Number of processes; -1 for one per core.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    views
        The probes of each fold, in the order of ``folds``.
    settings
        The settings at which all probes converged, in their order.

    Raises
    ------
    FitError
        A probe can't be fitted (:func:`~whichgen.heads.fusion.fit_view`).
    ConvergenceError
        There is no setting at which all probes converge.
    StoreError
        The features can't be read.

    Warns
    -----
    WhichgenWarning
        A probe does not converge at some settings.
    """
    by_images = {(fold.origins, fold.train.keys): fold.train for fold in reversed(folds)}
    by_shrinkage: dict[float, list[float]] = defaultdict(list)
    for value, shrinkage in settings:
        by_shrinkage[shrinkage].append(value)
    calls = (
        (
            train.read_block(block),
            encode_labels(train.origins, origins),
            len(origins),
            values,
            shrinkage,
        )
        for (origins, _), train in by_images.items()
        for block in blocks
        for shrinkage, values in by_shrinkage.items()
    )
    total = len(by_images) * len(blocks) * len(by_shrinkage)
    results = run_in_processes(fit_view, calls, jobs=jobs)
    fits = iter(list(progress(results, description="Fitting views", total=total)))
    probes = {
        images: [[probe for _ in by_shrinkage for probe in next(fits)] for _ in blocks]
        for images in by_images
    }
    rows = [row for by_block in probes.values() for row in by_block]
    converged_settings = [s for s in range(len(settings)) if all(row[s] for row in rows)]
    failed_settings = [settings[s] for s in range(len(settings)) if s not in converged_settings]
    if failed_settings:
        names = ", ".join(
            f"C = {value:g} (shrinkage {shrinkage:g})" for value, shrinkage in failed_settings
        )
        message = f"linear probes did not converge at {names}"
        if not converged_settings:
            raise ConvergenceError(f"{message}. {advise_on_convergence()}")
        warnings.warn(f"{message}. These values can't be selected.", WhichgenWarning, stacklevel=2)
    views = []
    for fold in folds:
        by_block = probes[fold.origins, fold.train.keys]
        converged_probes = [
            [probe for s in converged_settings if (probe := row[s])] for row in by_block
        ]
        views.append(FittedViews(converged_probes, fold))
    return views, [settings[s] for s in converged_settings]


def evaluate_member_sets(
    views: FittedViews, sets: Mapping[str, Votes], settings: Sequence[Setting]
) -> Iterator[tuple[tuple[str, float, float], SelectionMetrics]]:
    """Compute the metrics of each set of members at each setting, with the score ``max_logit``.

    Parameters
    ----------
    views
        Views fitted on one fold.
    sets
        Votes of each set of members, by name.
    settings
        Pairs (C, shrinkage) for which the views are fitted, as :func:`fit_views` returns them.

    Yields
    ------
    key, metrics
        The tuple (name of the set, C, shrinkage), and its selection metrics on the fold.

    Raises
    ------
    StoreError
        The features can't be read.
    """
    tables = views.tables
    labels = encode_labels(tables.known.origins, tables.origins)
    log_probabilities = [
        [
            np.stack([probe.predict_log_probabilities(table.read_block(block)) for probe in probes])
            for block, probes in enumerate(views.probes)
        ]
        for table in (tables.known, tables.unknown)
    ]
    for name, votes in sets.items():
        pooled = (
            np.mean([np.mean([by_block[b] for b in vote], axis=0) for vote in votes], axis=0)
            for by_block in log_probabilities
        )
        for setting, known, unknown in zip(settings, *pooled, strict=True):
            scores, correct = known.max(axis=1), known.argmax(axis=1) == labels
            yield (name, *setting), compute_selection_metrics(scores, correct, unknown.max(axis=1))


def evaluate_scores(
    tables: FoldTables, head: FusionHead, blocks: Sequence[int], names: Sequence[str]
) -> tuple[dict[str, SelectionMetrics], dict[str, OpenSetScore]]:
    """Fit open-set scores on the training images of a fold, and compute their selection metrics.

    Parameters
    ----------
    tables
        Feature tables of the fold.
    head
        The fusion from whose output the scores are computed.
    blocks
        Indices of the blocks that are the input of the fusion.
    names
        Names of the open-set scores.

    Returns
    -------
    metrics, scores
        Two dictionaries, which map the name of each score to its selection metrics and to the
        fitted score.

    Raises
    ------
    FitError
        A score can't be fitted (:func:`~whichgen.openset.score_registry.fit_score`).
    StoreError
        The features can't be read.
    """
    origins, *splits = tables
    train, known, unknown = (head.forward(table.read_blocks(blocks)) for table in splits)
    labels, known_labels = (encode_labels(table.origins, origins) for table in splits[:2])
    correct = known.logits.argmax(axis=1) == known_labels
    fitted_scores = {name: fit_score(name, train, labels, len(origins)) for name in names}
    metrics = {
        name: compute_selection_metrics(score(known), correct, score(unknown))
        for name, score in fitted_scores.items()
    }
    return metrics, fitted_scores


def fuse_views(views: FittedViews, votes: Votes, setting: int) -> FusionHead:
    """Build a fusion from the probes of one setting.

    Parameters
    ----------
    views
        Views fitted on one fold.
    votes
        Blocks of each vote.
    setting
        Index of the setting among those that :func:`fit_views` returns.

    Raises
    ------
    StoreError
        The features of the training images can't be read.
    """
    blocks = list(chain(*votes))
    probes = [views.probes[block][setting] for block in blocks]
    return build_fusion(
        probes, [len(vote) for vote in votes], views.tables.train.read_blocks(blocks)
    )
