"""Protocols: on which images block and hyperparameter are chosen, and on which they are tested.

``clean``
    Choice and test share no generator that the model does not know. Where validation has unknown
    generators that test lacks, the choice is made on those. Where it has none (the published
    splits of GenImage share all of theirs), unknown generators are played by known ones, left out
    of training in turn. Where even that can't be done (one generator beside ``real``), the choice
    is made by closed-set accuracy.
``paper``
    That of the first implementation, for comparison: the choice is made on all unknown validation
    images, generators of the test among them, and known *validation* images are tested on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from whichgen.constants import REAL
from whichgen.data.dataset import Dataset
from whichgen.errors import DataError

PROTOCOLS = ("clean", "paper")

#: At most so many times is everything fitted to leave known generators out; with more generators
#: than that, several are left out together.
MAX_FOLDS = 5

PAPER_CAVEAT = (
    "PROTOCOL OF THE FIRST IMPLEMENTATION: block and hyperparameter were chosen on unknown "
    "generators that are tested on, and closed-set figures are of the validation images the choice "
    "was made on. Both make figures look better than they are. Unlike the first implementation, "
    "each block has its own hyperparameter, and images of small classes are not repeated."
)


@dataclass(frozen=True)
class Fold:
    """One rehearsal of the open-set task, on which candidates are compared.

    A head is fitted on training images of ``known``; the choice is made by how it tells
    validation images of ``known`` from images of ``unknown``, which lie in the part
    ``unknown_split`` (``val`` where a known generator plays an unknown one).
    """

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    unknown_split: str


@dataclass(frozen=True)
class Protocol:
    """How the choice is made and what is tested.

    ``test_split`` holds the known images that are tested on; ``notes`` are sentences that belong
    beside every figure.
    """

    name: str
    folds: tuple[Fold, ...]
    test_split: str
    notes: tuple[str, ...] = ()


def make_protocol(dataset: Dataset, protocol: str = "clean", *, seed: int = 0) -> Protocol:
    """The protocol for a data set.

    Raises
    ------
    DataError
        The name is not one of :data:`PROTOCOLS`, or ``paper`` is asked for without unknown images.
    """
    check_protocol(protocol)
    if protocol == "paper":
        return _paper(dataset)
    tested = {s.origin for s in dataset.test_unknown}
    free = tuple(sorted({s.origin for s in dataset.val_unknown} - tested))
    if free:
        return Protocol(
            "clean",
            (Fold(dataset.known, free, "val_unknown"),),
            "test",
            (f"chosen on the unknown generators {', '.join(free)}, which are not tested on",),
        )
    folds = make_leave_out_folds(dataset.known, seed=seed)
    if folds:
        return Protocol(
            "clean",
            folds,
            "test",
            (
                "chosen on known origins alone, by leaving known generators out in turn: "
                + "; ".join(", ".join(f.unknown) for f in folds),
            ),
        )
    return Protocol(
        "clean",
        (Fold(dataset.known, (), "val"),),
        "test",
        (
            "chosen by closed-set accuracy: validation has no unknown generator of its own, and "
            "there are too few known generators to leave one out",
        ),
    )


def add_leave_out_folds(protocol: Protocol, known: Sequence[str], seed: int = 0) -> Protocol:
    """A clean protocol that, beside its own fold, leaves known generators out in turn.

    One or two unknown generators are a narrow ground to choose on: where one of them is the twin of
    a known one, the choice is of what tells twins apart worst. The paper's protocol stays as it is,
    and so does one that leaves known generators out already.
    """
    if protocol.name != "clean" or all(fold.unknown_split == "val" for fold in protocol.folds):
        return protocol
    folds = make_leave_out_folds(known, seed=seed)
    if not folds:
        return protocol
    note = "and, weighing as much each, by leaving known generators out in turn: " + "; ".join(
        ", ".join(fold.unknown) for fold in folds
    )
    return replace(protocol, folds=(*protocol.folds, *folds), notes=(*protocol.notes, note))


def check_protocol(name: str) -> None:
    """Raises :class:`DataError` unless the name is one of :data:`PROTOCOLS`."""
    if name not in PROTOCOLS:
        raise DataError(f"unknown protocol {name!r}; there are {', '.join(PROTOCOLS)}.")


def make_leave_out_folds(known: Sequence[str], *, seed: int = 0) -> tuple[Fold, ...]:
    """Folds in which each known generator is left out once; none where too few would remain."""
    generators = [origin for origin in known if origin != REAL]
    if len(generators) < 2 or len(known) < 3:
        return ()
    n_folds = min(len(generators), MAX_FOLDS)
    # In seeded order, so that generators listed side by side (kin, often) part.
    order = np.random.default_rng(seed).permutation(len(generators))
    folds = []
    for f in range(n_folds):
        left_out = {generators[i] for i in order[f::n_folds]}
        folds.append(
            Fold(
                known=tuple(o for o in known if o not in left_out),
                unknown=tuple(o for o in known if o in left_out),
                unknown_split="val",
            )
        )
    return tuple(folds)


def _paper(dataset: Dataset) -> Protocol:
    unknown = tuple(sorted({s.origin for s in dataset.val_unknown}))
    if not unknown:
        raise DataError(
            f"{dataset.name}: the paper's protocol chooses on unknown validation images, and there "
            "are none. Use --protocol clean."
        )
    return Protocol("paper", (Fold(dataset.known, unknown, "val_unknown"),), "val", (PAPER_CAVEAT,))
