"""Load a gallery of either kind: local files or Qdrant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whichgen.errors import GalleryError
from whichgen.gallery.storage import LocalGallery, load_local_gallery, read_description
from whichgen.inference.neighbors import SimilaritySpace
from whichgen.models.origin_model import OriginModel

if TYPE_CHECKING:
    from whichgen.gallery.qdrant import QdrantGallery


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
    if description.kind != "qdrant":
        return load_local_gallery(folder, description, description.kind, space)
    if not url:
        raise GalleryError(f"the vectors of {folder} are in Qdrant. Give its --qdrant-url.")
    from whichgen.gallery.qdrant import connect_to_qdrant, open_qdrant_gallery

    return open_qdrant_gallery(description, space, connect_to_qdrant(url))
