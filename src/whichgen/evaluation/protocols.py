"""Evaluation protocols: which images are used for selection and which for testing.

``clean``
    No unknown generator is used for both selection and testing. Selection uses the unknown
    generators that are in the validation set but not in the test set. If there are none (as in the
    published splits of GenImage), known generators are held out as unknown in turn. No generator
    can be held out if there are fewer than two known generators or fewer than three known origins;
    selection is then by closed-set accuracy. If the images have no sources, fusions are also
    selected on folds that hold out known generators (:func:`add_leave_out_folds`).
``paper``
    The protocol of the reference implementation (UniversalAttribution), for comparison. Selection
    uses all unknown validation images, including those of generators that are also in the test set.
    The known *validation* images also serve as the known test images. Linear probes and k-NN heads
    count all known origins equally (:mod:`whichgen.heads.class_balance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from whichgen.constants import REAL
from whichgen.data.dataset import SPLITS, Dataset
from whichgen.errors import DataError
from whichgen.option_names import name_option

#: Protocol of the reference implementation.
PAPER = "paper"

#: Names of the protocols.
PROTOCOLS = ("clean", PAPER)

#: Maximum number of leave-out folds. With more known generators, some folds hold out several.
MAX_FOLDS = 5

#: Warning to show with all metrics of the protocol ``paper``.
PAPER_CAVEAT = (
    "PROTOCOL OF THE REFERENCE IMPLEMENTATION: unknown generators for selection can also be in the "
    "test set, and the known test images are the validation images used for selection. Both make "
    "the metrics optimistic."
)


@dataclass(frozen=True)
class Fold:
    """One open-set task for comparing candidates, such as blocks and hyperparameter values.

    Parameters
    ----------
    known
        Known origins. Heads are fitted on their training images and evaluated on their validation
        images.
    unknown
        Origins of the unknown images for evaluation; empty if candidates are compared by
        closed-set accuracy.
    unknown_split
        Split of the unknown images: ``val_unknown``, or ``val`` if known generators are held out as
        unknown or if ``unknown`` is empty.
    """

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    unknown_split: str


@dataclass(frozen=True)
class Protocol:
    """The folds for selection and the split for testing.

    Parameters
    ----------
    name
        One of :data:`PROTOCOLS`.
    folds
        Folds over which the selection metric is averaged.
    test_split
        Split of the known test images: ``test`` or, for ``paper``, ``val``.
    notes
        Descriptions of the selection and its limitations, to show with the metrics.
    """

    name: str
    folds: tuple[Fold, ...]
    test_split: str
    notes: tuple[str, ...] = ()


def select_splits(name: str) -> tuple[str, ...]:
    """Return the names of the splits that a protocol uses: all or, for ``paper``, all but ``test``.

    ``name`` is one of :data:`PROTOCOLS`.
    """
    return tuple(split for split in SPLITS if name != PAPER or split != "test")


def make_protocol(dataset: Dataset, name: str = "clean", *, seed: int = 0) -> Protocol:
    """Create the protocol for a dataset.

    Parameters
    ----------
    dataset
        The dataset, which defines the known and unknown origins of each split.
    name
        One of :data:`PROTOCOLS`.
    seed
        Seed of :func:`make_leave_out_folds`.

    Returns
    -------
    Protocol
        The folds, the test split and notes on the selection.

    Raises
    ------
    DataError
        The name is not one of :data:`PROTOCOLS`, or it is ``paper`` and the dataset has no unknown
        validation images.
    """
    check_protocol(name)
    unknown = sorted({s.origin for s in dataset.val_unknown})
    if name == PAPER:
        if not unknown:
            raise DataError(
                f"{dataset.name} has no unknown validation images, which "
                f"{name_option('--protocol paper')} needs for selection. Use "
                f"{name_option('--protocol clean')}."
            )
        fold = Fold(dataset.known, tuple(unknown), "val_unknown")
        return Protocol(PAPER, (fold,), "val", (PAPER_CAVEAT,))
    selection_only = tuple(sorted(set(unknown) - {s.origin for s in dataset.test_unknown}))
    folds = make_leave_out_folds(dataset.known, seed=seed)
    if selection_only:
        folds = (Fold(dataset.known, selection_only, "val_unknown"),)
        names = ", ".join(selection_only)
        note = f"selected on the unknown generators {names}, which are not in the test set"
    elif folds:
        note = (
            "selected on known origins only, with known generators held out as unknown in turn: "
            f"{_list_unknown(folds)}"
        )
    else:
        folds = (Fold(dataset.known, (), "val"),)
        note = (
            "selected by closed-set accuracy, because no unknown generator is only in the "
            "validation set and there are too few known origins to hold out a generator"
        )
    return Protocol("clean", folds, "test", (note,))


def add_leave_out_folds(protocol: Protocol, known: Sequence[str], seed: int = 0) -> Protocol:
    """Add folds that hold out known generators as unknown to a ``clean`` protocol.

    The added folds make selection depend less on the unknown generators of the validation set. If
    there are only one or two of them, and one closely resembles a known generator, selection favors
    candidates that separate this pair. The protocol is returned unchanged if it is
    ``paper``, if it already holds out known generators, or if :func:`make_leave_out_folds` returns
    no folds.

    Parameters
    ----------
    protocol
        The protocol to extend.
    known
        The known origins of the dataset.
    seed
        Seed of :func:`make_leave_out_folds`.
    """
    folds = make_leave_out_folds(known, seed=seed)
    has_val_folds = all(fold.unknown_split == "val" for fold in protocol.folds)
    if protocol.name != "clean" or has_val_folds or not folds:
        return protocol
    names = _list_unknown(folds)
    note = f"also selected, with equal weight, with known generators held out in turn: {names}"
    return replace(protocol, folds=(*protocol.folds, *folds), notes=(*protocol.notes, note))


def check_protocol(name: str) -> None:
    """Check that a protocol exists.

    Raises
    ------
    DataError
        The name is not one of :data:`PROTOCOLS`.
    """
    if name not in PROTOCOLS:
        raise DataError(f"unknown protocol {name!r}. Choose from {', '.join(PROTOCOLS)}.")


def make_leave_out_folds(known: Sequence[str], *, seed: int = 0) -> tuple[Fold, ...]:
    """Create at most :data:`MAX_FOLDS` folds; each known generator is held out in exactly one.

    The result is empty if there are fewer than two known generators or fewer than three known
    origins. ``seed`` determines which generators are held out together.
    """
    generators = [origin for origin in known if origin != REAL]
    if len(generators) < 2 or len(known) < 3:
        return ()
    n_folds = min(len(generators), MAX_FOLDS)
    # Shuffle the generators, because adjacent generators in the list are often related.
    order = np.random.default_rng(seed).permutation(len(generators))
    folds = []
    for f in range(n_folds):
        excluded = {generators[i] for i in order[f::n_folds]}
        remaining = tuple(origin for origin in known if origin not in excluded)
        folds.append(Fold(remaining, tuple(o for o in known if o in excluded), "val"))
    return tuple(folds)


def _list_unknown(folds: Sequence[Fold]) -> str:
    return "; ".join(", ".join(fold.unknown) for fold in folds)
