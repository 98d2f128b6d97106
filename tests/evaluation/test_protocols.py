"""Protocols: the folds used for selection, and the test split."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.data.dataset import Dataset, Sample
from whichgen.errors import DataError
from whichgen.evaluation.protocols import (
    MAX_FOLDS,
    PAPER_CAVEAT,
    REAL,
    Fold,
    Protocol,
    add_leave_out_folds,
    check_protocol,
    make_leave_out_folds,
    make_protocol,
)


def samples(*origins: str) -> tuple[Sample, ...]:
    """Create one sample per origin."""
    return tuple(Sample(Path(f"{o}.png"), o) for o in origins)


def dataset(
    known: tuple[str, ...] = ("real", "gan", "vae"),
    val_unknown: tuple[str, ...] = (),
    test_unknown: tuple[str, ...] = (),
) -> Dataset:
    """Create a dataset with one image per origin in each split."""
    return Dataset(
        name="mine",
        known=known,
        unknown=tuple(sorted({*val_unknown, *test_unknown})),
        train=samples(*known),
        val=samples(*known),
        test=samples(*known),
        val_unknown=samples(*val_unknown),
        test_unknown=samples(*test_unknown),
    )


def test_clean_selects_on_unknown_validation_generators() -> None:
    protocol = make_protocol(dataset(val_unknown=("b", "a"), test_unknown=("c",)))
    (fold,) = protocol.folds
    assert fold.known == ("real", "gan", "vae")
    assert (fold.unknown, fold.unknown_split) == (("a", "b"), "val_unknown")
    assert (protocol.name, protocol.test_split) == ("clean", "test")
    assert "a, b" in protocol.notes[0]


def test_clean_does_not_select_on_test_generators() -> None:
    protocol = make_protocol(dataset(val_unknown=("a", "b", "c"), test_unknown=("c", "a")))
    (fold,) = protocol.folds
    assert fold.unknown == ("b",)


def test_clean_holds_out_known_generators_if_the_test_set_has_all_unknown_ones() -> None:
    shared = ("a", "b")
    protocol = make_protocol(dataset(val_unknown=shared, test_unknown=shared))
    assert len(protocol.folds) == 2
    assert {f.unknown for f in protocol.folds} == {("gan",), ("vae",)}
    for fold in protocol.folds:
        assert fold.unknown_split == "val"
        assert set(fold.known) == {"real", "gan", "vae"} - set(fold.unknown)
    assert "known generators held out" in protocol.notes[0]
    assert all(f.unknown[0] in protocol.notes[0] for f in protocol.folds)


@pytest.mark.parametrize("known", [("real", "gan"), ("gan", "vae")])
def test_clean_falls_back_to_accuracy_with_too_few_known_generators(
    known: tuple[str, ...],
) -> None:
    protocol = make_protocol(dataset(known, test_unknown=("a",)))
    (fold,) = protocol.folds
    assert (fold.known, fold.unknown) == (known, ())
    assert protocol.test_split == "test"
    assert "closed-set accuracy" in protocol.notes[0]


names = st.integers(0, 12).map(lambda n: tuple(f"g{i}" for i in range(n)))


@given(generators=names, real=st.booleans(), seed=st.integers(0, 5))
def test_each_known_generator_is_held_out_once_and_real_never(
    generators: tuple[str, ...], real: bool, seed: int
) -> None:
    known = (*generators, REAL) if real else generators
    folds = make_leave_out_folds(known, seed=seed)
    if len(generators) < 2 or len(known) < 3:
        assert folds == ()
        return
    assert len(folds) == min(MAX_FOLDS, len(generators))
    left_out = [origin for fold in folds for origin in fold.unknown]
    assert sorted(left_out) == sorted(generators)
    for fold in folds:
        assert not set(fold.known) & set(fold.unknown)
        # The origins keep the order of the dataset, so that labels keep their meaning.
        assert [o for o in known if o in fold.known] == list(fold.known)
        assert set(fold.known) | set(fold.unknown) == set(known)
        assert len(fold.known) >= 2
        assert fold.unknown_split == "val"
    assert make_leave_out_folds(known, seed=seed) == folds


def test_folds_depend_on_the_seed() -> None:
    known = ("real", *(f"g{i}" for i in range(10)))
    pairs = {
        frozenset(frozenset(f.unknown) for f in make_leave_out_folds(known, seed=s))
        for s in range(6)
    }
    assert len(pairs) > 1
    data = dataset(known, test_unknown=("a",))
    assert make_protocol(data, seed=3).folds == make_leave_out_folds(known, seed=3)


def test_paper_selects_on_test_generators_and_tests_validation_images() -> None:
    protocol = make_protocol(dataset(val_unknown=("b", "a"), test_unknown=("a", "b")), "paper")
    (fold,) = protocol.folds
    assert (fold.unknown, fold.unknown_split) == (("a", "b"), "val_unknown")
    assert (protocol.name, protocol.test_split) == ("paper", "val")
    assert protocol.notes == (PAPER_CAVEAT,)
    assert "optimistic" in PAPER_CAVEAT


def test_paper_needs_unknown_validation_images() -> None:
    with pytest.raises(
        DataError, match=r"mine has no unknown validation images.*`protocol='clean'`"
    ):
        make_protocol(dataset(test_unknown=("a",)), "paper")


@pytest.mark.parametrize("name", ["", "Clean", "strict"])
def test_invalid_protocol_name_is_rejected(name: str) -> None:
    for call in (lambda: make_protocol(dataset(), name), lambda: check_protocol(name)):
        with pytest.raises(DataError, match=r"unknown protocol .*clean, paper"):
            call()


def test_leave_out_folds_are_added_to_a_clean_protocol() -> None:
    known = ("real", "gan", "vae", "flow")
    own = Fold(known, ("ddpm",), "val_unknown")
    protocol = add_leave_out_folds(Protocol("clean", (own,), "test", ("note",)), known)
    assert protocol.folds[0] == own
    assert sorted(fold.unknown for fold in protocol.folds[1:]) == [("flow",), ("gan",), ("vae",)]
    assert all(fold.unknown_split == "val" for fold in protocol.folds[1:])
    assert protocol.notes[0] == "note"
    assert "known generators held out" in protocol.notes[1]


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol("paper", (Fold(("real", "a", "b"), ("c",), "val_unknown"),), "val"),
        Protocol("clean", (Fold(("real", "a"), ("b",), "val"),), "test"),
    ],
)
def test_leave_out_folds_are_not_added_to_other_protocols(
    protocol: Protocol,
) -> None:
    assert add_leave_out_folds(protocol, ("real", "a", "b")) is protocol
    of_two = Protocol("clean", (Fold(("real", "a"), ("c",), "val_unknown"),), "test")
    assert add_leave_out_folds(of_two, ("real", "a")) is of_two
