"""Find the folders that name the origins, by the names of all folders of a dataset.

Folders are given by the names of the folders from the dataset folder to them, without those of
splits: ``("progan", "cat", "0_real")``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from whichgen.constants import REAL
from whichgen.data.layouts.folder_names import (
    is_container,
    join_names,
    means_generated,
    means_photographs,
    means_real,
    names_generator,
)
from whichgen.errors import DataError

#: Names of the folders from the dataset folder to a folder.
Parts = tuple[str, ...]

#: Origin of the images in a folder, and number of folders down to that of the origin.
Label = tuple[str, int]

#: Folders of DiffusionForensics that hold images computed from those of the folder ``images``.
_DERIVED = {"recons", "dire"}


def label_folders(
    folder: Path, tree: Collection[Parts], photographs: Collection[str]
) -> tuple[dict[Parts, Label], list[str]]:
    """Return the origin of the images in each folder, and sentences that explain it.

    Parameters
    ----------
    folder
        The dataset folder, for messages.
    tree
        All folders that directly contain images; at least one name each.
    photographs
        Names of further folders of photographs, in lower case.

    Raises
    ------
    DataError
        It is not clear which folders are origins.
    """
    tops = {parts[0] for parts in tree}
    if (derived := sorted(_DERIVED & tops)) and tops <= {*_DERIVED, "images"}:
        raise DataError(
            f"{folder}: {join_names(derived)} holds reconstructions (DiffusionForensics), not "
            f"images of an origin. Give the folder {folder / 'images'}."
        )
    for parts, names in list_children(tree).items():
        kinds = {means_real(name) - means_generated(name) for name in names}
        if parts and not means_real(parts[0]) and kinds == {1, -1, 0}:
            other = sorted(n for n in names if not (means_real(n) or means_generated(n)))
            raise DataError(
                f"{folder.joinpath(*parts)} has folders of photographs and of generated images, "
                f"but also {join_names(other)}. Move the latter elsewhere."
            )
    if pairs := _find_pairs(tree, photographs):
        return _label_pairs(folder, tree, pairs)
    depth = _find_depth(folder, tree, photographs)
    if not depth:
        return {parts: (parts[0], 1) for parts in tree}, []
    labels = {p: (REAL if means_real(p[depth]) else p[depth], depth + 1) for p in tree}
    if generated := sorted({origin for origin, _ in labels.values() if means_generated(origin)}):
        raise DataError(
            f"{folder}: it is not clear which folder names the generator of the images in "
            f"{join_names(generated)}. Move other images than {join_names(generated)} and "
            "photographs out of the folders beside them."
        )
    above = sorted({p[depth - 1] for p in tree})
    return labels, [
        f"The origins are the folders in {join_names(above)}, because one of them is called real."
    ]


def list_children(tree: Iterable[Parts]) -> dict[Parts, set[str]]:
    """Return the names of the subfolders of each folder that has any."""
    children: dict[Parts, set[str]] = defaultdict(set)
    for parts in tree:
        for i, name in enumerate(parts):
            children[parts[:i]].add(name)
    return children


def _find_depth(folder: Path, tree: Collection[Parts], photographs: Collection[str]) -> int:
    """Return the depth of the folders of origins: that of the folders called ``real``, or 0."""

    def is_real(name: str) -> bool:
        return means_real(name) or name.casefold() in photographs

    depth = min((i for p in tree for i, name in enumerate(p) if is_real(name)), default=0)
    for parts in sorted(tree):
        deeper = not is_real(parts[min(depth, len(parts) - 1)]) and any(
            map(means_real, parts[depth + 1 :])
        )
        if deeper or len(parts) <= depth:
            raise DataError(
                f"{folder}: it is not clear which folders are origins, because folders called real "
                f"are at several levels, or missing beside {folder.joinpath(*parts)}. Put the "
                f"images of each origin into one subfolder: {folder}/real/…, "
                f"{folder}/some_generator/…"
            )
    return depth


def _find_pairs(tree: Collection[Parts], photographs: Collection[str]) -> set[Parts]:
    """Return the folders whose subfolders are photographs and generated images.

    The names of all subfolders must have one of these meanings. Photographs may be missing below
    the top; generated images may be missing if their neighbors have the names of a complete pair.
    Folders in ``real`` are not searched.
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
    """Label folders if some have pairs of photographs and generated images as subfolders."""
    pair_of = {p: next((p[:i] for i in range(len(p)) if p[:i] in pairs), None) for p in tree}
    generated = {p for p, q in pair_of.items() if q is not None and means_generated(p[len(q)])}
    inside = _contain_generators(pair_of, generated)
    generators = {} if inside else _name_generators(folder, pairs)
    labels: dict[Parts, Label] = {}
    for parts, pair in sorted(pair_of.items()):
        if pair is None and any(other[0] == parts[0] for other in pairs):
            raise DataError(
                f"{folder.joinpath(*parts)} is neither in a folder of photographs nor in one of "
                f"generated images, unlike others in {folder / parts[0]}. Move its images into "
                "one of them."
            )
        if pair is None:
            labels[parts] = parts[0], 1
        elif parts not in generated:
            labels[parts] = REAL, len(pair) + 1
        elif inside:
            labels[parts] = parts[len(pair) + 1], len(pair) + 2
        else:
            labels[parts] = generators[pair] or parts[len(pair)], len(pair) + 1
    return labels, [_explain_pairs(pair_of, labels, generated, inside=inside)]


def _contain_generators(pair_of: dict[Parts, Parts | None], generated: Collection[Parts]) -> bool:
    """Return whether the generators are the subfolders of the folders of generated images.

    This is so if all these images are in subfolders that can name a generator, if no folder of
    photographs has subfolders of the same names, and if there is only one pair, or several have
    subfolders of the same names.
    """
    names: dict[Parts, set[str]] = defaultdict(set)
    others: set[str] = set()
    for parts, pair in pair_of.items():
        below = parts[len(pair) + 1 :] if pair is not None else ()
        if parts in generated and pair is not None:
            names[pair].add(below[0] if below else "")
        else:
            others.update(below[:1])
    together = [name for group in names.values() for name in group]
    shared = len(names) == 1 or len(set(together)) < len(together)
    return shared and all(names_generator(name) and name not in others for name in together)


def _name_generators(folder: Path, pairs: Collection[Parts]) -> dict[Parts, str]:
    """Return the name of each pair's generator: the first suitable one in which the pairs differ.

    It is empty for a pair at the top of the dataset folder, or in folders that only hold others.
    """
    if len(pairs) == 1 and all(map(is_container, next(iter(pairs)))):
        return dict.fromkeys(pairs, "")
    first = 0
    while len(pairs) > 1 and len({pair[: first + 1] for pair in pairs}) == 1:
        first += 1
    # A folder of images of one kind may be above those of the generators, or in them.
    levels = [*range(first, min(map(len, pairs))), *range(first - 1, -1, -1)]
    level = next((i for i in levels if all(names_generator(pair[i]) for pair in pairs)), levels[0])
    if wrong := sorted({pair[level] for pair in pairs if not names_generator(pair[level])}):
        raise DataError(
            f"{folder}: no folder names the generator, because {join_names(wrong)} can't be one. "
            f"If {folder.name} is the generator, give the folder above it; otherwise, move the "
            f"folders into one that is named after the generator: "
            f"{folder}/some_generator/{wrong[0]}/…"
        )
    return {pair: pair[level] for pair in pairs}


def _explain_pairs(
    pair_of: dict[Parts, Parts | None],
    labels: dict[Parts, Label],
    generated: Collection[Parts],
    *,
    inside: bool,
) -> str:
    real = {parts[len(q)] for parts, q in pair_of.items() if q is not None} - {
        parts[len(q)] for parts in generated if (q := pair_of[parts]) is not None
    }
    fake = join_names(sorted({p[len(q)] for p in generated if (q := pair_of[p]) is not None}))
    origins = sorted({labels[parts][0] for parts in generated})
    read = f"{join_names(sorted(real))} is read as the origin real. " if real - {REAL} else ""
    if inside:
        return f"{read}The folders in {fake} are read as generators: {join_names(origins)}."
    if origins == [fake]:
        return f"{read}All images in {fake} are read as one generator, because no folder names it."
    return (
        f"{read}The images in {fake} are read as those of the generator that a folder above "
        f"names: {join_names(origins)}."
    )
