"""Determine the origin and the split of each image from the folders that contain it.

Usually, each direct subfolder of a dataset folder is an origin. Published datasets have other
layouts, which are recognized by folder names:

- **Splits**: If all subfolders of a folder are named ``train``, ``val`` or ``test`` (or
  ``training``, ``validation`` and so on), and the folder directly contains no images, they are
  splits, not origins.
- **Pairs of photographs and generated images** (CNNDetection or ForenSynths, GenImage): All
  subfolders of a folder have names such as ``0_real`` and ``1_fake``, or ``nature`` and ``ai``. The
  generator is named after a parent folder. If there is only one pair, and it has no parent folder
  or only parent folders with generic names (``archive``), the generator is named after the folder
  of generated images.
- **Generators in a folder of generated images** (OSMA): The subfolders of ``fake`` are the origins
  if their names can be names of generators, and ``real`` has no subfolder of the same name. If
  there are several such pairs, a name must also occur in at least two of them.
- **Origins in domains** (DiffusionForensics): If the folders ``real`` are not direct
  subfolders of the dataset folder, all folders at their level are origins. The names of the parent
  folders are ignored.

If the layout is ambiguous, :func:`read_layout` raises an error.
"""

from __future__ import annotations

import os
import re
import shlex
import warnings
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from whichgen.constants import REAL
from whichgen.data.dataset import list_images
from whichgen.data.layouts.folder_names import find_split, may_be_photographs, means_photographs
from whichgen.data.layouts.origin_folders import Parts, label_folders
from whichgen.data.layouts.split_folders import remove_splits
from whichgen.errors import DataError, WhichgenWarning
from whichgen.io.file_names import escape_name
from whichgen.option_names import name_option
from whichgen.phrases import join_names


@dataclass(frozen=True)
class FolderLayout:
    """Origins, splits and source folders of the images in a dataset folder.

    Parameters
    ----------
    origins
        Maps each origin to the paths of its images. The origins are in alphabetical order. The
        paths are grouped by folder; the paths in a folder are in natural order.
    splits
        Maps the path of each image to ``train``, ``val`` or ``test``, or to an empty string if the
        image is not in the folder of a split. The dictionary is empty unless there is a folder
        for train and a folder for val or test.
    sources
        Maps the path of an image to the name of the direct subfolder of its origin's folder that
        contains the image. Folders of splits are ignored. Images directly in the folder of an
        origin are omitted.
    images_without_origin
        Paths of images directly in the dataset folder.
    notes
        Sentences that explain which folders are origins or splits; empty if none of the layouts
        in the module docstring was recognized, so each direct subfolder is an origin.
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
        ``folder`` is not a folder, has no subfolder with images, or contains reconstructions
        (DiffusionForensics) instead of images; it is not clear which folders are origins or splits;
        or a name in ``real`` is not the name of a folder with images.

    Warns
    -----
    WhichgenWarning
        Files or folders are skipped (:func:`~whichgen.data.dataset.list_images`).
    """
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises on long names)
        raise DataError(
            f"{folder} is not a folder. Specify a folder with one subfolder per origin."
        )
    absolute = Path(os.path.abspath(folder))  # noqa: PTH100 (Path.absolute keeps "..")
    images: dict[Parts, list[Path]] = defaultdict(list)
    for path in list_images(folder):
        images[path.relative_to(folder).parts[:-1]].append(path)
    images_without_origin = tuple(images.pop((), []))
    if not images and (folder / "origins.json").is_file():
        raise DataError(
            f"{folder} contains annotation files, not images. Specify "
            f"{absolute.name}:root={absolute.parent} instead."
        )
    if not images:
        raise DataError(
            f"{folder} has no subfolder with images. Put the images of each origin in a separate "
            f"subfolder: {folder}/real/…, {folder}/some_generator/…. If {absolute.name} is itself "
            f"an origin, specify its parent folder: {absolute.parent}"
        )
    split_of, origin_parts_of, notes = remove_splits(folder, images)
    names = {name.casefold() for parts in images for name in parts}
    if missing := [name for name in real if name.casefold() not in names]:
        folder_names = sorted({name for parts in origin_parts_of.values() for name in parts})
        examples = list(filter(means_photographs, folder_names)) or folder_names
        raise DataError(
            f"{folder} contains no folder named {', '.join(missing)}. Set {name_option('--real')} "
            f"to the name of a folder of photographs. Choose from {join_names(examples)}."
        )
    photographs = {name.casefold() for name in real}
    labels, label_notes = label_folders(absolute, set(origin_parts_of.values()), photographs)
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
    """Issue each note of a layout and each message of :func:`check_origin_names` as a warning.

    Warns
    -----
    WhichgenWarning
        The layout has notes, or its origins may be wrong.
    """
    for note in (*layout.notes, *check_origin_names(layout.origins)):
        warnings.warn(note, WhichgenWarning, stacklevel=1)


def check_origin_names(origins: Collection[str]) -> list[str]:
    """Return messages about probable mistakes in the origins of a dataset.

    One message states that there is only one origin. Another states that no origin is named
    ``real`` or, if there is one, which names of other origins denote photographs (``nature``) or
    datasets of photographs (``coco``).

    Parameters
    ----------
    origins
        Names of all origins of the dataset.
    """
    messages = []
    if len(origins) == 1:
        (only,) = origins
        messages.append(
            f"{only} is the only origin, but attribution needs at least two. Add a folder of "
            f"images of another origin. If the subfolders of {only} are origins, specify the "
            f"folder {only} instead."
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
