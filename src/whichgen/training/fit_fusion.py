"""Fit the views of a fusion, and select its members, C, shrinkage and open-set score.

A fusion (:mod:`whichgen.heads.fusion`) averages the log-probabilities of linear probes. A *view* is
a feature block with its probe, a *vote* is a group of views with a joint weight, and a *member* is
one of the combined encoders. Selection uses the mean of the validation metric over the folds of the
protocol, in two steps. If the training images have sources and the protocol is not ``paper``, the
folds are divided by source (:func:`whichgen.training.held_out.make_source_folds`).

1. Members, C and shrinkage are selected with the open-set score ``max_logit``, which measures the
   agreement of the views. All members with their own votes (on folds of sources: with one vote per
   member) are used, unless other members or votes improve the metric by more than
   :data:`MEMBERS_MARGIN`.
2. The open-set score is selected from :attr:`FusionOptions.scores`. The default is ``max_logit``
   or, if it is not among them, the first score. Another score is selected if it improves the metric
   by more than :data:`SCORE_MARGIN`; on folds of sources, the default is always used.

If the training set contains perturbed copies, only unchanged images are used for this selection.
Then one *expert*, a fusion with the same blocks, C and shrinkage, is fitted to the unchanged images
and one to the copies with each kind of perturbation (:mod:`whichgen.heads.experts`). If there are
perturbed copies of the validation images, the votes of the expert for a kind of perturbation are
selected on copies of that kind, because perturbations make residual statistics (``traces``) less
informative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from whichgen.encoders.encoder import Encoder
from whichgen.errors import FitError
from whichgen.evaluation.calibration import fit_temperature
from whichgen.evaluation.predictions import encode_labels
from whichgen.evaluation.protocols import PAPER, Fold, add_leave_out_folds, make_protocol
from whichgen.heads.experts import ExpertsHead, ExpertsMethod
from whichgen.heads.fusion import FUSION_C, SHRINKAGES, FusionHead, FusionMethod
from whichgen.openset.score_registry import SCORES, fit_score, get_score_class
from whichgen.progress import Progress, no_progress
from whichgen.training.finalize_model import (
    EvaluatedModel,
    SelectedHead,
    evaluate_model,
    finalize_model,
)
from whichgen.training.fit_views import (
    AGREEMENT,
    ONE_VOTE_EACH,
    FittedViews,
    Setting,
    Votes,
    evaluate_member_sets,
    evaluate_scores,
    fit_views,
    fuse_views,
    list_member_sets,
)
from whichgen.training.held_out import (
    has_sources,
    make_source_folds,
    pool_training_images,
    predict_held_out,
    predict_images,
    select_validation_tables,
)
from whichgen.training.parallel_sweeps import run_in_processes
from whichgen.training.selection import (
    FusionCandidate,
    SelectionMetrics,
    SelectionOptions,
    average_by_key,
    get_metric,
    select_best,
)
from whichgen.training.split_features import (
    FoldTables,
    SplitFeatures,
    name_perturbed_table,
    select_fold_tables,
)

#: Other members or votes than the default are selected if they improve the validation metric by
#: more than this value. More members help because they disagree about unknown images, but the few
#: generators of a validation set are not enough to measure this reliably.
MEMBERS_MARGIN = 0.03

#: Another open-set score than the default is selected if it improves the validation metric by more
#: than this value. With few unknown images, the best of a dozen scores is often best by chance.
SCORE_MARGIN = 0.02


@dataclass(frozen=True)
class FusionOptions(SelectionOptions):
    """Options of :func:`fuse`: those of :class:`SelectionOptions`, and the values to try.

    Parameters
    ----------
    values, shrinkages
        Values of C, positive and finite, and of shrinkage, in (0, 1], to try
        (:mod:`whichgen.heads.fusion`).
    scores
        Names of the open-set scores to try, from
        :data:`~whichgen.openset.score_registry.SCORES`.
    metric
        Validation metric to maximize: ``AUC``, ``OSCR`` or ``accuracy``.

    Raises
    ------
    DataError
        The protocol does not exist.
    FitError
        A score does not exist, a value of C is not positive and finite, there is no value of C,
        shrinkage or score, or another option is invalid
        (:class:`~whichgen.training.selection.SelectionOptions`).
    """

    values: tuple[float, ...] = FUSION_C
    shrinkages: tuple[float, ...] = SHRINKAGES
    scores: tuple[str, ...] = tuple(SCORES)
    metric: str = field(default="OSCR", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.scores:
            get_score_class(name)
        if invalid := [value for value in self.values if not 0 < value < np.inf]:
            raise FitError(
                f"C is {invalid[0]:g}, but it must be positive and finite. Choose another value."
            )
        if not self.values or not self.shrinkages or not self.scores:
            raise FitError(
                "a fusion needs at least one C, one shrinkage and one open-set score. Specify the "
                "missing values."
            )


@dataclass(frozen=True)
class FusionResult(EvaluatedModel):
    """The result of :func:`fuse`.

    Parameters
    ----------
    best
        The selected candidate, with validation and test metrics of the fusion without experts.
    members
        Best candidate for each set of members, with validation and test metrics.
    scores
        One candidate per open-set score, with the selected members, C and shrinkage, and with
        validation and test metrics.
    grid
        One candidate for each set of members and each pair of C and shrinkage at which all probes
        converged, with validation metrics.
    head_method
        The method that fitted the head.
    experts
        Pairs (kind of perturbation, candidate), one per expert. The first kind is ``""``, for
        unchanged images. Empty without experts.
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
    """Fit all views, select the fusion, and evaluate the model on the test images.

    Parameters
    ----------
    features
        Features of all splits. Perturbed copies are optional; they can be of the training images,
        or of the images of all :data:`~whichgen.training.split_features.FITTING_SPLITS`.
    encoder
        The encoder that computed the features.
    options
        Values to try, and options of the selection.
    config
        Configuration to store in the model's run metadata.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    FusionResult
        The model with its validation and test metrics.

    Raises
    ------
    DataError
        The protocol is ``paper``, and the dataset has no unknown validation images; the images have
        sources, and all images of a known origin are in the same fold; there are no known test
        images; or SOURCE_DATE_EPOCH is not a valid time.
    FitError
        A shrinkage is not in (0, 1], a feature is not finite, there are no validation images of
        known origins, or a known origin has no training image or no readable copy with some kind of
        perturbation.
    ConvergenceError
        There is no pair of C and shrinkage at which all probes converge, or a probe of an expert or
        of the gate does not converge.
    StoreError
        The features or the facts about the images can't be read or written.

    Warns
    -----
    WhichgenWarning
        A probe does not converge at some pairs of C and shrinkage, which are left out.
    """
    known = features.dataset.known
    protocol = make_protocol(features.dataset, options.protocol, seed=options.seed)
    by_source = has_sources(features) and protocol.name != PAPER
    if by_source:
        features = pool_training_images(features)
    else:
        protocol = add_leave_out_folds(protocol, known, options.seed)
    sets = list_member_sets(encoder)
    settings = [(c, s) for s in options.shrinkages for c in sorted(options.values)]
    train = features.tables["train"]
    unchanged_features = features.select_perturbation("")
    held_out_tables: list[FoldTables] = []
    if by_source:
        tables = make_source_folds(unchanged_features, protocol.folds, options.seed)
        # The final head knows all origins, unlike the heads of folds that hold out generators.
        all_known = [fold for fold in protocol.folds if fold.unknown_split == "val_unknown"]
        all_known = all_known or [Fold(known, (), "val")]
        held_out_tables = make_source_folds(unchanged_features, all_known, options.seed)
    else:
        tables = [select_fold_tables(unchanged_features, fold) for fold in protocol.folds]
    full_tables = FoldTables(
        known, unchanged_features.tables["train"], *features.select_test_tables(protocol)
    )
    blocks = range(len(encoder.block_dims))
    all_tables = [full_tables, *tables, *held_out_tables]
    (full_views, *views), settings = fit_views(all_tables, blocks, settings, options.jobs, progress)
    folds, held_out_views = views[: len(tables)], views[len(tables) :]

    grid = compare_members(folds, sets, settings)
    members = [select_best([c for c in grid if c.members == m], options.metric) for m in sets]
    # On new sources, more than one vote per member does not improve the metrics.
    one_vote_candidate = next(
        (c for c in reversed(members) if c.members.endswith(ONE_VOTE_EACH)), members[-1]
    )
    default = one_vote_candidate if by_source else members[-1]
    best = _select_with_margin(default, members, options.metric, MEMBERS_MARGIN)

    votes, setting = sets[best.members], settings.index(best.setting)
    selected_blocks = tuple(chain(*votes))
    fusion = fuse_views(full_views, votes, setting)
    averages = {AGREEMENT: SelectionMetrics(best.accuracy, best.auroc, best.oscr)}
    if options.scores != (AGREEMENT,):
        score_metrics = (
            evaluate_scores(
                fold.tables, fuse_views(fold, votes, setting), selected_blocks, options.scores
            )
            for fold in folds
        )
        items = chain.from_iterable(m.items() for m, _ in score_metrics)
        averages = average_by_key(items, len(folds))
    test_metrics, fitted_scores = evaluate_scores(
        full_tables, fusion, selected_blocks, options.scores
    )
    scores = [
        _add_test_metrics(replace(best, score=name, **m._asdict()), test_metrics[name])
        for name, m in averages.items()
    ]
    default = next((c for c in scores if c.score == AGREEMENT), scores[0])
    # On new sources, scores selected on few unknown generators are no better than the default.
    selected = default
    if not by_source:
        selected = _select_with_margin(default, scores, options.metric, SCORE_MARGIN)

    fusion_method = FusionMethod(fusion.widths, best.shrinkage, fusion.views_per_vote)
    method: FusionMethod | ExpertsMethod = fusion_method
    head: FusionHead | ExpertsHead = fusion
    score, experts = fitted_scores[selected.score], []
    if len(kinds := sorted(set(train.kinds.tolist()))) > 1:
        experts = [("", best)]
        for kind in kinds[1:]:
            candidate = best
            if name_perturbed_table("val") in features.tables:
                copies = features.select_perturbation(kind)
                tables = [select_fold_tables(copies, fold) for fold in protocol.folds]
                candidate = select_votes(tables, sets, best, options, progress)
            experts.append((kind, candidate))
        sizes = tuple(tuple(map(len, sets[expert.members])) for _, expert in experts)
        method = ExpertsMethod(fusion_method, np.searchsorted(kinds, train.kinds), sizes)
        x, labels = train.read_blocks(selected_blocks), encode_labels(train.origins, known)
        # run_in_processes limits BLAS to one thread, so that the result does not depend on the
        # number of cores.
        calls = [(x, labels, len(known), best.value)]
        fits = run_in_processes(method.fit, calls, jobs=options.jobs)
        (head,) = progress(fits, description="Fitting experts", total=1)
        score = fit_score(selected.score, head.forward(x), labels, len(known))

    if by_source:
        heads = ((fold.tables, fuse_views(fold, votes, setting)) for fold in held_out_views)
        held_out = predict_held_out(heads, selected_blocks, selected.score)
    else:
        held_out = predict_images(select_validation_tables(features), head, score, selected_blocks)
    temperature = fit_temperature(held_out.known.output.logits, held_out.known.labels)
    selected_head = SelectedHead(
        head, method.name, best.value, selected_blocks, selected.score, score, temperature
    )
    model = finalize_model(
        selected_head, features, encoder, options, config=config, held_out=held_out
    )
    member_metrics = dict(evaluate_member_sets(full_views, sets, settings))
    return FusionResult(
        **vars(evaluate_model(model, features, protocol, options)),
        best=selected,
        members=tuple(_add_test_metrics(c, member_metrics[c.members, *c.setting]) for c in members),
        scores=tuple(scores),
        grid=tuple(grid),
        head_method=method,
        experts=tuple(experts),
    )


def compare_members(
    folds: Sequence[FittedViews], sets: Mapping[str, Votes], settings: Sequence[Setting]
) -> list[FusionCandidate]:
    """Evaluate each set of members at each setting, and average the metrics over folds.

    The open-set score is ``max_logit``.

    Parameters
    ----------
    folds
        Views fitted on each fold, with the fold's feature tables.
    sets
        Votes of each set of members, by name.
    settings
        Pairs (C, shrinkage) for which the views are fitted, as :func:`fit_views` returns them.

    Returns
    -------
    list of FusionCandidate
        One candidate per set and setting, with validation metrics only.

    Raises
    ------
    StoreError
        The features can't be read.
    """
    results = (evaluate_member_sets(fold, sets, settings) for fold in folds)
    averages = average_by_key(chain.from_iterable(results), len(folds))
    return [FusionCandidate(*key, AGREEMENT, *metrics) for key, metrics in averages.items()]


def select_votes(
    folds: Sequence[FoldTables],
    sets: Mapping[str, Votes],
    best: FusionCandidate,
    options: FusionOptions,
    progress: Progress,
) -> FusionCandidate:
    """Select the votes of an expert on validation images with its kind of perturbation.

    Parameters
    ----------
    folds
        Feature tables of each fold, which contain only images with this kind of perturbation.
    sets
        Votes of each set of members, by name.
    best
        The candidate selected on unchanged images. The expert uses its blocks, C and shrinkage, and
        also its votes unless other votes of the same blocks have a better validation metric.
    options
        Options of the fusion, of which the metric and the number of processes are used.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    FusionCandidate
        The candidate with the selected votes and its metrics on these images.

    Raises
    ------
    FitError
        A feature is not finite, or a known origin has no image with this kind of perturbation.
    ConvergenceError
        A probe does not converge.
    StoreError
        The features can't be read.
    """
    blocks = list(chain(*sets[best.members]))
    same_blocks = {name: votes for name, votes in sets.items() if list(chain(*votes)) == blocks}
    views, _ = fit_views(folds, range(max(blocks) + 1), [best.setting], options.jobs, progress)
    candidates = compare_members(views, same_blocks, [best.setting])
    default = next(c for c in candidates if c.members == best.members)
    return _select_with_margin(default, candidates, options.metric, 0)


def _select_with_margin(
    default: FusionCandidate, candidates: Sequence[FusionCandidate], metric: str, margin: float
) -> FusionCandidate:
    """Return the best candidate if its metric is more than ``margin`` above that of ``default``.

    Otherwise, return ``default``.
    """
    best = select_best(candidates, metric)
    return best if get_metric(best, metric) > get_metric(default, metric) + margin else default


def _add_test_metrics(candidate: FusionCandidate, metrics: SelectionMetrics) -> FusionCandidate:
    accuracy, auroc, oscr = metrics
    return replace(candidate, test_accuracy=accuracy, test_auroc=auroc, test_oscr=oscr)
