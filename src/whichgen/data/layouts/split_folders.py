"""Recognize the folders of splits, such as ``train`` and ``val``, in the layout of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from whichgen.data.layouts.folder_names import find_split
from whichgen.data.layouts.origin_folders import Parts, list_children
from whichgen.errors import DataError
from whichgen.phrases import join_names


def remove_splits(
    folder: Path, images: Mapping[Parts, Sequence[Path]]
) -> tuple[dict[Parts, str], dict[Parts, Parts], list[str]]:
    """Find the split of each folder, and remove the folders of splits from its path.

    A folder is a split if the folder and all its siblings have names of splits, and ``images`` does
    not contain the parent folder. Otherwise, the folder may be an image category, such as ``train``
    (the vehicle).

    Parameters
    ----------
    folder
        The dataset folder.
    images
        Maps the path of each folder with images, as parts relative to ``folder``, to its images.

    Returns
    -------
    split_of : dict
        Maps each key of ``images`` to ``train``, ``val``, ``test`` or an empty string.
    origin_parts_of : dict
        Maps each key of ``images`` to its parts that are not splits.
    notes : list of str
        A sentence that lists the folders of splits; empty if there are none.

    Raises
    ------
    DataError
        A folder is in the folders of several splits, or all parts of its path are splits, so that
        its images have no origin.
    """
    children = list_children(images)
    split_of, origin_parts_of = {}, {}
    split_by_name: dict[str, str] = {}
    for parts in images:
        is_split = [
            all(map(find_split, children[parts[:i]])) and parts[:i] not in images
            for i in range(len(parts))
        ]
        split_names = [name for name, split in zip(parts, is_split, strict=True) if split]
        origin_parts = tuple(name for name, split in zip(parts, is_split, strict=True) if not split)
        splits = {find_split(name) for name in split_names}
        split_by_name |= {name: find_split(name) for name in split_names}
        if len(splits) > 1:
            raise DataError(
                f"{folder.joinpath(*parts)} is in the folders of several splits. Move its images "
                "to the folder of one split."
            )
        if not origin_parts:
            raise DataError(
                f"{folder.joinpath(*parts)} is the folder of a split but contains images directly. "
                f"Put the images of each origin into a subfolder: {parts[-1]}/real/…, "
                f"{parts[-1]}/some_generator/…"
            )
        split_of[parts], origin_parts_of[parts] = "".join(splits), origin_parts
    if not split_by_name:
        return split_of, origin_parts_of, []
    sorted_names = sorted(
        split_by_name, key=lambda name: ("train", "val", "test").index(split_by_name[name])
    )
    note = f"These folders are splits, not origins: {join_names(sorted_names)}."
    return split_of, origin_parts_of, [note]
