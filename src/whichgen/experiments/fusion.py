"""Fusing what several views say: which members, which C and which open-set score are chosen.

The choice is made on the protocol's validation folds, in two steps: members and C by the agreement
of the views (the score ``max_logit``; see :mod:`whichgen.heads.fusion`), then the open-set score
among all of :data:`whichgen.openset.catalogue.SCORES`, which must beat it by a margin. A view is
fitted once for all C, and serves every set of members that it is in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from whichgen.attribution.model import OriginModel
from whichgen.data.duplicates import Track, untracked
from whichgen.encoders.encoder import Encoder
from whichgen.errors import FitError
from whichgen.evaluation.calibration import temperature
from whichgen.evaluation.detection import auroc
from whichgen.evaluation.evaluate import Answers, label_indices
from whichgen.evaluation.oscr import oscr
from whichgen.evaluation.protocols import check_protocol, plan, rehearsed
from whichgen.evaluation.selection import METRICS, check_metric
from whichgen.experiments.parts import Parts, fold_tables
from whichgen.experiments.sweeps import in_processes
from whichgen.experiments.tested import Tested, tested
from whichgen.features.extract import FeatureTable
from whichgen.heads.fusion import FUSION_C, FusionHead, ViewProbe, fit_view, fused
from whichgen.openset.base import OpenSetScore
from whichgen.openset.catalogue import SCORES, score_family
from whichgen.provenance import provenance

K = TypeVar("K")

#: Accuracy, AUROC and OSCR; ``None`` where there are no unknown images.
Figures = tuple[float, float | None, float | None]

#: Members and C are chosen by this score.
AGREEMENT = "max_logit"

#: All members are fused, unless fewer are better by more than this on validation. What the others
#: add, disagreement about images like none seen, shows little on the few generators there.
MEMBERS_MARGIN = 0.05

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
    scores
        Open-set scores to choose among.
    metric, protocol, tpr, seed, jobs
        See :class:`whichgen.experiments.fit.FitOptions`.
    """

    values: tuple[float, ...] = FUSION_C
    scores: tuple[str, ...] = tuple(SCORES)
    metric: str = "OSCR"
    protocol: str = "clean"
    tpr: float = 0.95
    seed: int = 0
    jobs: int = -1

    def __post_init__(self) -> None:
        check_protocol(self.protocol)
        check_metric(self.metric)
        for name in self.scores:
            score_family(name)
        if not self.values or min(self.values) <= 0 or not self.scores:
            raise FitError("a fusion needs positive values of C and at least one open-set score.")


@dataclass(frozen=True)
class FusionCandidate:
    """One set of members, C and score: validation metrics, and test ones that chose nothing.

    ``None`` stands where there are no unknown images.
    """

    members: str
    value: float
    score: str
    accuracy: float
    auroc: float | None
    oscr: float | None
    test_accuracy: float | None = None
    test_auroc: float | None = None
    test_oscr: float | None = None

    def metric(self, name: str) -> float:
        """The validation value of one of :data:`~whichgen.evaluation.selection.METRICS`."""
        wanted: float | None = getattr(self, METRICS[name])
        return self.accuracy if wanted is None else wanted


@dataclass(frozen=True)
class Fused(Tested):
    """The result of :func:`fuse`.

    ``members`` compares the sets of members, each at its best C; ``scores`` the open-set scores at
    the chosen members and C; ``grid`` is every candidate of the first step.
    """

    chosen: FusionCandidate
    members: tuple[FusionCandidate, ...]
    scores: tuple[FusionCandidate, ...]
    grid: tuple[FusionCandidate, ...]


@dataclass(frozen=True)
class _Fitted:
    """Every view's path of probes on one set of training images, and the images asked about."""

    probes: list[list[ViewProbe]]
    known: tuple[str, ...]
    train: FeatureTable
    asked_known: FeatureTable
    asked_unknown: FeatureTable


def member_sets(encoder: Encoder) -> dict[str, tuple[int, ...]]:
    """Every set of an encoder's members with the numbers of its views; the largest set last.

    Of one member alone there is one set. The numbers count views member after member.
    """
    given = [member["name"] for member in encoder.preprocessing.get("members", ())]
    names = [Path(name).name for name in given or [encoder.name]]
    if len(set(names)) < len(names):  # folders of one name in different places
        names = given
    sizes = [len(views) for views in encoder.views]
    firsts = np.cumsum([0, *sizes])[:-1].tolist()
    numbers = [range(first, first + size) for first, size in zip(firsts, sizes, strict=True)]
    return {
        " + ".join(names[m] for m in chosen): tuple(v for m in chosen for v in numbers[m])
        for size in range(1, len(names) + 1)
        for chosen in combinations(range(len(names)), size)
    }


def fuse(
    parts: Parts,
    encoder: Encoder,
    options: FusionOptions,
    *,
    config: Mapping[str, Any] | None = None,
    track: Track = untracked,
) -> Fused:
    """Fits every view, chooses, calibrates, sets the threshold and tests.

    Parameters
    ----------
    config
        What the user asked for, kept in the model's provenance.
    """
    protocol = rehearsed(
        plan(parts.dataset, options.protocol, seed=options.seed), parts.dataset.known, options.seed
    )
    views = [view for member in encoder.views for view in member]
    sets = member_sets(encoder)
    values = tuple(sorted(options.values))
    known = parts.dataset.known
    tests = (parts.tables[protocol.test_part], parts.tables["test_unknown"])
    jobs = [(known, parts.tables["train"], *tests)]
    jobs += [(fold.known, *fold_tables(parts, fold)) for fold in protocol.folds]
    # A fold that leaves no known origin out has the final fit's training images.
    trained = {of: train for of, train, *_ in reversed(jobs)}
    paths = _fit_views(trained, views, values, options.jobs, track)
    final, *folds = (_Fitted(paths[of], of, *tables) for of, *tables in jobs)

    grid = [
        FusionCandidate(name, value, AGREEMENT, *figures)
        for (name, value), figures in _mean(
            _by_members(fold, views, sets, values) for fold in folds
        ).items()
    ]
    on_test = dict(_by_members(final, views, sets, values))
    of_each = [
        max((c for c in grid if c.members == name), key=lambda c: c.metric(options.metric))
        for name in sets
    ]
    members = tuple(_with_test(c, on_test[c.members, c.value]) for c in of_each)
    best = _unless_beaten(of_each[-1], of_each, options.metric, MEMBERS_MARGIN)

    numbers = sets[best.members]
    at = values.index(best.value)
    blocks = tuple(b for v in numbers for b in views[v])
    heads = [_head(fitted, numbers, at, blocks) for fitted in (final, *folds)]
    fitted_scores: dict[str, OpenSetScore] = {}
    of_score: list[dict[str, Figures]] = []
    for fitted, head in zip((final, *folds), heads, strict=True):
        figures_of, found = _by_score(fitted, head, blocks, options.scores)
        of_score.append(figures_of)
        fitted_scores = fitted_scores or found
    scores = tuple(
        _with_test(FusionCandidate(best.members, best.value, name, *figures), of_score[0][name])
        for name, figures in _mean(d.items() for d in of_score[1:]).items()
    )
    usual = next((c for c in scores if c.score == AGREEMENT), scores[0])
    chosen = _unless_beaten(usual, scores, options.metric, SCORE_MARGIN)

    val = parts.tables["val"]
    draft = OriginModel(
        origins=known,
        encoder=encoder.describe(),
        blocks=blocks,
        family="fusion",
        value=best.value,
        head=heads[0],
        threshold=float("nan"),
        tpr=options.tpr,
        data_hash=parts.data_hash,
        metrics={},
        provenance=provenance(
            {**(config or {}), "protocol": options.protocol, "metric": options.metric},
            seeds={"seed": options.seed},
            encoder=encoder.describe(),
            data_hash=parts.data_hash,
        ),
        score_name=chosen.score,
        score=fitted_scores[chosen.score],
        temperature=temperature(
            heads[0].logits(val.blocks(blocks)), label_indices(val.origins, known)
        ),
    )
    result = tested(draft, parts, protocol, options.metric)
    return Fused(**vars(result), chosen=chosen, members=members, scores=scores, grid=tuple(grid))


def _unless_beaten(
    usual: FusionCandidate, others: Sequence[FusionCandidate], metric: str, margin: float
) -> FusionCandidate:
    """The usual candidate, or the best of the others if it is better by more than the margin."""
    best = max(others, key=lambda c: c.metric(metric))
    return best if best.metric(metric) > usual.metric(metric) + margin else usual


def _fit_views(
    trained: Mapping[tuple[str, ...], FeatureTable],
    views: Sequence[tuple[int, ...]],
    values: Sequence[float],
    jobs: int,
    track: Track,
) -> dict[tuple[str, ...], list[list[ViewProbe]]]:
    """For each set of known origins, every view's path of probes."""
    calls = (
        (table.blocks(view), label_indices(table.origins, known), len(known), values)
        for known, table in trained.items()
        for view in views
    )
    found = track(
        in_processes(fit_view, calls, jobs=jobs),
        description="Fitting views",
        total=len(trained) * len(views),
    )
    paths = list(found)
    return {known: paths[i * len(views) : (i + 1) * len(views)] for i, known in enumerate(trained)}


def _by_members(
    fitted: _Fitted,
    views: Sequence[tuple[int, ...]],
    sets: Mapping[str, tuple[int, ...]],
    values: Sequence[float],
) -> Iterator[tuple[tuple[str, float], Figures]]:
    """The figures of every set of members at every C, by the views' agreement."""
    tables = (fitted.asked_known, fitted.asked_unknown)
    said = [
        [
            [probe.log_probabilities(table.blocks(view)) for probe in path]
            for view, path in zip(views, fitted.probes, strict=True)
        ]
        for table in tables
    ]
    score = score_family(AGREEMENT).restore({})
    for name, numbers in sets.items():
        for i, value in enumerate(values):
            logits = [np.mean([of[v][i] for v in numbers], axis=0) for of in said]
            answers = [
                Answers(z, table.origins, score(np.empty((len(z), 0)), z))
                for z, table in zip(logits, tables, strict=True)
            ]
            yield (name, value), _figures(answers[0], answers[1], fitted.known)


def _by_score(
    fitted: _Fitted, head: FusionHead, blocks: Sequence[int], names: Sequence[str]
) -> tuple[dict[str, Figures], dict[str, OpenSetScore]]:
    """The figures of every open-set score, and the scores fitted on the training images."""
    labels = label_indices(fitted.train.origins, fitted.known)
    features = fitted.train.blocks(blocks)
    train = (head.embed(features), head.logits(features))
    asked = []
    for table in (fitted.asked_known, fitted.asked_unknown):
        features = table.blocks(blocks)
        asked.append((table.origins, head.embed(features), head.logits(features)))
    figures, scores = {}, {}
    for name in names:
        score = score_family(name).fit(*train, labels, len(fitted.known))
        known, unknown = (Answers(z, origins, score(x, z)) for origins, x, z in asked)
        figures[name], scores[name] = _figures(known, unknown, fitted.known), score
    return figures, scores


def _head(fitted: _Fitted, numbers: Sequence[int], at: int, blocks: Sequence[int]) -> FusionHead:
    return fused([fitted.probes[v][at] for v in numbers], fitted.train.blocks(blocks))


def _figures(known: Answers, unknown: Answers, origins: Sequence[str]) -> Figures:
    correct = known.predicted == known.labels(origins)
    if not len(unknown):
        return float(correct.mean()), None, None
    return (
        float(correct.mean()),
        auroc(known.scores, unknown.scores),
        oscr(known.scores, correct, unknown.scores),
    )


def _mean(folds: Iterable[Iterable[tuple[K, Figures]]]) -> dict[K, Figures]:
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


def _with_test(candidate: FusionCandidate, figures: Figures) -> FusionCandidate:
    accuracy, area, open_set = figures
    return replace(candidate, test_accuracy=accuracy, test_auroc=area, test_oscr=open_set)
