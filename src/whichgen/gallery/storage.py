"""Read and write gallery folders, which are written atomically and validated when loaded.

Nothing in a gallery is code, a pickle or a faiss file. The digests in ``gallery.json`` detect
damaged copies. They do not protect against deliberate changes, but those can at most name wrong
images: every array is validated before faiss gets it, paths are shown and never opened, and the
address of a service is not read from the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from whichgen.errors import GalleryError
from whichgen.gallery.entries import GalleryImages
from whichgen.gallery.index import IndexKind, Recall
from whichgen.io.files import read_regular_file
from whichgen.models.signatures import sha256_of_file
from whichgen.version import __version__

FORMAT = 3
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
        raise damaged_gallery(folder, f"{GALLERY_FILE} can't be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):  # not JSON, or not a description
        raise damaged_gallery(folder, f"{GALLERY_FILE} is truncated or changed") from None


def write_description(folder: Path, images: GalleryImages, **fields: Any) -> GalleryDescription:
    """Write ``gallery.json`` into a folder that holds all other files.

    ``fields`` are the fields of :class:`GalleryDescription` that ``images`` does not determine.
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


def damaged_gallery(folder: Path, reason: str) -> GalleryError:
    """Return the error about a damaged folder."""
    return GalleryError(
        f"{folder} is damaged: {reason}. Copy the folder again, or build the gallery again."
    )
