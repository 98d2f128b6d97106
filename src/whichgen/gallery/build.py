"""Build a gallery from the feature store, and measure its recall.

Some images are held out as queries, and the other images are added to the index. Recall is the
fraction of the queries' exact nearest neighbors that a search of the index finds. A search of a
``flat`` index or of all lists of an ``ivf`` index (:mod:`whichgen.gallery.index`) finds the exact
neighbors. After the recall has been measured, the queries are added to the index, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from whichgen.errors import GalleryError
from whichgen.gallery.entries import GalleryImages, divide_rows
from whichgen.gallery.gallery_description import (
    ENTRIES_FILE,
    GALLERY_FILE,
    GalleryDescription,
    write_description,
)
from whichgen.gallery.index import (
    N_NEIGHBORS,
    TARGET_RECALL,
    IndexKind,
    Recall,
    choose_kind,
    compute_recall,
    create_index,
    list_efforts,
    search_index,
    write_index,
)
from whichgen.io.atomic_writes import replace_folder
from whichgen.option_names import name_option
from whichgen.progress import Progress, no_progress

#: Maximum number of held-out images. If the gallery has fewer than twice as many images, half of
#: its images (rounded down) are held out.
MAX_QUERIES = 1000


def check_output_folder(folder: Path, *, force: bool) -> None:
    """Check that a gallery can be written to a folder.

    Parameters
    ----------
    folder
        Output folder.
    force
        Whether an existing gallery may be replaced.

    Raises
    ------
    GalleryError
        ``folder`` exists and is neither an empty folder nor a gallery, or it is a gallery and
        ``force`` is false.
    OSError
        ``folder`` can't be read.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / GALLERY_FILE).is_file():
        raise GalleryError(
            f"{folder} already exists and is not a gallery. Choose another "
            f"{name_option('--output-dir', 'folder')}."
        )
    if not force:
        raise GalleryError(
            f"{folder} already contains a gallery. Choose another "
            f"{name_option('--output-dir', 'folder')}, or use "
            f"{name_option('--force', 'force=True')} to replace it."
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
    """Build a gallery of images whose features are in the feature store, and write it to a folder.

    The index, two copies of :attr:`GalleryImages.entries`, and the features of a few thousand
    images must fit in memory together. For ``ivf``, the sample of vectors on which the centroids
    are fitted must also fit; it is released before the index is filled.

    Parameters
    ----------
    folder
        Output folder.
    images
        The images of the gallery, at least one.
    run_metadata
        Options, seeds and versions (:func:`whichgen.io.run_metadata.collect_run_metadata`).
    kind
        Kind of index; ``None`` chooses it by the number of images
        (:func:`whichgen.gallery.index.choose_kind`).
    effort
        Number of inverted lists per search of an ``ivf`` index, ≥ 0; ignored for ``flat``. 0
        selects the smallest candidate (:func:`whichgen.gallery.index.list_efforts`) whose recall of
        the ten nearest neighbors is at least 95 % on one half of the held-out images; if there is
        none, all lists are searched. The recall in the description is measured on the other half,
        or on the same image if only one is held out.
    seed
        Random seed for the choice of the held-out images and for fitting the centroids.
    force
        Whether an existing gallery in ``folder`` may be replaced.
    progress
        Progress bar (:data:`whichgen.progress.Progress`).

    Returns
    -------
    GalleryDescription
        Content of the ``gallery.json`` that was written.

    Raises
    ------
    GalleryError
        ``folder`` exists and is neither an empty folder nor a gallery, or it is a gallery and
        ``force`` is false.
    FitError, KeyError, StoreError
        See :meth:`whichgen.gallery.entries.GalleryImages.compute_vectors`.
    OSError
        The output folder can't be read or written.
    """
    check_output_folder(folder, force=force)
    kind = kind or choose_kind(len(images))
    index_rows, query_rows = hold_out_queries(len(images), seed)
    images = images.take(np.concatenate([index_rows, query_rows]))
    n = len(index_rows)
    index = create_index(kind, (n, images.space.dimension), images.compute_vectors, seed=seed)
    batches = divide_rows(np.arange(n))
    for rows in progress(batches, description="Indexing", total=len(batches)):
        index.add(images.compute_vectors(rows))
    query_vectors = images.compute_vectors(np.arange(n, len(images)))
    effort, recall = _choose_effort(index, kind, query_vectors, effort)
    index.add(query_vectors)
    with replace_folder(folder) as work:
        pq.write_table(images.entries, work / ENTRIES_FILE, compression="zstd")
        write_index(index, kind, work)
        return write_description(
            work, images, kind=kind, effort=effort, recall=recall, run_metadata=run_metadata
        )


def hold_out_queries(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose at most :data:`MAX_QUERIES` of n rows at random as queries.

    Parameters
    ----------
    n
        Number of rows.
    seed
        Random seed.

    Returns
    -------
    index_rows, query_rows
        Indices of the rows to index and of the rows used as queries: ascending int64 arrays
        (n − q,) and (q,), where q is the minimum of :data:`MAX_QUERIES` and n // 2.
    """
    query_rows = np.random.default_rng(seed).choice(n, min(MAX_QUERIES, n // 2), replace=False)
    return np.setdiff1d(np.arange(n), query_rows), np.sort(query_rows)


def _choose_effort(
    index: Any, kind: IndexKind, queries: np.ndarray, effort: int
) -> tuple[int, Recall | None]:
    """Choose the number of inverted lists per search, and measure the recall of such a search.

    Unless ``effort`` is set, this is the smallest number of :func:`list_efforts` whose recall at 10
    reaches :data:`TARGET_RECALL` on one half of the queries. If there is none, or if there are no
    queries, all lists are searched. The recall is measured on the other half; it is ``None`` if
    there are no queries. For a ``flat`` index, the number is 0, and ``effort`` is ignored.

    Parameters
    ----------
    index
        faiss index without the held-out images.
    kind
        Kind of index.
    queries
        Unit vectors of the held-out images: float32 array (m, dimension).
    effort
        Number of inverted lists per search; 0 to choose it by recall.
    """
    candidates = list_efforts(kind, index.ntotal)
    all_lists = candidates[-1]
    if effort and kind != "flat":
        candidates = (effort,)
    if not len(queries):
        return candidates[-1], None
    k = min(N_NEIGHBORS, index.ntotal)
    exact, _ = search_index(index, queries, k, all_lists)

    def measure_recall(half: slice, effort: int) -> Recall:
        return compute_recall(search_index(index, queries[half], k, effort)[0], exact[half])

    test, validation = slice(0, None, 2), slice(1 if len(queries) > 1 else 0, None, 2)
    sufficient_efforts = (
        e for e in candidates[:-1] if measure_recall(validation, e).at_10 >= TARGET_RECALL
    )
    best_effort = next(sufficient_efforts, candidates[-1])
    return best_effort, measure_recall(test, best_effort)
