"""Read and write gallery folders, which are written atomically and validated when loaded.

Nothing in a gallery is code, a pickle or a faiss file. The digests in ``gallery.json`` detect
damaged copies. They do not protect against deliberate changes, but those can at most name wrong
images: every array is validated before faiss gets it, paths are shown and never opened, and the
address of a service is not read from the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from whichgen.errors import GalleryError
from whichgen.gallery.entries import ENTRIES_SCHEMA, GalleryImages
from whichgen.gallery.index import INDEX_FILES, IndexKind, read_index, search_index
from whichgen.gallery.recall import Recall
from whichgen.heads.base import HeadOutput
from whichgen.inference.neighbors import Neighbor, SimilaritySpace, clip_cosine
from whichgen.io.files import read_regular_file
from whichgen.models.origin_model import OriginModel
from whichgen.models.signatures import sha256_of_file
from whichgen.version import __version__

if TYPE_CHECKING:
    from whichgen.gallery.qdrant import QdrantGallery

FORMAT = 2
GALLERY_FILE = "gallery.json"
ENTRIES_FILE = "entries.parquet"

# Limit of gallery.json in bytes, so that an untrusted file cannot exhaust the memory.
_MAX_BYTES = 2**26


class GalleryDescription(BaseModel):
    """The content of ``gallery.json``.

    ``model`` is the digest of the similarity space, ``encoder`` the key of the features.
    ``effort`` is the number of lists (``ivf``) or candidates (``qdrant``) per search; 0 for
    ``flat`` and for the service's default. ``recall`` is measured when the gallery is built;
    ``None`` for a single image. ``files`` are SHA-256 digests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    whichgen: str = __version__
    model: str
    encoder: str
    kind: Literal[IndexKind, "qdrant"]
    n_images: int = Field(ge=1)
    dimension: int = Field(ge=1)
    effort: int = Field(ge=0)
    recall: Recall | None
    collection: str = ""
    files: dict[str, str]
    run_metadata: dict[str, Any]


@dataclass(frozen=True)
class LocalGallery:
    """A gallery in memory (:class:`whichgen.inference.neighbors.NeighborIndex`)."""

    description: GalleryDescription
    space: SimilaritySpace
    entries: Any
    index: Any

    def find_neighbors(self, output: HeadOutput, k: int) -> list[tuple[Neighbor, ...]]:
        """See :meth:`whichgen.inference.neighbors.NeighborIndex.find_neighbors`."""
        vectors, effort = self.space.project(output), self.description.effort
        k = min(k, self.description.n_images)
        neighbors = []
        for cosines, rows in zip(*search_index(self.index, vectors, k, effort), strict=True):
            entries = self.entries.take(rows[rows >= 0]).to_pylist()  # missing ones come last
            neighbors.append(
                tuple(
                    Neighbor(None, entry["origin"], clip_cosine(cosine), entry["path"])
                    for entry, cosine in zip(entries, cosines.tolist(), strict=False)
                )
            )
        return neighbors


def load_gallery(
    folder: str | Path, model: OriginModel, *, url: str = ""
) -> LocalGallery | QdrantGallery:
    """Load the gallery in a folder, to search for the images most similar to one.

    Parameters
    ----------
    model
        The model that the gallery was built with.
    url
        The address of the Qdrant service, if it holds the vectors.

    Raises
    ------
    GalleryError
        There is no gallery; it is damaged or was built with another model or format; the service
        does not answer; or the extra ``qdrant`` is not installed.
    """
    folder = Path(folder)
    description, space = read_description(folder), SimilaritySpace(model)
    if (description.model, description.dimension) != (space.digest, space.dimension):
        raise GalleryError(
            f"{folder} was built with another model. Use that model, or build a gallery with this "
            "one; features in the feature store are not extracted again."
        )
    if description.kind == "qdrant":
        from whichgen.gallery.qdrant import QdrantGallery, connect_to_qdrant

        client, collection = connect_to_qdrant(url), description.collection
        gallery = QdrantGallery(client, collection, space, description.effort)
        gallery.check_size(description.n_images)
        return gallery
    kind, n = description.kind, description.n_images
    for name in (ENTRIES_FILE, *INDEX_FILES[kind]):
        if not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing")
        if sha256_of_file(folder / name) != description.files.get(name):
            raise _damaged(folder, f"{name} does not match its digest in {GALLERY_FILE}")
    try:
        entries = pq.read_table(folder / ENTRIES_FILE)
        complete = len(entries) == n and not any(column.null_count for column in entries)
        if not complete or not entries.schema.equals(ENTRIES_SCHEMA):
            raise GalleryError(f"{ENTRIES_FILE} does not list {n} images")
        index = read_index(kind, folder, description.dimension, n)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(folder, f"{ENTRIES_FILE} can't be read ({error})") from None
    except GalleryError as error:
        raise _damaged(folder, str(error)) from None
    return LocalGallery(description, space, entries, index)


def read_description(folder: Path) -> GalleryDescription:
    """Read and validate ``gallery.json``.

    Raises
    ------
    GalleryError
        It is missing, damaged or of another format.
    """
    try:
        text = read_regular_file(folder / GALLERY_FILE, _MAX_BYTES).decode()
        version = json.loads(text)["format"]
        if version != FORMAT:
            raise GalleryError(
                f"{folder} has gallery format {version!r}, but whichgen {__version__} reads format "
                f"{FORMAT}. Install the version of whichgen that wrote it, or build the gallery "
                "again."
            )
        return GalleryDescription.model_validate_json(text)
    except (FileNotFoundError, NotADirectoryError):
        raise GalleryError(
            f"no gallery found in {folder} ({GALLERY_FILE} is missing). Give the output folder of "
            "`whichgen gallery build`."
        ) from None
    except OSError as error:
        raise _damaged(folder, f"{GALLERY_FILE} can't be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):  # not JSON, or not a description
        raise _damaged(folder, f"{GALLERY_FILE} is truncated or changed") from None


def write_description(folder: Path, images: GalleryImages, **fields: Any) -> GalleryDescription:
    """Write ``gallery.json`` into a folder that holds all other files.

    ``fields`` are those of :class:`GalleryDescription` that neither the images nor the files have.
    """
    description = GalleryDescription(
        model=images.space.digest,
        encoder=images.store.folder.name,
        n_images=len(images),
        dimension=images.space.dimension,
        files={file.name: sha256_of_file(file) for file in sorted(folder.iterdir())},
        **fields,
    )
    text = description.model_dump_json(indent=1) + "\n"
    (folder / GALLERY_FILE).write_text(text, encoding="utf-8")
    return description


def _damaged(folder: Path, reason: str) -> GalleryError:
    return GalleryError(
        f"{folder} is damaged: {reason}. Copy the folder again, or build the gallery again."
    )
