"""A gallery opened, wherever its vectors are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whichgen.errors import GalleryError
from whichgen.gallery.storage import LocalGallery, read_description, read_local
from whichgen.inference.neighbors import SimilaritySpace
from whichgen.models.origin_model import OriginModel

if TYPE_CHECKING:
    from whichgen.gallery.qdrant import QdrantGallery


def load_gallery(
    folder: str | Path, model: OriginModel, *, url: str = ""
) -> LocalGallery | QdrantGallery:
    """The gallery in a folder, to ask for the images nearest to one.

    Parameters
    ----------
    model
        The model that it was built with.
    url
        Where Qdrant is, if it has the vectors.

    Raises
    ------
    GalleryError
        There is none, it is damaged, of another model or format, or the service gives no answer.
    """
    folder = Path(folder)
    told, space = read_description(folder), SimilaritySpace(model)
    if told.model != space.digest or told.dimension != space.dimension:
        raise GalleryError(
            f"{folder} was built with another model. Give that one, or build a gallery with this "
            "one: what is in the feature store is not extracted again."
        )
    if told.kind != "qdrant":
        return read_local(folder, told, space)
    if not url:
        raise GalleryError(
            f"the vectors of {folder} are in Qdrant: name its address with --qdrant-url."
        )
    from whichgen.gallery.qdrant import connect, read_qdrant  # an extra's

    return read_qdrant(told, space, connect(url))
