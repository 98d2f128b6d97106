"""Read the origin and the split of each image from the folders that contain it.

Usually, each direct subfolder of a dataset folder is an origin. Published datasets are organized in
other ways, which are recognized by the names of their folders:

- **Splits.** If all subfolders of a folder are called ``train``, ``val`` or ``test`` (or
  ``training``, ``validation`` and so on), they are splits, not origins.
- **Photographs and generated images in pairs** (CNNDetection or ForenSynths, GenImage): all
  subfolders of a folder are called ``0_real`` and ``1_fake``, or ``nature`` and ``ai``. A folder
  above the pair names the generator.
- **Generators in a folder of generated images** (OSMA): the subfolders of ``fake`` are the origins,
  unless ``real`` has subfolders of the same names.
- **Origins in domains** (DiffusionForensics): a folder ``real`` and the folders beside it are the
  origins, whatever the folders above them are called.

Folders that may be organized in one of these ways, but not clearly, are refused.
"""

from __future__ import annotations

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
from whichgen.io.file_names import show_name
from whichgen.option_names import name_option


@dataclass(frozen=True)
class FolderLayout:
    """Origins, splits and source folders of the images in a dataset folder.

    Parameters
    ----------
    origins
        Maps each origin, in alphabetical order, to the paths of its images in natural order.
    splits
        Maps each path to train, val or test, or to an empty text if it is not in the folder of a
        split. The dictionary is empty unless there are folders for train and for val or test.
    sources
        Maps the path of each image that is in a subfolder of its origin's folder to the name of
        the subfolder.
    stray
        Paths of images directly in the dataset folder; they have no origin.
    notes
        Sentences that explain how the folders were read, unless each direct subfolder is an origin.
    """

    origins: dict[str, list[Path]]
    splits: dict[Path, str]
    sources: dict[Path, str]
    stray: tuple[Path, ...]
    notes: tuple[str, ...]


def read_layout(folder: Path, real: Collection[str] = ()) -> FolderLayout:
    """Read the origin and the split of each image in the subfolders of a folder.

    Parameters
    ----------
    folder
        The dataset folder.
    real
        Names of further folders of photographs, in upper or lower case; their images get the origin
        ``real``.

    Raises
    ------
    DataError
        The folder does not exist or has no subfolder with images, it is not clear which folders are
        origins, or no folder has a name in ``real``.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder. Specify a folder with one subfolder per origin."
        )
    images: dict[Parts, list[Path]] = defaultdict(list)
    for path in list_images(folder):
        images[path.relative_to(folder).parts[:-1]].append(path)
    stray = tuple(images.pop((), []))
    if not images and (folder / "origins.json").is_file():
        raise DataError(
            f"{folder} contains annotation files, not images. Write {folder.name}:split=split1:"
            f"root={folder.parent} instead."
        )
    if not images:
        raise DataError(
            f"{folder} has no subfolder with images. Put the images of each origin in a separate "
            f"subfolder: {folder}/real/…, {folder}/some_generator/…; or, if {folder.name} is one "
            f"origin, give the folder above it: {folder.parent}"
        )
    names = {name.casefold() for parts in images for name in parts}
    if missing := [name for name in real if name.casefold() not in names]:
        others = sorted({n for parts in images for n in parts if not find_split(n)})
        raise DataError(
            f"{folder} has no folder {', '.join(missing)}. Give {name_option('--real')} the name "
            "of a folder of photographs: "
            f"{join_names(filter(means_photographs, others)) or join_names(others)}."
        )
    photographs = {name.casefold() for name in real}
    split_of, rest_of, notes = _remove_splits(folder, images)
    labels, label_notes = label_folders(folder, set(rest_of.values()), photographs)
    origins: dict[str, list[Path]] = defaultdict(list)
    splits: dict[Path, str] = {}
    sources: dict[Path, str] = {}
    for parts, paths in images.items():
        rest = rest_of[parts]
        origin, depth = labels[rest]
        if (shown := show_name(origin)) != origin:
            # Models hold text, but a folder's name is bytes; an origin has no backslash.
            origin = shown.replace("\\", "_")
        origins[REAL if origin.casefold() in photographs else origin] += paths
        splits |= dict.fromkeys(paths, split_of[parts])
        if len(rest) > depth:
            sources |= dict.fromkeys(paths, show_name(rest[depth]))
    if wrong := sorted(filter(find_split, origins)):
        raise DataError(
            f"{folder}: {join_names(wrong)} is the name of a split, but the folders beside it are "
            "not. Put all images into train, val and test, or none."
        )
    if not {"train"} < set(splits.values()) - {""}:
        splits = {}
    ordered = {origin: origins[origin] for origin in sorted(origins)}
    return FolderLayout(ordered, splits, sources, stray, (*notes, *label_notes))


def warn_about_layout(layout: FolderLayout) -> None:
    """Warn if the folders were not read in the usual way, and about the names of the origins."""
    for note in (*layout.notes, *check_origin_names(layout.origins)):
        warnings.warn(note, WhichgenWarning, stacklevel=1)


def check_origin_names(origins: Collection[str]) -> list[str]:
    """Return warnings about a dataset with one origin, without ``real``, or with a second ``real``.

    Parameters
    ----------
    origins
        Names of all origins of the dataset.
    """
    messages = []
    if len(origins) == 1:
        (only,) = origins
        messages.append(
            f"{only} is the only origin; attribution needs two. If the folders in {only} are "
            "origins, give that folder instead."
        )
    others = sorted(o for o in origins if o != REAL and may_be_photographs(o))
    if not others and REAL not in origins:
        others = sorted(o for o in origins if any(map(means_photographs, re.split(r"[\W_]+", o))))
    subject = join_names(others) or "a folder"
    value = shlex.quote(",".join(others)) if others else "NAME"
    option = name_option(f"--real {value}", f"`real={tuple(others) or ('NAME',)}`")
    plural = len(others) > 1
    advice = f"If {subject} {'hold' if plural else 'holds'} photographs, add {option}."
    if REAL not in origins:
        otherwise = "" if others else " Otherwise, add a folder called real."
        messages.append(
            f"No origin is called real, so no image counts as a photograph. {advice}{otherwise}"
        )
    elif others:
        count = "count as generators" if plural else "counts as a generator"
        messages.append(f"{join_names(others)} {count}. {advice}")
    return messages


def _remove_splits(
    folder: Path, images: Mapping[Parts, Sequence[Path]]
) -> tuple[dict[Parts, str], dict[Parts, Parts], list[str]]:
    """Return the split of each folder, the names without those of splits, and notes.

    A folder is a split if it and all folders beside it have names of splits, and no image is beside
    it: an image category is called ``train``, too.
    """
    children = list_children(images)
    split_of, rest_of = {}, {}
    names: dict[str, str] = {}
    for parts in images:
        is_split = [
            all(map(find_split, children[parts[:i]])) and parts[:i] not in images
            for i in range(len(parts))
        ]
        split_names = [name for name, split in zip(parts, is_split, strict=True) if split]
        rest = tuple(name for name, split in zip(parts, is_split, strict=True) if not split)
        splits = {find_split(name) for name in split_names}
        names |= {name: find_split(name) for name in split_names}
        if len(splits) > 1:
            raise DataError(
                f"{folder.joinpath(*parts)} is in the folders of several splits. Move its images "
                "into one of them."
            )
        if not rest:
            raise DataError(
                f"{folder.joinpath(*parts)} is the folder of a split and contains images directly. "
                f"Put the images of each origin into a subfolder of it: {parts[-1]}/real/…, "
                f"{parts[-1]}/some_generator/…"
            )
        split_of[parts], rest_of[parts] = "".join(splits), rest
    if not names:
        return split_of, rest_of, []
    ordered = sorted(names, key=lambda n: ("train", "val", "test").index(names[n]))
    return split_of, rest_of, [f"Folders of splits, not of origins: {join_names(ordered)}."]
