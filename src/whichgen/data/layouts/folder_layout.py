"""Determine the origin and the split of each image from the folders that contain it.

Usually, each direct subfolder of a dataset folder is an origin. Published datasets have other
layouts, which are recognized by folder names:

- **Splits**: If all subfolders of a folder are named ``train``, ``val`` or ``test`` (or
  ``training``, ``validation`` and so on), they are splits, not origins.
- **Pairs of photographs and generated images** (CNNDetection or ForenSynths, GenImage): All
  subfolders of a folder are named ``0_real`` and ``1_fake``, or ``nature`` and ``ai``. The name of
  a parent folder is the generator.
- **Generators in a folder of generated images** (OSMA): The subfolders of ``fake`` are the origins,
  unless ``real`` has subfolders of the same names.
- **Origins in domains** (DiffusionForensics): A folder ``real`` and its sibling folders are the
  origins. The names of their parent folders are ignored.

If the layout is ambiguous, :func:`read_layout` raises an error.
"""

from __future__ import annotations

import os
import re
import shlex
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whichgen.constants import REAL
from whichgen.data.dataset import list_images
from whichgen.data.layouts.folder_names import (
    find_split,
    join_names,
    may_be_photographs,
    means_photographs,
)
from whichgen.data.layouts.origin_folders import Parts, label_folders, list_children
from whichgen.errors import DataError, WhichgenWarning
from whichgen.io.file_names import escape_name
from whichgen.option_names import name_option


@dataclass(frozen=True)
class FolderLayout:
    """Origins, splits and source folders of the images in a dataset folder.

    Parameters
    ----------
    origins
        Maps each origin, in alphabetical order, to the paths of its images in natural order.
    splits
        Maps the path of each image to ``train``, ``val`` or ``test``, or to an empty string if the
        image is not in the folder of a split. The dictionary is empty unless there is a folder
        for train and a folder for val or test.
    sources
        Maps the path of an image to the name of the subfolder of its origin's folder that contains
        the image. Images directly in the folder of an origin are omitted.
    images_without_origin
        Paths of images directly in the dataset folder.
    notes
        Sentences that explain which folders are origins or splits; empty if each direct subfolder
        is an origin.
    """

    origins: dict[str, list[Path]]
    splits: dict[Path, str]
    sources: dict[Path, str]
    images_without_origin: tuple[Path, ...]
    notes: tuple[str, ...]


def read_layout(folder: Path, real: Collection[str] = ()) -> FolderLayout:
    """Determine the origin and the split of each image in the subfolders of a folder.

    Parameters
    ----------
    folder
        The dataset folder.
    real
        Names of additional folders of photographs (case-insensitive). The origin of their images is
        ``real``.

    Returns
    -------
    FolderLayout
        The origins, splits and sources. Names of origins are not validated.

    Raises
    ------
    DataError
        The folder does not exist or has no subfolder with images, it is not clear which folders are
        origins or splits, or a name in ``real`` is not the name of a folder.

    Warns
    -----
    WhichgenWarning
        Files that are not images are skipped (:func:`~whichgen.data.dataset.list_images`).
    """
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises on long names)
        raise DataError(
            f"{folder} is not a folder. Specify a folder with one subfolder per origin."
        )
    images: dict[Parts, list[Path]] = defaultdict(list)
    for path in list_images(folder):
        images[path.relative_to(folder).parts[:-1]].append(path)
    images_without_origin = tuple(images.pop((), []))
    if not images and (folder / "origins.json").is_file():
        raise DataError(
            f"{folder} contains annotation files, not images. Specify {folder.name}:split=split1:"
            f"root={folder.parent} instead."
        )
    if not images:
        raise DataError(
            f"{folder} has no subfolder with images. Put the images of each origin in a separate "
            f"subfolder: {folder}/real/…, {folder}/some_generator/…. If {folder.name} is itself an "
            f"origin, specify its parent folder: {folder.parent}"
        )
    names = {name.casefold() for parts in images for name in parts}
    if missing := [name for name in real if name.casefold() not in names]:
        folder_names = sorted({n for parts in images for n in parts if not find_split(n)})
        examples = list(filter(means_photographs, folder_names)) or folder_names
        raise DataError(
            f"{folder} contains no folder named {', '.join(missing)}. Set {name_option('--real')} "
            f"to the name of a folder of photographs. Choose from {join_names(examples)}."
        )
    photographs = {name.casefold() for name in real}
    split_of, origin_parts_of, notes = _remove_splits(folder, images)
    labels, label_notes = label_folders(folder, set(origin_parts_of.values()), photographs)
    origins: dict[str, list[Path]] = defaultdict(list)
    splits: dict[Path, str] = {}
    sources: dict[Path, str] = {}
    for parts, paths in images.items():
        origin_parts = origin_parts_of[parts]
        origin, depth = labels[origin_parts]
        if (printable := escape_name(origin)) != origin:
            # A saved model can't contain a folder name that is not valid UTF-8. escape_name inserts
            # backslashes, which are not allowed in names of origins.
            origin = printable.replace("\\", "_")
        origins[REAL if origin.casefold() in photographs else origin] += paths
        splits |= dict.fromkeys(paths, split_of[parts])
        if len(origin_parts) > depth:
            sources |= dict.fromkeys(paths, escape_name(origin_parts[depth]))
    if split_names := sorted(filter(find_split, origins)):
        raise DataError(
            f"{folder} contains folders of splits ({join_names(split_names)}) and other folders. "
            "Put either all images or no images into folders of splits."
        )
    if not {"train"} < set(splits.values()) - {""}:
        splits = {}
    sorted_origins = {origin: origins[origin] for origin in sorted(origins)}
    return FolderLayout(
        sorted_origins, splits, sources, images_without_origin, (*notes, *label_notes)
    )


def warn_about_layout(layout: FolderLayout) -> None:
    """Issue the notes of a layout and the warnings of :func:`check_origin_names` as warnings."""
    for note in (*layout.notes, *check_origin_names(layout.origins)):
        warnings.warn(note, WhichgenWarning, stacklevel=1)


def check_origin_names(origins: Collection[str]) -> list[str]:
    """Return warnings about origins that are probably wrong.

    There is a warning about a single origin, about a missing origin ``real``, and about names of
    other origins that may denote photographs.

    Parameters
    ----------
    origins
        Names of all origins of the dataset.
    """
    messages = []
    if len(origins) == 1:
        (only,) = origins
        messages.append(
            f"{only} is the only origin, but attribution needs at least two. If the subfolders of "
            f"{only} are origins, specify {only} instead."
        )
    candidates = sorted(o for o in origins if o != REAL and may_be_photographs(o))
    if not candidates and REAL not in origins:
        candidates = sorted(
            o for o in origins if any(map(means_photographs, re.split(r"[\W_]+", o)))
        )
    subject = join_names(candidates) or "a folder"
    value = shlex.quote(",".join(candidates)) if candidates else "NAME"
    option = name_option(f"--real {value}", f"`real={tuple(candidates) or ('NAME',)}`")
    verb = "contain" if len(candidates) > 1 else "contains"
    advice = f"If {subject} {verb} photographs, add {option}."
    if REAL not in origins:
        otherwise = "" if candidates else " Otherwise, add a folder named real."
        messages.append(
            f"No origin is named real, so no image counts as a photograph. {advice}{otherwise}"
        )
    elif candidates:
        count = "count as generators" if len(candidates) > 1 else "counts as a generator"
        messages.append(f"{join_names(candidates)} {count}. {advice}")
    return messages


def _remove_splits(
    folder: Path, images: Mapping[Parts, Sequence[Path]]
) -> tuple[dict[Parts, str], dict[Parts, Parts], list[str]]:
    """Return the split of each folder, the path of each folder without splits, and notes.

    A folder is a split if the folder and all its siblings have names of splits, and the parent
    folder contains no images directly. Otherwise, the folder may be an image category, such as
    ``train`` (the vehicle).

    Raises
    ------
    DataError
        A folder is in the folders of several splits, or the folder of a split contains images
        directly.
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
