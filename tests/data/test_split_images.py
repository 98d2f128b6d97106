"""Splits: related images stay together, and the seed determines the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image

from whichgen.data.dataset import SPLITS, Dataset, Sample
from whichgen.data.images.image_facts import ImageFacts
from whichgen.data.images.image_reader import ImageReader
from whichgen.data.images.reliability_traits import ImageTraits
from whichgen.data.layouts.folder_layout import read_layout
from whichgen.data.splits.split_images import split_folder
from whichgen.data.splits.split_options import SplitOptions
from whichgen.data.splits.unknown_origins import split_unknown_origins
from whichgen.data.tables.groups_and_sources import list_source_folders
from whichgen.errors import DataError

SIDES = {
    "train": "train",
    "val": "val",
    "val_unknown": "val",
    "test": "test",
    "test_unknown": "test",
}


@dataclass(frozen=True)
class FolderPlan:
    """A drawn folder: for each image its group, and the cluster of its perceptual hash."""

    counts: dict[str, int]
    group: dict[str, str]
    cluster: dict[str, int]


_GRAY = (128.0,) * 3
_FACTS = ImageFacts(
    *(b"digest", b"", 1000, "PNG", "RGB", 8, 8, False, False, ((), ()), _GRAY, _GRAY),
    ImageTraits(8, 8, 1.0),
    None,
)

# Hashes of different clusters are 32 bits apart, of one cluster at most 2 × 2.
_CODES = np.packbits([[(c >> (b % 6)) & 1 for b in range(64)] for c in range(64)], axis=1)


@st.composite
def folder_plans(draw: st.DrawFn) -> FolderPlan:
    counts = {
        origin: draw(st.integers(12, 20)) for origin in ("real", "gan", "diff", "u1", "u2", "u3")
    }
    names = [f"{origin}/{i:02d}.png" for origin, n in counts.items() for i in range(n)]
    groups = draw(st.lists(st.integers(0, 40), min_size=len(names), max_size=len(names)))
    clusters = draw(st.lists(st.integers(0, 400), min_size=len(names), max_size=len(names)))
    return FolderPlan(
        counts,
        # About half of the images have a group to themselves.
        {n: f"g{g}" if g < 15 else n for n, g in zip(names, groups, strict=True)},
        # And most a hash to themselves: cluster 0 stands for none.
        {n: c if 0 < c < 10 else 0 for n, c in zip(names, clusters, strict=True)},
    )


@pytest.fixture(scope="module")
def split_plan(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Dataset | None]:
    """Split a planned folder without decoding; ``None`` if it is too tangled to be split."""
    root = tmp_path_factory.mktemp("plan")

    def split(plan: FolderPlan, options: SplitOptions, **keywords: Any) -> Dataset | None:
        for origin in plan.counts:
            (root / origin).mkdir(exist_ok=True)
        expected = {root / name for name in plan.group}
        for path in expected - set(root.rglob("*.png")):
            path.touch()
        for path in set(root.rglob("*.png")) - expected:
            path.unlink()

        def read(_: object, samples: list[Sample], **__: object) -> list[ImageFacts]:
            results = []
            for i, sample in enumerate(samples):
                cluster = plan.cluster[sample.path.relative_to(root).as_posix()]
                rng = np.random.default_rng(i)
                code = _CODES[cluster].copy() if cluster else rng.integers(0, 256, 8, np.uint8)
                if cluster:
                    code[rng.integers(8)] ^= np.uint8(1 << rng.integers(8))
                results.append(replace(_FACTS, perceptual_hash=code.tobytes()))
            return results

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ImageReader, "read", read)
            try:
                return split_folder(root, options, **keywords)
            except DataError as error:
                assert "images of" in str(error)
                return None

    return split


OPTIONS = SplitOptions(unknown=("u1", "u2", "u3"))


def _names(dataset: Dataset, part: str) -> list[str]:
    return [f"{s.path.parent.name}/{s.path.name}" for s in dataset.split(part)]


@settings(max_examples=30)
@given(plan=folder_plans(), seed=st.integers(0, 5), share=st.booleans())
def test_groups_and_near_duplicates_never_cross_splits(
    split_plan: Callable[..., Dataset | None], plan: FolderPlan, seed: int, share: bool
) -> None:
    options = replace(OPTIONS, seed=seed, share_unknown=share)
    dataset = split_plan(plan, options, groups=plan.group)
    event("split" if dataset else "too tangled")
    if dataset is None:
        return
    locations = [(n, part) for part in SPLITS for n in _names(dataset, part)]
    assert len({n for n, _ in locations}) == len(locations)
    for relation in (plan.group, plan.cluster):
        sides: dict[object, set[str]] = {}
        for name, part in locations:
            if relation[name]:
                sides.setdefault(relation[name], set()).add(SIDES[part])
        assert all(len(s) == 1 for s in sides.values())
    # Every known image is in; images of unknown origins are omitted only with a note.
    assert sum(n.split("/")[0] in dataset.known for n, _ in locations) == sum(
        plan.counts[o] for o in dataset.known
    )
    left_out = sum(plan.counts.values()) - len(locations)
    assert (f"{left_out} images" in " ".join(dataset.notes)) == (left_out > 0)


@settings(max_examples=30)
@given(plan=folder_plans(), seed=st.integers(0, 5), share=st.booleans())
def test_known_and_unknown_origins_stay_in_their_splits(
    split_plan: Callable[..., Dataset | None], plan: FolderPlan, seed: int, share: bool
) -> None:
    options = replace(OPTIONS, seed=seed, share_unknown=share)
    dataset = split_plan(plan, options, groups=plan.group)
    if dataset is None:
        return
    assert dataset.known == ("real", "diff", "gan")
    for part in ("train", "val", "test"):
        assert {s.origin for s in dataset.split(part)} == set(dataset.known)
    val, test = split_unknown_origins(options)
    assert {s.origin for s in dataset.val_unknown} <= set(val)
    assert {s.origin for s in dataset.test_unknown} <= set(test)
    if share:
        assert set(val) == set(test) == {"u1", "u2", "u3"}
    else:
        assert not set(val) & set(test)
        assert set(val) | set(test) == {"u1", "u2", "u3"}
        assert len(val) == 1


@settings(max_examples=30)
@given(plan=folder_plans(), seed=st.integers(0, 5))
def test_same_seed_gives_same_split(
    split_plan: Callable[..., Dataset | None], plan: FolderPlan, seed: int
) -> None:
    first, second = (
        split_plan(plan, replace(OPTIONS, seed=seed), groups=plan.group) for _ in range(2)
    )
    assert first == second


@pytest.fixture
def plain() -> FolderPlan:
    """100 images of each origin, none tied to another."""
    counts = dict.fromkeys(("real", "gan", "u1", "u2", "u3"), 100)
    names = [f"{o}/{i:02d}.png" for o, n in counts.items() for i in range(n)]
    return FolderPlan(counts, {n: n for n in names}, dict.fromkeys(names, 0))


def test_different_seed_gives_different_split(
    split_plan: Callable[..., Dataset | None], plain: FolderPlan
) -> None:
    first, second = (split_plan(plain, replace(OPTIONS, seed=s)) for s in (0, 1))
    assert first is not None
    assert second is not None
    assert set(first.train) != set(second.train)


def test_independent_images_follow_the_fractions(
    split_plan: Callable[..., Dataset | None], plain: FolderPlan
) -> None:
    dataset = split_plan(plain, replace(OPTIONS, fractions=(0.5, 0.2, 0.3)))
    assert dataset is not None
    for part, share in (("train", 50), ("val", 20), ("test", 30)):
        assert Counter(s.origin for s in dataset.split(part)) == {"real": share, "gan": share}
    assert Counter(s.origin for s in dataset.test_unknown + dataset.val_unknown) == {
        "u1": 100,
        "u2": 100,
        "u3": 100,
    }
    assert dataset.notes == ()


def test_shared_unknown_origins_are_in_both_splits(
    split_plan: Callable[..., Dataset | None], plain: FolderPlan
) -> None:
    dataset = split_plan(plain, replace(OPTIONS, share_unknown=True))
    assert dataset is not None
    halves = {"u1": 50, "u2": 50, "u3": 50}
    assert Counter(s.origin for s in dataset.val_unknown) == halves
    assert Counter(s.origin for s in dataset.test_unknown) == halves


def test_unknown_val_selects_validation_origins(
    split_plan: Callable[..., Dataset | None], plain: FolderPlan
) -> None:
    dataset = split_plan(plain, replace(OPTIONS, unknown_val=("u2", "u3")))
    assert dataset is not None
    assert {s.origin for s in dataset.val_unknown} == {"u2", "u3"}
    assert {s.origin for s in dataset.test_unknown} == {"u1"}


def test_single_unknown_origin_is_for_testing() -> None:
    assert split_unknown_origins(SplitOptions(unknown=("u1",))) == ((), ("u1",))


def test_near_duplicates_stay_in_one_split(
    image_folder: Callable[..., Path],
) -> None:
    folder = image_folder({"real": 12, "gan": 12})
    # Each photograph again as a JPEG in the other origin's folder, with no group to tell it.
    for i in range(12):
        Image.open(folder / "real" / f"{i:03d}.png").save(
            folder / "gan" / f"copy{i:03d}.jpg", quality=95
        )
    dataset = split_folder(folder, SplitOptions())
    side = {s.path.name: part for part in SPLITS for s in dataset.split(part) if "real" in s.origin}
    copies = {
        s.path.stem: part for part in SPLITS for s in dataset.split(part) if "copy" in s.path.stem
    }
    assert copies == {f"copy{name.removesuffix('.png')}": part for name, part in side.items()}
    without_search = split_folder(folder, SplitOptions(), near_distance=-1)
    assert without_search != dataset


def test_unreadable_files_are_omitted_with_a_note(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 5, "gan": 5})
    (folder / "real" / "bad.png").write_text("no image")
    dataset = split_folder(folder, SplitOptions())
    assert not any(s.path.name == "bad.png" for part in SPLITS for s in dataset.split(part))
    assert len(dataset.notes) == 1
    assert "1 unreadable file omitted" in dataset.notes[0]
    assert "bad.png" in dataset.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SplitOptions(unknown=("ganz",)), "has no origin ganz. Choose from diff, gan, real"),
        (
            SplitOptions(unknown=("gan",), unknown_val=("real",)),
            "`unknown_val` contains real, but `unknown` does not",
        ),
        (SplitOptions(fractions=(0.5, 0.2, 0.2)), "must be positive and sum to 1"),
        (SplitOptions(fractions=(0.8, 0.2, 0.0)), "must be positive and sum to 1"),
        (SplitOptions(fractions=(0.5, float("nan"), 0.5)), "must be positive and sum to 1"),
        (SplitOptions(unknown=("gan", "diff")), "at least two known origins"),
        (SplitOptions(), "no test images of diff"),
    ],
)
def test_invalid_split_options_are_errors(
    image_folder: Callable[..., Path], options: SplitOptions, message: str
) -> None:
    folder = image_folder({"real": 5, "gan": 5, "diff": 2})
    with pytest.raises(DataError, match=message):
        split_folder(folder, options)


def test_sources_are_not_divided_and_every_split_has_every_origin(
    image_folder: Callable[..., Path],
) -> None:
    # In order of size, the first three sources leave no split for the fourth.
    sizes = {
        **{"real/a": 6, "real/b": 6, "real/c": 2, "real/d": 1, "gan/a": 5, "gan/d": 5},
        **{"gan/e": 4, "gan/f": 1, "u1/a": 2, "u1/e": 2, "u1/g": 2},
    }
    folder = image_folder(sizes)
    for seed in range(5):
        options = SplitOptions(unknown=("u1",), share_unknown=True, seed=seed)
        dataset = split_folder(folder, options, sources=list_source_folders(folder))
        sides: dict[str, set[str]] = {}
        for part in SPLITS:
            for sample in dataset.split(part):
                assert sample.source == sample.path.parent.name
                sides.setdefault(sample.source, set()).add(SIDES[part])
        assert all(len(names) == 1 for names in sides.values())
        assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 30


def test_origin_with_two_sources_is_an_error(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({f"{o}/{s}": 4 for o in ("real", "gan") for s in "abc"})
    sources = list_source_folders(folder)
    split_folder(folder, SplitOptions(), sources=sources)
    # Sources that share a group are not independent.
    groups = {name: "pair" if "/c/" in name or "gan/a/" in name else name for name in sources}
    with pytest.raises(DataError, match="gan has 2, real has 2") as error:
        split_folder(folder, SplitOptions(), sources=sources, groups=groups)
    assert "needs at least three" in str(error.value)
    with pytest.raises(DataError, match="at least two known origins"):
        split_folder(folder, SplitOptions(unknown=("real", "gan")), sources=sources)
    assert "omit `sources`" in str(error.value)


def test_image_without_group_is_an_error(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 5, "gan": 5})
    with pytest.raises(DataError, match=r"no row for 9 of 10 images in .*, such as gan/000\.png"):
        split_folder(folder, SplitOptions(), groups={"real/000.png": "a"})
    with pytest.raises(DataError, match=r"sources have no row .* an empty source if"):
        split_folder(folder, SplitOptions(), sources={"real/000.png": "a"})


def test_origins_are_the_subfolders_with_images(image_folder: Callable[..., Path]) -> None:
    folder = image_folder({"real": 3, "gan": 1})
    (folder / "empty").mkdir()
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "a.png").touch()
    (folder / "real" / ".thumb.png").touch()
    (folder / "real" / "notes.txt").touch()
    (folder / "real" / "deeper").mkdir()
    (folder / "real" / "deeper" / "10.JPG").touch()
    (folder / "real" / "deeper" / "9.webp").touch()
    origins = read_layout(folder).origins
    assert list(origins) == ["gan", "real"]
    assert [p.relative_to(folder / "real").as_posix() for p in origins["real"]] == [
        *("000.png", "001.png", "002.png", "deeper/9.webp", "deeper/10.JPG")
    ]


def test_folder_without_origins_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no subfolder with images"):
        read_layout(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        read_layout(tmp_path / "none")
