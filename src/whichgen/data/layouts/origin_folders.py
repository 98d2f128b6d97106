"""Determine which folders of a dataset are origins from the names of all folders.

A folder is represented by the parts of its path relative to the dataset folder, without the folders
of splits: ``("progan", "cat", "0_real")``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from whichgen.constants import REAL
from whichgen.data.layouts.folder_names import (
    is_container,
    may_be_generator,
    means_generated,
    means_photographs,
    means_real,
)
from whichgen.errors import DataError
from whichgen.phrases import join_names

#: Parts of a folder's path relative to the dataset folder.
Parts = tuple[str, ...]

#: Origin of the images in a folder, and number of parts of the path of the origin's folder.
Label = tuple[str, int]

#: Folders of DiffusionForensics with reconstructions of the images in the folder ``images``, and
#: with the differences between images and reconstructions.
_RECONSTRUCTIONS = {"recons", "dire"}


def label_folders(
    folder: Path, tree: Collection[Parts], photographs: Collection[str]
) -> tuple[dict[Parts, Label], list[str]]:
    """Determine the origin of the images in each folder.

    Parameters
    ----------
    folder
        The dataset folder, for messages.
    tree
        All folders that directly contain images, without the dataset folder itself.
    photographs
        Names of additional folders of photographs, case-folded (:meth:`str.casefold`).

    Returns
    -------
    labels : dict
        Maps each folder in ``tree`` to its :data:`Label`.
    notes : list of str
        Sentences that explain the labels; empty if the origins are the direct subfolders of the
        dataset folder and no pair (:func:`_find_pairs`) was found.

    Raises
    ------
    DataError
        It is not clear which folders are origins, or the folder contains reconstructions
        (DiffusionForensics) instead of images of an origin.
    """
    top_folders = {parts[0] for parts in tree}
    reconstructions = sorted(_RECONSTRUCTIONS & top_folders)
    if reconstructions and top_folders <= {*_RECONSTRUCTIONS, "images"}:
        raise DataError(
            f"{folder} contains reconstructions of images (DiffusionForensics) in "
            f"{join_names(reconstructions)}. Specify the folder of the original images instead, "
            f"such as {folder / 'images'}."
        )
    for parts, names in list_children(tree).items():
        ambiguous_names = sorted(n for n in names if not (means_real(n) or means_generated(n)))
        has_both = any(map(means_real, names)) and any(map(means_generated, names))
        if parts and not means_real(parts[0]) and has_both and ambiguous_names:
            listing = join_names(ambiguous_names)
            raise DataError(
                f"{folder.joinpath(*parts)} contains folders of photographs and of generated "
                f"images, but also {listing}. Move {listing} to another folder."
            )
    if pairs := _find_pairs(tree, photographs):
        return _label_pairs(folder, tree, pairs)
    depth = _find_depth(folder, tree, photographs)
    if not depth:
        return {parts: (parts[0], 1) for parts in tree}, []
    labels = {p: (REAL if means_real(p[depth]) else p[depth], depth + 1) for p in tree}
    if generated := sorted({origin for origin, _ in labels.values() if means_generated(origin)}):
        raise DataError(
            f"{folder}: can't determine which generator made the images in "
            f"{join_names(generated)}. Rename each such folder to the name of its generator."
        )
    parent_folders = sorted({p[depth - 1] for p in tree})
    return labels, [
        f"The origins are the subfolders of {join_names(parent_folders)}, because one of these "
        "subfolders contains photographs."
    ]


def list_children(tree: Iterable[Parts]) -> dict[Parts, set[str]]:
    """Return a dictionary from each folder that has subfolders to the names of its subfolders.

    Parameters
    ----------
    tree
        All folders that directly contain images.
    """
    children: dict[Parts, set[str]] = defaultdict(set)
    for parts in tree:
        for i, name in enumerate(parts):
            children[parts[:i]].add(name)
    return children


def _find_depth(folder: Path, tree: Collection[Parts], photographs: Collection[str]) -> int:
    """Return the depth of the origin folders: 0 for direct subfolders of the dataset folder.

    This is the smallest depth of the folders that denote ``real`` or are in ``photographs``, or 0
    if there are no such folders.

    Raises
    ------
    DataError
        A folder that denotes ``real`` is deeper and not in another folder of photographs, or a
        folder with images is above this depth.
    """

    def is_real(name: str) -> bool:
        return means_real(name) or name.casefold() in photographs

    depth = min((i for p in tree for i, name in enumerate(p) if is_real(name)), default=0)
    for parts in sorted(tree):
        has_deeper_real = not is_real(parts[min(depth, len(parts) - 1)]) and any(
            map(means_real, parts[depth + 1 :])
        )
        if has_deeper_real or len(parts) <= depth:
            raise DataError(
                f"{folder}: can't determine which folders are origins, because "
                f"the folders of photographs and {folder.joinpath(*parts)} are at different "
                "levels. Put the images of each origin into one subfolder: "
                f"{folder}/real/…, {folder}/some_generator/…"
            )
    return depth


def _find_pairs(tree: Collection[Parts], photographs: Collection[str]) -> set[Parts]:
    """Return the folders whose subfolders are photographs and generated images.

    The name of every subfolder must denote photographs, be in ``photographs``, or denote generated
    images. In any folder except the dataset folder, photographs may be missing, and generated
    images may be missing if all names of subfolders also occur in a complete pair. Folders in
    ``real`` and folders in other pairs are not searched.
    """
    children = {
        parts: names
        for parts, names in list_children(tree).items()
        if all(
            means_photographs(n) or means_generated(n) or n.casefold() in photographs for n in names
        )
        and not (parts and means_real(parts[0]))
    }
    complete = {p for p, names in children.items() if len(set(map(means_generated, names))) == 2}
    names_in_pairs = {name for parts in complete for name in children[parts]}
    pairs = complete | {
        p
        for p, names in children.items()
        if p and (all(map(means_generated, names)) or names <= names_in_pairs)
    }
    return {p for p in pairs if not any(p[:i] in pairs for i in range(len(p)))}


def _label_pairs(
    folder: Path, tree: Collection[Parts], pairs: Collection[Parts]
) -> tuple[dict[Parts, Label], list[str]]:
    """Return the label of each folder, and a note, for a dataset with pairs (:func:`_find_pairs`).

    Raises
    ------
    DataError
        A folder is in no pair, but in the same top folder as a pair; or it is not clear which
        folder is the generator.
    """
    pair_of = {p: next((p[:i] for i in range(len(p)) if p[:i] in pairs), None) for p in tree}
    generated = {p for p, q in pair_of.items() if q is not None and means_generated(p[len(q)])}
    has_generator_subfolders = _contain_generators(pair_of, generated)
    generators = {} if has_generator_subfolders else _name_generators(folder, pairs)
    labels: dict[Parts, Label] = {}
    for parts, pair in sorted(pair_of.items()):
        if pair is None and any(other[0] == parts[0] for other in pairs):
            raise DataError(
                f"{folder.joinpath(*parts)} is neither in a folder of photographs nor in a folder "
                f"of generated images, unlike other folders in {folder / parts[0]}. Move its "
                "images into such a folder."
            )
        if pair is None:
            labels[parts] = parts[0], 1
        elif parts not in generated:
            labels[parts] = REAL, len(pair) + 1
        elif has_generator_subfolders:
            labels[parts] = parts[len(pair) + 1], len(pair) + 2
        else:
            labels[parts] = generators[pair] or parts[len(pair)], len(pair) + 1
    note = _explain_pairs(
        pair_of, labels, generated, has_generator_subfolders=has_generator_subfolders
    )
    return labels, [note]


def _contain_generators(pair_of: dict[Parts, Parts | None], generated: Collection[Parts]) -> bool:
    """Return whether the subfolders of the folders of generated images are generators.

    All of these conditions must be true:

    - Each generated image is in a subfolder whose name can be the name of a generator.
    - No folder of photographs has a subfolder of the same name.
    - Only one pair has generated images, or the generated images of at least two pairs have a
      subfolder of the same name.
    """
    names_by_pair: dict[Parts, set[str]] = defaultdict(set)
    photograph_names: set[str] = set()
    for parts, pair in pair_of.items():
        subfolders = parts[len(pair) + 1 :] if pair is not None else ()
        if parts in generated and pair is not None:
            names_by_pair[pair].add(subfolders[0] if subfolders else "")
        else:
            photograph_names.update(subfolders[:1])
    generated_names = [name for names in names_by_pair.values() for name in names]
    is_repeated = len(names_by_pair) == 1 or len(set(generated_names)) < len(generated_names)
    return is_repeated and all(
        may_be_generator(name) and name not in photograph_names for name in generated_names
    )


def _name_generators(folder: Path, pairs: Collection[Parts]) -> dict[Parts, str]:
    """Return the name of the generator of each pair.

    The name is the part of the pair's path at a level where the parts of all pairs can be names of
    generators. This is the first such level from the level at which the paths begin to differ, or
    else the deepest such level above it. The name is empty if there is only one pair and all parts
    of its path are generic.

    Raises
    ------
    DataError
        There is no such level.
    """
    if len(pairs) == 1 and all(map(is_container, next(iter(pairs)))):
        return dict.fromkeys(pairs, "")
    first = 0
    while len(pairs) > 1 and len({pair[: first + 1] for pair in pairs}) == 1:
        first += 1
    # The folder of an image category may be a parent or a subfolder of the generator's folder.
    levels = [*range(first, min(map(len, pairs))), *range(first - 1, -1, -1)]
    level = next((i for i in levels if all(may_be_generator(pair[i]) for pair in pairs)), levels[0])
    invalid_names = sorted({pair[level] for pair in pairs if not may_be_generator(pair[level])})
    if invalid_names:
        raise DataError(
            f"{folder}: can't determine which folder is the generator, because these are "
            f"not names of generators: {join_names(invalid_names)}. If {folder.name} is the "
            f"generator, specify {folder.parent}. Otherwise, put the images in a folder named "
            f"after the generator: {folder}/some_generator/{invalid_names[0]}/…"
        )
    return {pair: pair[level] for pair in pairs}


def _explain_pairs(
    pair_of: dict[Parts, Parts | None],
    labels: dict[Parts, Label],
    generated: Collection[Parts],
    *,
    has_generator_subfolders: bool,
) -> str:
    real = {parts[len(q)] for parts, q in pair_of.items() if q is not None} - {
        parts[len(q)] for parts in generated if (q := pair_of[parts]) is not None
    }
    generated_names = sorted({p[len(q)] for p in generated if (q := pair_of[p]) is not None})
    listing = join_names(generated_names)
    origins = sorted({labels[parts][0] for parts in generated})
    note = ""
    if real - {REAL}:
        note = f"The origin of the images in {join_names(sorted(real))} is real. "
    if has_generator_subfolders:
        return f"{note}The folders in {listing} are generators: {join_names(origins)}."
    if origins == generated_names:
        return (
            f"{note}The generator is named after the folder of generated images ({listing}), "
            "because no folder name was recognized as the name of a generator."
        )
    return (
        f"{note}The generator of the images in {listing} is named after a parent folder: "
        f"{join_names(origins)}."
    )
