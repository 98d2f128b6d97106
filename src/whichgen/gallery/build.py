"""Build a gallery from the feature store, and measure its recall.

Some images are held out at first. When all others are indexed, the neighbors of the held-out images
are compared with the exact ones (those of a search of all lists); then they are added as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from whichgen.errors import GalleryError
from whichgen.gallery.entries import GalleryImages, row_batches
from whichgen.gallery.index import (
    N_NEIGHBORS,
    TARGET_RECALL,
    IndexKind,
    Recall,
    compute_recall,
    create_index,
    default_kind,
    effort_candidates,
    search_index,
    write_index,
)
from whichgen.gallery.storage import (
    ENTRIES_FILE,
    GALLERY_FILE,
    GalleryDescription,
    write_description,
)
from whichgen.io.atomic import replace_folder
from whichgen.progress import Progress, no_progress

#: The maximum number of query images for the recall; of few images, half are held out.
MAX_QUERIES = 1000


def check_gallery_folder(folder: Path, *, force: bool) -> None:
    """Raise :class:`GalleryError` unless a gallery may be written to a folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / GALLERY_FILE).is_file():
        raise GalleryError(
            f"{folder} exists and is not a gallery. Choose another folder with --output-dir."
        )
    if not force:
        raise GalleryError(
            f"{folder} already holds a gallery. Choose another folder with --output-dir, or "
            "replace it with --force."
        )


def build_local_gallery(
    folder: Path,
    images: GalleryImages,
    run_metadata: Mapping[str, Any],
    *,
    kind: IndexKind | None = None,
    effort: int = 0,
    seed: int = 0,
    force: bool = False,
    progress: Progress = no_progress,
) -> GalleryDescription:
    """Write a gallery of images whose features are in the store.

    Besides the index and :attr:`GalleryImages.entries`, a few thousand rows are in memory at a
    time, and for ``ivf`` the vectors on which its centroids are fitted.

    Parameters
    ----------
    run_metadata
        See :func:`whichgen.io.run_metadata.collect_run_metadata`.
    kind
        ``None``: chosen by the number of images (:func:`whichgen.gallery.index.default_kind`).
    effort
        Lists per search; 0: the fewest that find 95 % of the ten nearest images of one half of the
        held-out images. Recall is measured on the other half.
    seed
        For the choice of the held-out images and for the centroids.

    Raises
    ------
    GalleryError
        The folder is not empty.
    """
    check_gallery_folder(folder, force=force)
    kind = kind or default_kind(len(images))
    indexed, queries = hold_out_queries(len(images), seed)
    images = images.take(np.concatenate([indexed, queries]))
    n = len(indexed)
    index = create_index(kind, (n, images.space.dimension), images.vectors, seed=seed)
    batches = row_batches(np.arange(n))
    for rows in progress(batches, description="Indexing", total=len(batches)):
        index.add(images.vectors(rows))
    held_out = images.vectors(np.arange(n, len(images)))
    effort, recall = _choose_effort(index, kind, held_out, effort)
    index.add(held_out)
    with replace_folder(folder) as work:
        pq.write_table(images.entries, work / ENTRIES_FILE, compression="zstd")
        write_index(index, kind, work)
        return write_description(
            work, images, kind=kind, effort=effort, recall=recall, run_metadata=run_metadata
        )


def hold_out_queries(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to index first, and the held-out rows: int64 arrays, ascending."""
    held_out = np.zeros(n, dtype=bool)
    queries = np.random.default_rng(seed).choice(n, min(MAX_QUERIES, n // 2), replace=False)
    held_out[queries] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _choose_effort(
    index: Any, kind: IndexKind, queries: np.ndarray, effort: int
) -> tuple[int, Recall | None]:
    """Return the effort, chosen if it is 0, and its recall; ``queries`` are vectors (m, d)."""
    candidates = effort_candidates(kind, index.ntotal)
    all_lists = candidates[-1]
    if effort and kind != "flat":
        candidates = (effort,)
    if not len(queries):
        return candidates[-1], None
    k = min(N_NEIGHBORS, index.ntotal)
    exact, _ = search_index(index, queries, k, all_lists)

    def recall(half: slice, effort: int) -> Recall:
        return compute_recall(search_index(index, queries[half], k, effort)[0], exact[half])

    test, validation = slice(0, None, 2), slice(1 if len(queries) > 1 else 0, None, 2)
    sufficient = (e for e in candidates[:-1] if recall(validation, e).at_10 >= TARGET_RECALL)
    chosen = next(sufficient, candidates[-1])
    return chosen, recall(test, chosen)
