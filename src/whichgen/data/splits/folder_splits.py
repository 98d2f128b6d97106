"""Keep the splits that the folders of a dataset define, as far as related images allow it.

If there are folders for train, val and test, each image stays in its split. If only train and val,
or only train and test, have folders, the missing split is a part of val or of train. Images related
to an image in an earlier split, such as near-duplicates, are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whichgen.data.dataset import Sample
from whichgen.data.layouts.folder_names import join_names
from whichgen.errors import DataError
from whichgen.option_names import name_option

_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class FolderSplits:
    """Splits that are possible for each component of related images.

    Parameters
    ----------
    allowed
        Maps components to the splits in which their images may be; other components may be in any.
    left_out
        Indices of images that are in no split, because their component is in an earlier one.
    """

    allowed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    left_out: frozenset[int] = frozenset()


def keep_folder_splits(
    samples: Sequence[Sample],
    components: Sequence[int],
    splits: Mapping[Path, str],
    known: Collection[str],
) -> FolderSplits:
    """Return the splits in which each component of related images may be.

    Parameters
    ----------
    samples
        n images.
    components
        Component of each image; images of one component are not divided.
    splits
        Maps the path of each image to the split of its folder: train, val, test or empty.
    known
        Known origins. Images of other origins that are in the folder train may be in val or test.
    """
    present = {splits[sample.path] for sample in samples}
    members: dict[int, list[int]] = defaultdict(list)
    for i, component in enumerate(components):
        members[component].append(i)
    allowed: dict[int, tuple[str, ...]] = {}
    left_out: set[int] = set()
    for component, indices in members.items():
        names = {splits[samples[i].path] for i in indices} - {""}
        if all(samples[i].origin not in known for i in indices):
            names -= {"train"}
        if not names:
            continue
        first = next(split for split in _ORDER if split in names)
        following = _ORDER[_ORDER.index(first) + 1 :][:1]
        allowed[component] = (first, *(split for split in following if split not in present))
        left_out |= {i for i in indices if splits[samples[i].path] in names - {first}}
    return FolderSplits(allowed, frozenset(left_out))


def check_folder_splits(
    folder: Path, samples: Sequence[Sample], splits: Mapping[Path, str], known: Collection[str]
) -> None:
    """Check that there are training images of each known origin.

    Raises
    ------
    DataError
        A known origin has images only in folders of val or test.
    """
    trained = {sample.origin for sample in samples if splits[sample.path] in ("train", "")}
    if missing := [origin for origin in known if origin not in trained]:
        raise DataError(
            f"{folder}: the folders of train have no images of {join_names(missing)}. If these are "
            f"unknown origins, add {name_option('--unknown ' + ','.join(missing))}."
        )
