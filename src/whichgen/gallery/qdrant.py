"""Galleries whose vectors are stored in Qdrant, for example because they do not fit on one machine.

Each image is a point whose id is derived from the digest of the image file. Therefore, an image
that is uploaded twice is stored once, and an interrupted build can be repeated. ``gallery.json``
contains the name of the collection, but not the address of the Qdrant service. Otherwise, a
manipulated file could make whichgen send vectors and the API key to another server.

The tests use qdrant-client's in-memory mode (``QdrantClient(":memory:")``), whose search is exact.
Its on-disk mode is not supported because its files contain pickles.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

from whichgen.errors import GalleryError, get_first_line
from whichgen.gallery.build import check_output_folder
from whichgen.gallery.entries import GalleryImages, divide_rows
from whichgen.gallery.gallery_description import GalleryDescription, write_description
from whichgen.heads.head import HeadOutput
from whichgen.inference.similar_images import Neighbor, SimilaritySpace, clip_cosine
from whichgen.io.atomic_writes import replace_folder
from whichgen.option_names import name_option
from whichgen.progress import Progress, no_progress

#: Environment variable with the API key of the Qdrant service.
API_KEY_VARIABLE = "WHICHGEN_QDRANT_API_KEY"

#: Maximum number of points or queries per request.
_REQUEST_SIZE = 512

#: Timeout of a request in seconds.
_TIMEOUT = 60


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Convert errors of the Qdrant service and its client to :class:`GalleryError`."""
    try:
        yield
    except (ApiException, ResponseHandlingException, OSError) as error:
        raise GalleryError(
            f"the request to Qdrant failed ({get_first_line(error)}). Check "
            f"{name_option('--qdrant-url', 'url')}, the service and {API_KEY_VARIABLE}, then try "
            "again."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise GalleryError(
            f"the response from Qdrant does not match this gallery ({get_first_line(error)}). "
            f"Check {name_option('--qdrant-url', 'url')} and the collection."
        ) from None


def connect_to_qdrant(url: str) -> QdrantClient:
    """Create a client for a Qdrant service; no request is sent.

    The API key is the value of the environment variable :data:`API_KEY_VARIABLE`, if set.

    Parameters
    ----------
    url
        Address of the service: ``http://…`` or ``https://…``, by default with port 6333.

    Raises
    ------
    GalleryError
        ``url`` does not start with ``http://`` or ``https://``, or is invalid.

    Warns
    -----
    UserWarning
        An API key is set and ``url`` starts with ``http://``, so the key is sent unencrypted.
    """
    try:
        if not url.startswith(("http://", "https://")):
            raise ValueError("it does not start with http:// or https://")
        return QdrantClient(
            url=url,
            api_key=os.environ.get(API_KEY_VARIABLE) or None,
            timeout=_TIMEOUT,
            check_compatibility=False,  # the check would warn if the service can't be reached
        )
    except ValueError as error:
        raise GalleryError(
            f"{url!r} is not the address of a Qdrant service ({get_first_line(error)}). Set "
            f"{name_option('--qdrant-url', 'url')} to the address, e.g. http://localhost:6333."
        ) from None


@dataclass(frozen=True)
class QdrantGallery:
    """Gallery whose vectors are stored in Qdrant.

    Implements :class:`~whichgen.inference.similar_images.NeighborIndex`. All methods raise
    :class:`GalleryError` if a request fails or the response does not match this gallery.

    Parameters
    ----------
    client
        Client of the Qdrant service.
    collection
        Name of the collection.
    space
        Maps the head's output to unit vectors, as stored in the collection.
    effort
        Number of candidates that Qdrant considers per search (``hnsw_ef``); 0 selects the default
        of the service.
    """

    client: QdrantClient
    collection: str
    space: SimilaritySpace
    effort: int = 0

    @_translate_errors()
    def create_collection(self) -> None:
        """Create the collection or, if it exists, check that it is a collection of this model.

        Raises
        ------
        GalleryError
            The collection belongs to another model or application: it has another vector size or
            similarity measure, or contains vectors that are not from this model.
        """
        client, cosine = self.client, models.Distance.COSINE
        if not client.collection_exists(self.collection):
            parameters = models.VectorParams(size=self.space.dimension, distance=cosine)
            client.create_collection(self.collection, vectors_config=parameters)
            # With this index, points of other models can be counted without reading all points.
            keyword = models.PayloadSchemaType.KEYWORD
            client.create_payload_index(self.collection, "model", keyword)
            return
        vectors = client.get_collection(self.collection).config.params.vectors
        size_and_distance = (getattr(vectors, "size", None), getattr(vectors, "distance", None))
        same_model = models.FieldCondition(
            key="model", match=models.MatchValue(value=self.space.digest)
        )
        other_models = models.Filter(must_not=[same_model])
        n_foreign = client.count(self.collection, count_filter=other_models, exact=True).count
        if n_foreign or size_and_distance != (self.space.dimension, cosine):
            raise GalleryError(
                f"the collection {self.collection!r} belongs to another model or application: it "
                "has another vector size or similarity measure, or contains other vectors. Choose "
                f"another {name_option('--collection')}."
            )

    @_translate_errors()
    def check_size(self, n_images: int) -> None:
        """Check that the collection has at least ``n_images`` images.

        Raises
        ------
        GalleryError
            The collection does not exist or has fewer images.
        """
        exists = self.client.collection_exists(self.collection)
        if (n := self.client.count(self.collection).count if exists else 0) < n_images:
            state = f"has {n} images, expected at least {n_images}" if exists else "does not exist"
            raise GalleryError(
                f"the collection {self.collection!r} {state}. Check "
                f"{name_option('--qdrant-url', 'url')}, or build the gallery again."
            )

    def add(self, images: GalleryImages, rows: np.ndarray) -> None:
        """Upload the vectors, paths, origins and digests of the images in the given rows.

        The point of an image that is already in the collection is replaced. The id of a point is
        the first 16 bytes of the image's digest.

        Parameters
        ----------
        images
            The images of the gallery.
        rows
            Row numbers, from 0: int64 array (n,).

        Raises
        ------
        FitError, KeyError, StoreError
            See :meth:`whichgen.gallery.entries.GalleryImages.compute_vectors`.
        """
        vectors = images.compute_vectors(rows)
        entries = images.entries.take(rows).to_pylist()
        with _translate_errors():
            self.client.upload_collection(
                self.collection,
                vectors,
                payload=[
                    {**entry, "digest": entry["digest"].hex(), "model": self.space.digest}
                    for entry in entries
                ],
                ids=[str(uuid.UUID(bytes=entry["digest"][:16])) for entry in entries],
                batch_size=_REQUEST_SIZE,
                wait=True,
            )

    @_translate_errors()
    def find_neighbors(self, output: HeadOutput, k: int) -> list[tuple[Neighbor, ...]]:
        """Return at most ``k`` points per query image, most similar first.

        See :meth:`whichgen.inference.similar_images.NeighborIndex.find_neighbors` for the
        parameters.

        Raises
        ------
        FitError
            The vector of a query image contains NaN or infinity.
        """
        vectors = self.space.project(output)
        parameters = models.SearchParams(hnsw_ef=self.effort or None)
        neighbors = []
        for start in range(0, len(vectors), _REQUEST_SIZE):
            requests = [
                models.QueryRequest(query=vector, limit=k, params=parameters, with_payload=True)
                for vector in vectors[start : start + _REQUEST_SIZE].tolist()
            ]
            responses = self.client.query_batch_points(self.collection, requests)
            neighbors += [tuple(map(_make_neighbor, response.points)) for response in responses]
        return neighbors


def build_qdrant_gallery(
    folder: Path,
    images: GalleryImages,
    run_metadata: Mapping[str, Any],
    gallery: QdrantGallery,
    *,
    force: bool = False,
    progress: Progress = no_progress,
) -> GalleryDescription:
    """Upload the vectors of a gallery's images to Qdrant, and write ``gallery.json``.

    The collection is created if it does not exist. Points of other images in an existing collection
    are not deleted. If a call is interrupted, it can be repeated: each image is stored once.

    Parameters
    ----------
    folder
        Output folder of ``gallery.json``.
    images
        The images of the gallery.
    run_metadata
        Options, seeds and versions (:func:`whichgen.io.run_metadata.collect_run_metadata`).
    gallery
        Client of the Qdrant service, and the collection to which the images are added. Its
        ``space`` must be that of ``images``.
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
        ``folder`` exists and is neither an empty folder nor a gallery; it is a gallery and
        ``force`` is false; the collection belongs to another model or application; a request to
        Qdrant fails; or a response is invalid.
    FitError, KeyError, StoreError
        See :meth:`whichgen.gallery.entries.GalleryImages.compute_vectors`.
    OSError
        The output folder can't be read or written.
    """
    check_output_folder(folder, force=force)
    gallery.create_collection()
    batches = divide_rows(np.arange(len(images)))
    for rows in progress(batches, description="Uploading", total=len(batches)):
        gallery.add(images, rows)
    with replace_folder(folder) as work:
        return write_description(
            work,
            images,
            kind="qdrant",
            effort=gallery.effort,
            recall=None,
            collection=gallery.collection,
            run_metadata=run_metadata,
        )


def _make_neighbor(point: models.ScoredPoint) -> Neighbor:
    """Convert a point in a response from Qdrant to a neighbor."""
    payload = point.payload or {}
    return Neighbor(None, str(payload["origin"]), clip_cosine(point.score), str(payload["path"]))
