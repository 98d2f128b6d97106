"""Read and write ``gallery.json``, the description of a gallery.

A gallery folder is written atomically and validated when it is loaded. The digests in
``gallery.json`` detect damaged copies but not tampering. A manipulated gallery can return wrong
neighbors but can't run code: the folder contains no code, pickles or faiss files; arrays are
validated before they are passed to faiss; paths of images are displayed but never opened; and the
address of a Qdrant service is not read from the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from whichgen.errors import GalleryError
from whichgen.gallery.entries import GalleryImages
from whichgen.gallery.index import IndexKind, Recall
from whichgen.io.atomic_writes import is_permission_error
from whichgen.io.untrusted_files import read_regular_file
from whichgen.models.signatures import hash_file
from whichgen.version import __version__

#: Version of the gallery format.
FORMAT = 3

#: Names of the files with the description of the gallery and with the table of images.
GALLERY_FILE, ENTRIES_FILE = "gallery.json", "entries.parquet"

#: Maximum size of ``gallery.json`` in bytes, so that an untrusted file can't exhaust the memory.
_MAX_BYTES = 2**26


class GalleryDescription(BaseModel):
    """Content of ``gallery.json``.

    Parameters
    ----------
    format
        Version of the gallery format (:data:`FORMAT`).
    whichgen
        Version of whichgen that wrote the gallery.
    model
        Digest of the mapping from the head's output to unit vectors
        (:attr:`whichgen.inference.similar_images.SimilaritySpace.digest`).
    encoder
        Key of the encoder (:attr:`whichgen.encoders.encoder.Encoder.key`), which is the name of the
        feature store's folder.
    kind
        Kind of index (``flat`` or ``ivf``), or ``qdrant`` if the vectors are stored in Qdrant.
    n_images
        Number of images.
    dimension
        Dimension of the vectors.
    effort
        Number of inverted lists (``ivf``) or candidates (``qdrant``) per search; 0 for ``flat``.
        For ``qdrant``, 0 selects the default of the service.
    recall
        Recall of a search, measured when the gallery was built; ``None`` for ``qdrant`` and for a
        gallery of one image.
    collection
        Name of the Qdrant collection; empty for ``flat`` and ``ivf``.
    files
        Maps the name of each other file in the folder to its SHA-256 digest: 64 hex digits.
    run_metadata
        Options, seeds and versions (:func:`whichgen.io.run_metadata.collect_run_metadata`).
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


def read_description(folder: Path) -> GalleryDescription:
    """Read and validate ``gallery.json`` in the folder of a gallery.

    Raises
    ------
    GalleryError
        The file is missing, unreadable or damaged, or its format is not supported.
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
            f"no gallery found in {folder} ({GALLERY_FILE} is missing). Use a folder that "
            "`whichgen gallery build` wrote."
        ) from None
    except OSError as error:
        raise make_read_error(folder, GALLERY_FILE, error) from None
    except (ValueError, KeyError, TypeError, RecursionError):  # not JSON, or not a description
        raise make_damage_error(folder, f"{GALLERY_FILE} has invalid content") from None


def write_description(folder: Path, images: GalleryImages, **fields: Any) -> GalleryDescription:
    """Write ``gallery.json`` with the SHA-256 digests of all other files in the folder.

    Parameters
    ----------
    folder
        Folder of the gallery, with all other files.
    images
        The images of the gallery.
    fields
        The other fields of :class:`GalleryDescription`: ``kind``, ``effort``, ``recall``,
        ``run_metadata`` and, for Qdrant, ``collection``.

    Returns
    -------
    GalleryDescription
        Content of the file.

    Raises
    ------
    OSError
        A file can't be read or written.
    ValueError
        A field is invalid, for example because there are no images.
    """
    description = GalleryDescription(
        model=images.space.digest,
        encoder=images.store.folder.name,
        n_images=len(images),
        dimension=images.space.dimension,
        files={file.name: hash_file(file) for file in sorted(folder.iterdir())},
        **fields,
    )
    text = description.model_dump_json(indent=1) + "\n"
    (folder / GALLERY_FILE).write_text(text, encoding="utf-8")
    return description


def make_read_error(folder: Path, name: str, error: OSError) -> GalleryError:
    """Return an error for the file ``name`` in a gallery's folder, which can't be read.

    The message says that the gallery is damaged, unless permissions are missing.
    """
    if is_permission_error(error):
        return GalleryError(
            f"{folder / name} can't be read ({error.strerror}). Check its permissions."
        )
    return make_damage_error(folder, f"{name} can't be read ({error.strerror or error})")


def make_damage_error(folder: Path, reason: str) -> GalleryError:
    """Return an error for a damaged gallery; its message contains ``reason``."""
    return GalleryError(
        f"{folder} is damaged: {reason}. Copy the folder again, or build the gallery again."
    )
