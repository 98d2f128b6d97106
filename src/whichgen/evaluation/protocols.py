"""Evaluation protocols: which images candidates are compared on, and which images are tested.

``clean``
    Selection and test share no unknown generator. If validation has unknown generators that the
    test lacks, the selection uses those. If it has none (the published splits of GenImage share all
    of theirs), known generators play the unknown ones: they are left out of training in turn. If
    even that is impossible (one generator beside ``real``), selection is by closed-set accuracy.
``paper``
    The protocol of the reference implementation, for comparison: selection uses all unknown
    validation images, including generators of the test, and known *validation* images are tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from whichgen.constants import REAL
from whichgen.data.dataset import Dataset
from whichgen.errors import DataError

PROTOCOLS = ("clean", "paper")

#: Maximum number of leave-out folds; with more generators, several are left out together.
MAX_FOLDS = 5

PAPER_CAVEAT = (
    "PROTOCOL OF THE REFERENCE IMPLEMENTATION: block and hyperparameter were selected on unknown "
    "generators that are also tested, and closed-set figures are measured on the validation images "
    "used for the selection. Both make figures look better than they are. Unlike in the reference "
    "implementation, each block has its own hyperparameter, and images of small classes are not "
    "repeated."
)


@dataclass(frozen=True)
class Fold:
    """One open-set task on which candidates are compared.

    A head is fitted on training images of ``known``; candidates are compared by how well they
    separate validation images of ``known`` from images of ``unknown``, which are in the split
    ``unknown_split`` (``val`` if a known generator plays an unknown one).
    """

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    unknown_split: str


@dataclass(frozen=True)
class Protocol:
    """The folds used for selection, and what is tested.

    ``test_split`` holds the known images that are tested; ``notes`` are sentences to show beside
    every figure.
    """

    name: str
    folds: tuple[Fold, ...]
    test_split: str
    notes: tuple[str, ...] = ()


def make_protocol(dataset: Dataset, name: str = "clean", *, seed: int = 0) -> Protocol:
    """Make the protocol for a dataset.

    Raises
    ------
    DataError
        The name is not one of :data:`PROTOCOLS`, or ``paper`` has no unknown validation images.
    """
    check_protocol(name)
    unknown = sorted({s.origin for s in dataset.val_unknown})
    if name == "paper":
        if not unknown:
            raise DataError(
                f"{dataset.name}: the paper's protocol selects on unknown validation images, and "
                "there are none. Use --protocol clean."
            )
        fold = Fold(dataset.known, tuple(unknown), "val_unknown")
        return Protocol("paper", (fold,), "val", (PAPER_CAVEAT,))
    free = tuple(sorted(set(unknown) - {s.origin for s in dataset.test_unknown}))
    folds = make_leave_out_folds(dataset.known, seed=seed)
    if free:
        folds = (Fold(dataset.known, free, "val_unknown"),)
        note = f"selected on the unknown generators {', '.join(free)}, which are not tested"
    elif folds:
        note = (
            "selected on known origins alone, by leaving known generators out in turn: "
            f"{_list_unknown(folds)}"
        )
    else:
        folds = (Fold(dataset.known, (), "val"),)
        note = (
            "selected by closed-set accuracy: validation has no unknown generator of its own, and "
            "there are too few known generators to leave one out"
        )
    return Protocol("clean", folds, "test", (note,))


def add_leave_out_folds(protocol: Protocol, known: Sequence[str], seed: int = 0) -> Protocol:
    """Add folds that leave known generators out in turn to a clean protocol.

    One or two unknown generators are too few to select on: if one of them closely resembles a known
    generator, the selection favors what separates these two. The paper's protocol, and a protocol
    that already leaves known generators out, are returned unchanged.
    """
    folds = make_leave_out_folds(known, seed=seed)
    already = all(fold.unknown_split == "val" for fold in protocol.folds)
    if protocol.name != "clean" or already or not folds:
        return protocol
    names = _list_unknown(folds)
    note = f"and, with equal weight, by leaving known generators out in turn: {names}"
    return replace(protocol, folds=(*protocol.folds, *folds), notes=(*protocol.notes, note))


def check_protocol(name: str) -> None:
    """Raise :class:`DataError` unless the name is one of :data:`PROTOCOLS`."""
    if name not in PROTOCOLS:
        raise DataError(f"unknown protocol {name!r}. Choose from {', '.join(PROTOCOLS)}.")


def make_leave_out_folds(known: Sequence[str], *, seed: int = 0) -> tuple[Fold, ...]:
    """Make folds that leave each known generator out once; none if too few would remain."""
    generators = [origin for origin in known if origin != REAL]
    if len(generators) < 2 or len(known) < 3:
        return ()
    n_folds = min(len(generators), MAX_FOLDS)
    # In a seeded order, because generators listed side by side are often related.
    order = np.random.default_rng(seed).permutation(len(generators))
    folds = []
    for f in range(n_folds):
        excluded = {generators[i] for i in order[f::n_folds]}
        remaining = tuple(origin for origin in known if origin not in excluded)
        folds.append(Fold(remaining, tuple(o for o in known if o in excluded), "val"))
    return tuple(folds)


def _list_unknown(folds: Sequence[Fold]) -> str:
    return "; ".join(", ".join(fold.unknown) for fold in folds)
