"""A gallery built: vectors come from the feature store in batches, and recall is measured.

Some images are held out at first. When all others are in the index these are asked for, and what is
found is held against the exact answer; then they are added as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from whichgen.errors import GalleryError
from whichgen.gallery.entries import Images, steps
from whichgen.gallery.index import (
    Kind,
    default_kind,
    efforts,
    new_index,
    sample_size,
    search,
    write_arrays,
)
from whichgen.gallery.recall import ENOUGH, ExactSearch, Recall, compute_recall
from whichgen.gallery.storage import (
    ENTRIES_FILE,
    FORMAT,
    GALLERY_FILE,
    GalleryDescription,
)
from whichgen.io.atomic import replace_folder
from whichgen.io.run_metadata import hash_parts
from whichgen.models.signatures import sha256_of_file
from whichgen.progress import Progress, no_progress
from whichgen.version import __version__

#: Images held out to measure recall by, at most; of few images half.
QUERIES = 1000


def check_gallery_folder(folder: Path, *, force: bool) -> None:
    """:class:`GalleryError` if a folder is not free for a gallery."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / GALLERY_FILE).is_file():
        raise GalleryError(f"{folder} is there and is no gallery. Choose another folder with -o.")
    if not force:
        raise GalleryError(
            f"{folder} holds a gallery. Choose another folder with -o, or add --force."
        )


def build_local_gallery(
    folder: Path,
    images: Images,
    record: Mapping[str, Any],
    *,
    kind: Kind | None = None,
    effort: int = 0,
    seed: int = 0,
    force: bool = False,
    progress: Progress = no_progress,
) -> GalleryDescription:
    """Writes a gallery of images whose features are in the store.

    Beside the index and :attr:`Images.entries`, some thousand rows are in memory at a time, and for
    ``ivf`` the vectors that its centroids are fitted on.

    Parameters
    ----------
    record
        What made it (:func:`whichgen.io.run_metadata.collect_run_metadata`).
    kind
        ``None``: by the number of images (:func:`whichgen.gallery.index.default_kind`).
    effort
        Lists or candidates that a search looks at; 0: as few as find 95 % of the ten nearest of one
        half of the images held out. Recall is that of the other half.
    seed
        Of what is held out and of the centroids.

    Raises
    ------
    GalleryError
        The folder is not free.
    """
    check_gallery_folder(folder, force=force)
    kind = kind or default_kind(len(images))
    kept, held = divided(len(images), seed)
    images = images.take(np.concatenate([kept, held]))
    n = len(kept)
    kept, held = np.arange(n), np.arange(n, len(images))
    dimension = images.space.dimension
    sample = _sample(images, n, sample_size(kind, n), seed)
    index = new_index(kind, dimension, n, sample, seed=seed)
    exact = ExactSearch(images.points(held))
    batches = list(steps(kept))
    for rows in progress(batches, description="Indexing", total=len(batches)):
        points = images.points(rows)
        index.add(points)
        exact.add(points)
    effort, recall = _measured(index, kind, images, exact, effort)
    index.add(exact.queries)
    with replace_folder(folder) as work:
        pq.write_table(images.entries, work / ENTRIES_FILE, compression="zstd")
        names = (ENTRIES_FILE, *write_arrays(index, kind, work))
        description = GalleryDescription(
            format=FORMAT,
            whichgen=__version__,
            model=images.space.digest,
            encoder=images.store.folder.name,
            kind=kind,
            number=len(images),
            dimension=dimension,
            effort=effort,
            recall=recall,
            files={name: sha256_of_file(work / name) for name in names},
            run_metadata=dict(record),
        )
        write_description(description, work)
    return description


def write_description(description: GalleryDescription, folder: Path) -> None:
    """Writes ``gallery.json``."""
    text = description.model_dump_json(indent=1) + "\n"
    (folder / GALLERY_FILE).write_text(text, encoding="utf-8")


def data_hash(images: Images) -> str:
    """A digest of the images and origins of a gallery, for its record."""
    parts: list[str | bytes] = []
    for rows in steps(np.arange(len(images))):
        table = images.entries.take(rows)
        digests, origins = table["digest"].to_pylist(), table["origin"].to_pylist()
        parts.append(
            hash_parts(part for pair in zip(digests, origins, strict=True) for part in pair)
        )
    return hash_parts(parts)


def divided(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows to index first, and those held out to ask for: int64 arrays, ascending."""
    held = np.zeros(n, dtype=bool)
    held[np.random.default_rng(seed).choice(n, min(QUERIES, n // 2), replace=False)] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _sample(images: Images, n: int, size: int, seed: int) -> np.ndarray:
    """The vectors of some of the first n rows, in order."""
    rows = np.random.default_rng(seed).choice(n, size, replace=False)
    return images.points(np.sort(rows))


def _measured(
    index: Any, kind: Kind, images: Images, exact: ExactSearch, effort: int
) -> tuple[int, Recall | None]:
    """The effort, chosen if it is 0, and the recall it has."""
    ladder = (effort,) if effort and kind != "flat" else efforts(kind, index.ntotal)
    if not len(exact.queries):
        return ladder[-1], None
    nearest = exact.nearest()
    half = np.arange(len(exact.queries)) % 2 == 1
    chosen_on = half if len(half) > 1 else ~half

    def recall(queries: np.ndarray, effort: int) -> Recall:
        points, k = exact.queries[queries], nearest.shape[1]
        _, rows = search(index, kind, points, k, effort)
        return compute_recall(_true_cosines(images, points, rows), nearest[queries])

    enough = (e for e in ladder[:-1] if recall(chosen_on, e).at_10 >= ENOUGH)
    chosen = next(enough, ladder[-1])
    return chosen, recall(~half, chosen)


def _true_cosines(images: Images, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of what was found, whose index may have rounded them: float array (n, k)."""
    found = np.empty(rows.shape, dtype=np.float32)
    for rank, column in enumerate(rows.T):
        known = images.points(np.maximum(column, 0))
        found[:, rank] = np.where(column < 0, -np.inf, np.einsum("nd,nd->n", points, known))
    return found
