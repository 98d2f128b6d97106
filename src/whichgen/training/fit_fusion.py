"""Fusing what several views say: which members, which C and which open-set score are chosen.

The choice is made on the protocol's validation folds, in two steps: members, C and shrinkage by the
agreement of the views (the score ``max_logit``; see :mod:`whichgen.heads.fusion`), then the
open-set score among all of :data:`whichgen.openset.registry.SCORES`, which must beat it by a
margin. A view is fitted once for all C of a shrinkage, and serves every set of members that it is
in.

Where training holds perturbed copies, all is chosen as if it did not; then each kind of
perturbation gets a fusion of its own with what was chosen (:mod:`whichgen.heads.experts`). Only the
votes are chosen again, on validation images of that kind: what traces are worth depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from whichgen.constants import TPR
from whichgen.encoders.base import Encoder
from whichgen.errors import FitError
from whichgen.evaluation.calibration import fit_temperature
from whichgen.evaluation.predictions import label_indices
from whichgen.evaluation.protocols import (
    Protocol,
    add_leave_out_folds,
    check_protocol,
    make_protocol,
)
from whichgen.heads.experts import ExpertsHead, ExpertsMethod
from whichgen.heads.fusion import FUSION_C, SHRINKAGES, FusionHead, FusionMethod
from whichgen.io.run_metadata import collect_run_metadata
from whichgen.models.origin_model import OriginModel
from whichgen.openset.base import OpenSetScore
from whichgen.openset.registry import SCORES, score_method
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize import EvaluatedModel, tested
from whichgen.training.selection import METRICS, check_metric
from whichgen.training.split_features import SplitFeatures, fold_tables, perturbed
from whichgen.training.sweeps import run_in_processes
from whichgen.training.views import (
    AGREEMENT,
    Figures,
    FittedViews,
    Votes,
    average_metrics,
    evaluate_member_sets,
    evaluate_scores,
    fit_views,
    fuse_views,
    member_sets,
)

#: All members are fused with their own votes, unless fewer, or a vote each, are better by more than
#: this on validation. What the others add, disagreement about images like none seen, shows little
#: on the few generators there.
MEMBERS_MARGIN = 0.03

#: Another score replaces agreement if it is better by more than this on validation: the best of a
#: dozen on some tens of unknown images is mostly the luckiest.
SCORE_MARGIN = 0.02


@dataclass(frozen=True)
class FusionOptions:
    """How a fusion is chosen.

    Parameters
    ----------
    values
        The values of C.
    shrinkages
        The values of shrinkage (:mod:`whichgen.heads.fusion`).
    scores
        Open-set scores to choose among.
    metric, protocol, tpr, seed, jobs, thumbnails
        See :class:`whichgen.training.fit_block.FitOptions`.
    """

    values: tuple[float, ...] = FUSION_C
    shrinkages: tuple[float, ...] = SHRINKAGES
    scores: tuple[str, ...] = tuple(SCORES)
    metric: str = "OSCR"
    protocol: str = "clean"
    tpr: float = TPR
    seed: int = 0
    jobs: int = -1
    thumbnails: bool = False

    def __post_init__(self) -> None:
        check_protocol(self.protocol)
        check_metric(self.metric)
        for name in self.scores:
            score_method(name)
        if not self.values or min(self.values) <= 0 or not self.scores:
            raise FitError("a fusion needs positive values of C and at least one open-set score.")
        if not self.shrinkages or not all(0 < shrinkage <= 1 for shrinkage in self.shrinkages):
            raise FitError("a fusion needs values of shrinkage over 0 and at most 1.")


@dataclass(frozen=True)
class FusionCandidate:
    """Members, C, shrinkage and score: validation metrics, and test ones that chose nothing.

    ``None`` stands where there are no unknown images.
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

    def metric(self, name: str) -> float:
        """The validation value of one of :data:`~whichgen.training.selection.METRICS`."""
        wanted: float | None = getattr(self, METRICS[name])
        return self.accuracy if wanted is None else wanted


@dataclass(frozen=True)
class FusionResult(EvaluatedModel):
    """The result of :func:`fuse`.

    ``members`` compares the sets of members, each at its best C and shrinkage; ``scores`` the
    open-set scores at the chosen members, C and shrinkage; ``grid`` is every candidate of the
    first step. ``head_method`` is the one that fitted the head. ``experts`` are the kinds of
    perturbation that have an expert, the first one without any, and what was chosen for each
    (empty: there are no experts).
    """

    best: FusionCandidate
    members: tuple[FusionCandidate, ...]
    scores: tuple[FusionCandidate, ...]
    grid: tuple[FusionCandidate, ...]
    head_method: FusionMethod | ExpertsMethod
    experts: tuple[tuple[str, FusionCandidate], ...]


def fuse(
    parts: SplitFeatures,
    encoder: Encoder,
    options: FusionOptions,
    *,
    config: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> FusionResult:
    """Fits every view, chooses, calibrates, sets the threshold and tests.

    Parameters
    ----------
    config
        What the user asked for, kept in the model's run metadata.
    """
    protocol = add_leave_out_folds(
        make_protocol(parts.dataset, options.protocol, seed=options.seed),
        parts.dataset.known,
        options.seed,
    )
    sets = member_sets(encoder)
    settings = [(s, c) for s in options.shrinkages for c in sorted(options.values)]
    known = parts.dataset.known
    names, kinds = np.unique(parts.tables["train"].kinds, return_inverse=True)
    plain = parts.with_train(np.flatnonzero(kinds == 0))
    tests = (parts.tables[protocol.test_split], parts.tables["test_unknown"])
    jobs = [(known, plain.tables["train"], *tests)]
    jobs += [(fold.known, *fold_tables(plain, fold)) for fold in protocol.folds]
    # A fold that leaves no known origin out has the final fit's training images.
    trained = {of: train for of, train, *_ in reversed(jobs)}
    every = range(len(encoder.block_dims))
    paths = fit_views(trained, every, settings, jobs=options.jobs, progress=progress)
    final, *folds = (FittedViews(paths[of], of, *tables) for of, *tables in jobs)

    grid = [
        FusionCandidate(name, value, shrinkage, AGREEMENT, *figures)
        for (name, (shrinkage, value)), figures in average_metrics(
            evaluate_member_sets(fold, sets, settings) for fold in folds
        ).items()
    ]
    with_test_metrics = dict(evaluate_member_sets(final, sets, settings))
    of_each = [
        max((c for c in grid if c.members == name), key=lambda c: c.metric(options.metric))
        for name in sets
    ]
    members = tuple(
        _with_test(c, with_test_metrics[c.members, (c.shrinkage, c.value)]) for c in of_each
    )
    best = _unless_beaten(of_each[-1], of_each, options.metric, MEMBERS_MARGIN)

    votes = sets[best.members]
    at = settings.index((best.shrinkage, best.value))
    blocks = tuple(block for vote in votes for block in vote)
    heads = [fuse_views(fitted, votes, at) for fitted in (final, *folds)]
    fitted_scores: dict[str, OpenSetScore] = {}
    of_score: list[dict[str, Figures]] = []
    for fitted, head in zip((final, *folds), heads, strict=True):
        figures_of, found = evaluate_scores(fitted, head, blocks, options.scores)
        of_score.append(figures_of)
        fitted_scores = fitted_scores or found
    scores = tuple(
        _with_test(
            FusionCandidate(best.members, best.value, best.shrinkage, name, *figures),
            of_score[0][name],
        )
        for name, figures in average_metrics(d.items() for d in of_score[1:]).items()
    )
    usual = next((c for c in scores if c.score == AGREEMENT), scores[0])
    chosen = _unless_beaten(usual, scores, options.metric, SCORE_MARGIN)

    found_head: FusionHead | ExpertsHead = heads[0]
    score = fitted_scores[chosen.score]
    fusion = FusionMethod(heads[0].widths, best.shrinkage, heads[0].votes)
    head_method: FusionMethod | ExpertsMethod = fusion
    experts: list[tuple[str, FusionCandidate]] = []
    if len(names) > 1:
        experts = [("", best)]
        for kind in names[1:].tolist():
            of_kind = best
            if perturbed("val") in parts.tables:
                of_kind = _with_votes(
                    best, parts.of_kind(kind), protocol, sets, options=options, progress=progress
                )
            experts.append((kind, of_kind))
        sizes = [tuple(len(vote) for vote in sets[found.members]) for _, found in experts]
        head_method = ExpertsMethod(fusion, kinds, tuple(sizes))
        train = parts.tables["train"]
        x, labels = train.blocks(blocks), label_indices(train.origins, known)
        # One call, in a worker for its single BLAS thread.
        fits = run_in_processes(
            head_method.fit, [(x, labels, len(known), best.value)], jobs=options.jobs
        )
        (found_head,) = progress(fits, description="Fitting experts", total=1)
        score = score_method(chosen.score).fit(found_head.forward(x), labels, len(known))

    val = parts.tables["val"]
    draft = OriginModel(
        origins=known,
        encoder=encoder.describe(),
        blocks=blocks,
        head_method=head_method.name,
        hyperparameter=best.value,
        head=found_head,
        threshold=float("nan"),
        tpr=options.tpr,
        data_hash=parts.data_hash,
        metrics={},
        run_metadata=collect_run_metadata(
            {**(config or {}), "protocol": options.protocol, "metric": options.metric},
            seeds={"seed": options.seed},
            encoder=encoder.describe(),
            data_hash=parts.data_hash,
        ),
        score_method=chosen.score,
        score=score,
        temperature=fit_temperature(
            found_head.forward(val.blocks(blocks)).logits, label_indices(val.origins, known)
        ),
    )
    result = tested(draft, parts, protocol, options.metric, thumbnails=options.thumbnails)
    return FusionResult(
        **vars(result),
        best=chosen,
        members=members,
        scores=scores,
        grid=tuple(grid),
        head_method=head_method,
        experts=tuple(experts),
    )


def _with_votes(
    chosen: FusionCandidate,
    parts: SplitFeatures,
    protocol: Protocol,
    sets: Mapping[str, Votes],
    *,
    options: FusionOptions,
    progress: Progress,
) -> FusionCandidate:
    """The candidate with the votes that are best on these parts; its blocks, C and shrinkage."""
    blocks = list(chain(*sets[chosen.members]))
    same = {name: votes for name, votes in sets.items() if list(chain(*votes)) == blocks}
    folds = [(fold.known, *fold_tables(parts, fold)) for fold in protocol.folds]
    trained = {of: train for of, train, *_ in reversed(folds)}
    setting = (chosen.shrinkage, chosen.value)
    paths = fit_views(
        trained, range(max(blocks) + 1), [setting], jobs=options.jobs, progress=progress
    )
    figures = average_metrics(
        evaluate_member_sets(FittedViews(paths[of], of, *tables), same, [setting])
        for of, *tables in folds
    )
    found = {
        name: FusionCandidate(name, chosen.value, chosen.shrinkage, AGREEMENT, *of_name)
        for (name, _), of_name in figures.items()
    }
    return _unless_beaten(found[chosen.members], list(found.values()), options.metric, 0)


def _unless_beaten(
    usual: FusionCandidate, others: Sequence[FusionCandidate], metric: str, margin: float
) -> FusionCandidate:
    """The usual candidate, or the best of the others if it is better by more than the margin."""
    best = max(others, key=lambda c: c.metric(metric))
    return best if best.metric(metric) > usual.metric(metric) + margin else usual


def _with_test(candidate: FusionCandidate, figures: Figures) -> FusionCandidate:
    accuracy, area, open_set = figures
    return replace(candidate, test_accuracy=accuracy, test_auroc=area, test_oscr=open_set)
