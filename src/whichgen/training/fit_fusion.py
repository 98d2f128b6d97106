"""Train a fusion of several views: select members, C, shrinkage and open-set score.

The selection uses the protocol's validation folds, in two steps: members, C and shrinkage by the
agreement of the views (the score ``max_logit``; see :mod:`whichgen.heads.fusion`), then the
open-set score among all of :data:`whichgen.openset.registry.SCORES`, which must beat agreement by a
margin. A view is fitted once for all C of a shrinkage, and serves every set of members that
contains it.

If training contains perturbed copies, everything is selected without them; then each kind of
perturbation gets a fusion of its own with the same settings (:mod:`whichgen.heads.experts`). Only
the votes are selected again, on validation images of that kind, because the value of residual
statistics (``traces``) depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from whichgen.encoders.base import Encoder
from whichgen.errors import FitError
from whichgen.evaluation.calibration import fit_temperature
from whichgen.evaluation.predictions import label_indices
from whichgen.evaluation.protocols import Protocol, add_leave_out_folds, make_protocol
from whichgen.heads.experts import ExpertsHead, ExpertsMethod
from whichgen.heads.fusion import FUSION_C, SHRINKAGES, FusionHead, FusionMethod
from whichgen.openset.base import OpenSetScore
from whichgen.openset.registry import SCORES, score_method
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize import (
    EvaluatedModel,
    SelectedHead,
    evaluate_model,
    finalize_model,
)
from whichgen.training.selection import SelectionMetrics, SelectionOptions, metric_value
from whichgen.training.split_features import SplitFeatures, fold_tables, perturbed_name
from whichgen.training.sweeps import run_in_processes
from whichgen.training.views import (
    AGREEMENT,
    Setting,
    Votes,
    average_by_key,
    evaluate_member_sets,
    evaluate_scores,
    fit_views,
    fuse_views,
    member_sets,
)

#: All members are fused with their own votes unless fewer members, or one vote each, are better by
#: more than this on validation. What the other members add, disagreement about unfamiliar images,
#: hardly shows on the few generators of validation.
MEMBERS_MARGIN = 0.03

#: Another score replaces agreement if it is better by more than this on validation: the best of a
#: dozen scores on some tens of unknown images is mostly the luckiest.
SCORE_MARGIN = 0.02


@dataclass(frozen=True)
class FusionOptions(SelectionOptions):
    """Options of :func:`fuse`.

    Parameters
    ----------
    values, shrinkages
        Values of C and of shrinkage to try (:mod:`whichgen.heads.fusion`).
    scores
        Open-set scores to choose from.
    """

    values: tuple[float, ...] = FUSION_C
    shrinkages: tuple[float, ...] = SHRINKAGES
    scores: tuple[str, ...] = tuple(SCORES)
    metric: str = field(default="OSCR", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.scores:
            score_method(name)
        if not self.values or min(self.values) <= 0 or not self.scores:
            raise FitError("a fusion needs positive values of C and at least one open-set score.")
        if not self.shrinkages or not all(0 < shrinkage <= 1 for shrinkage in self.shrinkages):
            raise FitError("a fusion needs values of shrinkage over 0 and at most 1.")

    @property
    def settings(self) -> list[Setting]:
        """Every pair of shrinkage and C."""
        return [(s, c) for s in self.shrinkages for c in sorted(self.values)]


@dataclass(frozen=True)
class FusionCandidate:
    """Members, C, shrinkage and score, with metrics on validation and on test (not selected by).

    Metrics are ``None`` without unknown images.
    """

    members: str
    value: float
    shrinkage: float
    score: str
    accuracy: float
    auroc: float | None
    oscr: float | None
    test_accuracy: float | None = None
    test_auroc: float | None = None
    test_oscr: float | None = None


@dataclass(frozen=True)
class FusionResult(EvaluatedModel):
    """The result of :func:`fuse`.

    Parameters
    ----------
    best
        The selected candidate.
    members
        Each set of members at its best C and shrinkage.
    scores
        Each open-set score with the selected members, C and shrinkage.
    grid
        Every candidate of the first step.
    head_method
        The method that fitted the head.
    experts
        Each kind of perturbation that has an expert (first "", for unchanged images) with its
        candidate; empty without experts.
    """

    best: FusionCandidate
    members: tuple[FusionCandidate, ...]
    scores: tuple[FusionCandidate, ...]
    grid: tuple[FusionCandidate, ...]
    head_method: FusionMethod | ExpertsMethod
    experts: tuple[tuple[str, FusionCandidate], ...]


def fuse(
    features: SplitFeatures,
    encoder: Encoder,
    options: FusionOptions,
    *,
    config: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> FusionResult:
    """Fit every view, select, calibrate, set the threshold, and evaluate the model.

    ``config`` holds the user's settings, kept in the model's run metadata.
    """
    known, metric, settings = features.dataset.known, options.metric, options.settings
    protocol = make_protocol(features.dataset, options.protocol, seed=options.seed)
    protocol = add_leave_out_folds(protocol, known, options.seed)
    sets = member_sets(encoder)
    train, val = features.tables["train"], features.tables["val"]
    kinds, kind_indices = np.unique(train.kinds, return_inverse=True)
    unchanged = features.with_training_rows(np.flatnonzero(kind_indices == 0))
    test = (features.tables[protocol.test_split], features.tables["test_unknown"])
    folds = [(fold.known, fold_tables(unchanged, fold)) for fold in protocol.folds]
    final, *views = fit_views(
        [(known, (unchanged.tables["train"], *test)), *folds],
        range(len(encoder.block_dims)),
        settings,
        jobs=options.jobs,
        progress=progress,
    )

    metrics = average_by_key(evaluate_member_sets(fold, sets, settings) for fold in views)
    grid = [
        FusionCandidate(name, value, shrinkage, AGREEMENT, *averages)
        for (name, (shrinkage, value)), averages in metrics.items()
    ]
    test_metrics = dict(evaluate_member_sets(final, sets, settings))
    per_set = [
        max((c for c in grid if c.members == name), key=lambda c: metric_value(c, metric))
        for name in sets
    ]
    best = _select_unless_beaten(per_set[-1], per_set, metric, MEMBERS_MARGIN)

    votes, setting = sets[best.members], settings.index((best.shrinkage, best.value))
    blocks = tuple(chain(*votes))
    fusion_head = fuse_views(final, votes, setting)
    test_by_score, fitted = evaluate_scores(final, fusion_head, blocks, options.scores)
    score_metrics = average_by_key(
        evaluate_scores(fold, fuse_views(fold, votes, setting), blocks, options.scores)[0].items()
        for fold in views
    )
    scores = [
        _add_test_metrics(
            FusionCandidate(best.members, best.value, best.shrinkage, name, *averages),
            test_by_score[name],
        )
        for name, averages in score_metrics.items()
    ]
    usual = next((c for c in scores if c.score == AGREEMENT), scores[0])
    selected = _select_unless_beaten(usual, scores, metric, SCORE_MARGIN)

    head: FusionHead | ExpertsHead = fusion_head
    score: OpenSetScore = fitted[selected.score]
    fusion = FusionMethod(fusion_head.widths, best.shrinkage, fusion_head.votes)
    method: FusionMethod | ExpertsMethod = fusion
    experts: list[tuple[str, FusionCandidate]] = []
    if len(kinds) > 1:
        experts = [("", best)]
        for kind in kinds[1:].tolist():
            expert = best
            if perturbed_name("val") in features.tables:
                copies = features.select_perturbation(kind)
                expert = _select_votes(
                    best, copies, protocol, sets, options=options, progress=progress
                )
            experts.append((kind, expert))
        sizes = tuple(tuple(map(len, sets[expert.members])) for _, expert in experts)
        method = ExpertsMethod(fusion, kind_indices, sizes)
        x, labels = train.blocks(blocks), label_indices(train.origins, known)
        # One call, in a worker for its single BLAS thread.
        calls = [(x, labels, len(known), best.value)]
        fits = run_in_processes(method.fit, calls, jobs=options.jobs)
        (head,) = progress(fits, description="Fitting experts", total=1)
        score = score_method(selected.score).fit(head.forward(x), labels, len(known))

    val_logits = head.forward(val.blocks(blocks)).logits
    temperature = fit_temperature(val_logits, label_indices(val.origins, known))
    model = finalize_model(
        SelectedHead(head, method.name, best.value, blocks, selected.score, score, temperature),
        features,
        encoder,
        options,
        config,
    )
    return evaluate_model(
        FusionResult,
        model,
        features,
        protocol,
        options,
        best=selected,
        members=tuple(
            _add_test_metrics(c, test_metrics[c.members, (c.shrinkage, c.value)]) for c in per_set
        ),
        scores=tuple(scores),
        grid=tuple(grid),
        head_method=method,
        experts=tuple(experts),
    )


def _select_votes(
    best: FusionCandidate,
    features: SplitFeatures,
    protocol: Protocol,
    sets: Mapping[str, Votes],
    *,
    options: FusionOptions,
    progress: Progress,
) -> FusionCandidate:
    """Select the votes on these features, with the candidate's blocks, C and shrinkage."""
    blocks = list(chain(*sets[best.members]))
    same_blocks = {name: votes for name, votes in sets.items() if list(chain(*votes)) == blocks}
    setting = (best.shrinkage, best.value)
    views = fit_views(
        [(fold.known, fold_tables(features, fold)) for fold in protocol.folds],
        range(max(blocks) + 1),
        [setting],
        jobs=options.jobs,
        progress=progress,
    )
    metrics = average_by_key(evaluate_member_sets(fold, same_blocks, [setting]) for fold in views)
    candidates = {
        name: FusionCandidate(name, best.value, best.shrinkage, AGREEMENT, *averages)
        for (name, _), averages in metrics.items()
    }
    usual = candidates[best.members]
    return _select_unless_beaten(usual, list(candidates.values()), options.metric, 0)


def _select_unless_beaten(
    usual: FusionCandidate, others: Sequence[FusionCandidate], metric: str, margin: float
) -> FusionCandidate:
    """Return the usual candidate, or the best other one if it is better by more than the margin."""
    best = max(others, key=lambda c: metric_value(c, metric))
    return best if metric_value(best, metric) > metric_value(usual, metric) + margin else usual


def _add_test_metrics(candidate: FusionCandidate, metrics: SelectionMetrics) -> FusionCandidate:
    accuracy, auroc, oscr = metrics
    return replace(candidate, test_accuracy=accuracy, test_auroc=auroc, test_oscr=oscr)
