"""The gallery's folder: written whole or not at all, and believed only as far as it is checked.

Nothing in it is code, a pickle or a faiss file. The digests in ``gallery.json`` tell a damaged
copy. Against one that was made to mislead they are no help, but all that it can do is name wrong
images: every array is checked before faiss gets it, paths are shown and never opened, and the
address of a service is not taken from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whichgen.errors import GalleryError
from whichgen.gallery.entries import ENTRIES_SCHEMA
from whichgen.gallery.index import Kind, files_of, read_arrays, search
from whichgen.gallery.recall import Recall
from whichgen.inference.neighbors import Neighbor, SimilaritySpace, clip_cosine
from whichgen.io.files import read_regular_file
from whichgen.models.signatures import sha256_of_file
from whichgen.version import __version__

FORMAT = 1
GALLERY_FILE = "gallery.json"
ENTRIES_FILE = "entries.parquet"

#: Bytes of the description at most.
_MOST_BYTES = 2**26


class GalleryDescription(BaseModel):
    """What ``gallery.json`` says.

    ``model`` is the digest of its SimilaritySpace, ``encoder`` the key of its
    features. ``effort`` is how many lists or candidates a search looks at (``flat``, and a
    service's own default: 0). ``recall`` was measured at building; ``None`` for a gallery of one
    image. ``collection`` is where a service has the vectors. ``files`` are SHA-256 digests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int
    whichgen: str
    model: str
    encoder: str
    kind: Literal[Kind, "qdrant"]
    number: int = Field(ge=1)
    dimension: int = Field(ge=1)
    effort: int = Field(ge=0)
    recall: Recall | None
    collection: str = ""
    files: dict[str, str]
    run_metadata: dict[str, Any]


class LocalGallery:
    """A gallery whose index is in memory (:class:`whichgen.inference.neighbors.NeighborIndex`)."""

    def __init__(
        self, description: GalleryDescription, space: SimilaritySpace, entries: Any, index: Any
    ) -> None:
        self.description = description
        self._comparison = space
        self._entries = entries
        self._index = index

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[Neighbor, ...]]:
        """See :meth:`whichgen.inference.neighbors.NeighborIndex.nearest`.

        Of ``ivf-sq8`` the cosine is of rounded vectors.
        """
        told = self.description
        if k < 1 or not len(features):
            return [()] * len(features)
        points = self._comparison.points(features)
        assert told.kind != "qdrant"
        found = search(self._index, told.kind, points, min(k, told.number), told.effort)
        answers = []
        for cosines, rows in zip(*found, strict=True):
            there = rows >= 0  # the lists looked at may hold fewer than k
            entries = self._entries.take(rows[there]).to_pylist()
            answers.append(
                tuple(
                    Neighbor(None, entry["origin"], clip_cosine(cosine), entry["path"])
                    for entry, cosine in zip(entries, cosines[there].tolist(), strict=True)
                )
            )
        return answers


def read_description(folder: Path) -> GalleryDescription:
    """What a gallery says of itself.

    Raises
    ------
    GalleryError
        There is none, it is damaged, or of another format.
    """
    try:
        text = read_regular_file(folder / GALLERY_FILE, _MOST_BYTES).decode()
    except (FileNotFoundError, NotADirectoryError):
        raise GalleryError(
            f"{folder} holds no gallery ({GALLERY_FILE}). Give the folder that `whichgen gallery "
            "build` wrote."
        ) from None
    except OSError as error:
        raise _damaged(folder, f"{GALLERY_FILE} can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise _damaged(folder, f"{GALLERY_FILE} is no text: {error}") from None
    try:
        version = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _damaged(folder, f"{GALLERY_FILE} is cut or changed") from None
    if version != FORMAT:
        raise GalleryError(
            f"{folder} has gallery format {version!r}; whichgen {__version__} reads format "
            f"{FORMAT}. Install the version of whichgen that wrote it, or build the gallery anew."
        )
    try:
        return GalleryDescription.model_validate_json(text)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _damaged(folder, f"{GALLERY_FILE}: {'; '.join(wrong)}") from None


def read_local(folder: Path, told: GalleryDescription, space: SimilaritySpace) -> LocalGallery:
    """The gallery in a folder, its arrays checked.

    Raises
    ------
    GalleryError
        A file is missing or not what ``gallery.json`` says.
    """
    assert told.kind != "qdrant"
    for name in (ENTRIES_FILE, *files_of(told.kind)):
        if not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing")
        if sha256_of_file(folder / name) != told.files.get(name):
            raise _damaged(folder, f"{name} is not what {GALLERY_FILE} says it is")
    try:
        entries = pq.read_table(folder / ENTRIES_FILE)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(folder, f"{ENTRIES_FILE} can't be read ({error})") from None
    whole = entries.schema.equals(ENTRIES_SCHEMA) and not any(
        column.null_count for column in entries
    )
    if not whole or entries.num_rows != told.number:
        raise _damaged(folder, f"{ENTRIES_FILE} does not list {told.number} images")
    try:
        index = read_arrays(told.kind, folder, told.dimension, told.number)
    except GalleryError as error:
        raise _damaged(folder, str(error)) from None
    return LocalGallery(told, space, entries, index)


def _damaged(folder: Path, why: str) -> GalleryError:
    return GalleryError(f"{folder} is damaged: {why}. Copy the folder anew, or build it again.")
