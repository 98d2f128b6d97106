"""Load a gallery from local files or Qdrant, and search the gallery for similar images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whichgen.errors import GalleryError
from whichgen.gallery.entries import ENTRIES_SCHEMA
from whichgen.gallery.gallery_description import (
    ENTRIES_FILE,
    GALLERY_FILE,
    GalleryDescription,
    make_damage_error,
    make_read_error,
    read_description,
)
from whichgen.gallery.index import INDEX_FILES, read_index, search_index
from whichgen.heads.head import HeadOutput
from whichgen.inference.similar_images import Neighbor, NeighborIndex, SimilaritySpace, clip_cosine
from whichgen.models.origin_model import OriginModel
from whichgen.models.signatures import hash_file


@dataclass(frozen=True)
class LocalGallery:
    """Gallery whose vectors are stored in local files and loaded into memory.

    Implements :class:`~whichgen.inference.similar_images.NeighborIndex`.

    Parameters
    ----------
    description
        Content of ``gallery.json``.
    space
        Maps the head's output to unit vectors, as stored in the index.
    entries
        Arrow table with one row per image (:data:`whichgen.gallery.entries.ENTRIES_SCHEMA`).
    index
        The faiss index; vector i belongs to row i of ``entries``.
    """

    description: GalleryDescription
    space: SimilaritySpace
    entries: Any
    index: Any

    def find_neighbors(self, output: HeadOutput, k: int) -> list[tuple[Neighbor, ...]]:
        """Return at most ``k`` gallery images per query image, most similar first.

        See :meth:`whichgen.inference.similar_images.NeighborIndex.find_neighbors` for the
        parameters.

        Raises
        ------
        FitError
            The vector of a query image contains NaN or infinity.
        """
        vectors, effort = self.space.project(output), self.description.effort
        k = min(k, self.description.n_images)
        neighbors = []
        for cosines, rows in zip(*search_index(self.index, vectors, k, effort), strict=True):
            entries = self.entries.take(rows[rows >= 0]).to_pylist()  # missing neighbors are last
            neighbors.append(
                tuple(
                    Neighbor(None, entry["origin"], clip_cosine(cosine), entry["path"])
                    for entry, cosine in zip(entries, cosines.tolist(), strict=False)
                )
            )
        return neighbors


def load_gallery(folder: str | Path, model: OriginModel, *, url: str = "") -> NeighborIndex:
    """Load a gallery for similarity search.

    Parameters
    ----------
    folder
        Folder of the gallery.
    model
        The model that the gallery was built with.
    url
        Address of the Qdrant service; required only if the vectors are stored in Qdrant.

    Returns
    -------
    LocalGallery or whichgen.gallery.qdrant.QdrantGallery
        The gallery; the type depends on where the vectors are stored.

    Raises
    ------
    GalleryError
        The folder contains no gallery; the gallery is damaged or unreadable, has an unsupported
        format or was built with another model; ``url`` is invalid; a request to Qdrant fails; or
        the collection does not exist or has too few images.
    ImportError
        The vectors are stored in Qdrant, and the extra ``qdrant`` is not installed.

    Warns
    -----
    UserWarning
        An API key for Qdrant would be sent unencrypted
        (:func:`whichgen.gallery.qdrant.connect_to_qdrant`).
    """
    folder = Path(folder)
    description, space = read_description(folder), SimilaritySpace(model)
    if (description.model, description.dimension) != (space.digest, space.dimension):
        raise GalleryError(
            f"{folder} was built with another model. Use that model, or build a gallery with this "
            "model."
        )
    if description.kind == "qdrant":
        from whichgen.gallery.qdrant import QdrantGallery, connect_to_qdrant

        client, collection = connect_to_qdrant(url), description.collection
        gallery = QdrantGallery(client, collection, space, description.effort)
        gallery.check_size(description.n_images)
        return gallery
    kind, n = description.kind, description.n_images
    for name in (ENTRIES_FILE, *INDEX_FILES[kind]):
        _verify_digest(folder, name, description.files.get(name))
    try:
        entries = pq.read_table(folder / ENTRIES_FILE)
        is_complete = len(entries) == n and not any(column.null_count for column in entries)
        if not is_complete or not entries.schema.equals(ENTRIES_SCHEMA):
            raise GalleryError(
                f"{ENTRIES_FILE} does not contain {n} complete rows with the columns "
                f"{', '.join(ENTRIES_SCHEMA.names)}"
            )
        index = read_index(kind, folder, description.dimension, n)
    except (pa.ArrowException, OSError, ValueError, GalleryError) as error:
        raise make_damage_error(folder, str(error)) from None
    return LocalGallery(description, space, entries, index)


def _verify_digest(folder: Path, name: str, expected_digest: str | None) -> None:
    """Check that a file of a gallery exists and has the SHA-256 that ``gallery.json`` contains.

    Raises
    ------
    GalleryError
        The check fails, or the file can't be read.
    """
    if not (folder / name).is_file():
        raise make_damage_error(folder, f"{name} is missing or not a regular file")
    try:
        digest = hash_file(folder / name)
    except OSError as error:
        raise make_read_error(folder, name, error) from None
    if digest != expected_digest:
        raise make_damage_error(folder, f"{name} does not match its digest in {GALLERY_FILE}")
