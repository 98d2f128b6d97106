"""Use the splits that the folders of a dataset define.

If there are folders for train, val and test, each image stays in the split of its folder, except
that images of unknown origins in train can be used for val or test. If the folder for test is
missing, a part of the images in val is used for test. If the folder for val is missing, a part of
the images in train is used for val. An image is omitted if a related image, such as a
near-duplicate, is in the folder of an earlier split, unless the earlier split is train and all
related images are of unknown origins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whichgen.data.dataset import Sample
from whichgen.errors import DataError
from whichgen.option_names import name_option
from whichgen.phrases import join_names

#: Splits in their order: an image is omitted if a related image is in an earlier split.
_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class FolderSplits:
    """Splits that each component of related images can be assigned to, and omitted images.

    Parameters
    ----------
    allowed_splits
        Maps a component to the splits that its images can be assigned to. A component that is not
        in the dictionary can be assigned to any split.
    omitted_indices
        Indices of images that are omitted because an image of their component is in the folder of
        an earlier split. For components of unknown origins, the folder train does not count.
    """

    allowed_splits: dict[int, tuple[str, ...]] = field(default_factory=dict)
    omitted_indices: frozenset[int] = frozenset()


def find_folder_splits(
    samples: Sequence[Sample],
    components: Sequence[int],
    splits: Mapping[Path, str],
    known: Collection[str],
) -> FolderSplits:
    """Find the splits that each component of related images can be assigned to.

    Parameters
    ----------
    samples
        The images.
    components
        Number of the component of each image. All images of a component must be in the same split.
    splits
        Maps the path of each image to the split of its folder: ``train``, ``val``, ``test`` or
        empty.
    known
        Known origins. Images of unknown origins in the folder train can be assigned to val or test.
    """
    folder_splits = {splits[sample.path] for sample in samples}
    members: dict[int, list[int]] = defaultdict(list)
    for i, component in enumerate(components):
        members[component].append(i)
    allowed_splits: dict[int, tuple[str, ...]] = {}
    omitted_indices: set[int] = set()
    for component, indices in members.items():
        names = {splits[samples[i].path] for i in indices} - {""}
        if all(samples[i].origin not in known for i in indices):
            names -= {"train"}
        if not names:
            continue
        first = next(split for split in _ORDER if split in names)
        next_splits = _ORDER[_ORDER.index(first) + 1 :][:1]
        allowed_splits[component] = (first, *(s for s in next_splits if s not in folder_splits))
        omitted_indices |= {i for i in indices if splits[samples[i].path] in names - {first}}
    return FolderSplits(allowed_splits, frozenset(omitted_indices))


def check_folder_splits(
    folder: Path, samples: Sequence[Sample], splits: Mapping[Path, str], known: Collection[str]
) -> None:
    """Check that each known origin has images outside the folders for val and test.

    Parameters
    ----------
    folder
        The dataset folder, for the error message.
    samples, splits, known
        See :func:`find_folder_splits`.

    Raises
    ------
    DataError
        A known origin has images only in folders for val or test.
    """
    train_origins = {sample.origin for sample in samples if splits[sample.path] in ("train", "")}
    if missing := [origin for origin in known if origin not in train_origins]:
        raise DataError(
            f"{folder}: the folders for train have no images of {join_names(missing)}. Add images "
            "of these origins to train, or treat the origins as unknown: add them to "
            f"{name_option('--unknown')}."
        )
