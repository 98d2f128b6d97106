"""Galleries whose vectors are held by a Qdrant service, for collections too large for one machine.

An image is a point of the collection whose id is derived from the digest of its content, so that an
image that is sent twice is stored once and an interrupted build can be repeated. ``gallery.json``
names the collection but not the service: the address in an untrusted folder would receive vectors
and the API key.

qdrant-client can act as a service in memory with exact search (``QdrantClient(":memory:")``), which
the tests use. Its on-disk format contains pickles, which whichgen does not read.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

from whichgen.errors import GalleryError, first_line
from whichgen.gallery.build import check_gallery_folder, hold_out_queries
from whichgen.gallery.entries import GalleryImages, row_batches
from whichgen.gallery.index import N_NEIGHBORS, Recall, compute_recall
from whichgen.gallery.storage import GalleryDescription, write_description
from whichgen.heads.base import HeadOutput
from whichgen.inference.neighbors import Neighbor, SimilaritySpace, clip_cosine
from whichgen.io.atomic import replace_folder
from whichgen.progress import Progress, no_progress

#: Environment variable: the API key of the service.
API_KEY = "WHICHGEN_QDRANT_API_KEY"

# Points per request.
_POINTS = 512
# Timeout of a request in seconds.
_TIMEOUT = 60


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise every error of the service or its client as a :class:`GalleryError`."""
    try:
        yield
    except (ApiException, ResponseHandlingException, OSError) as error:
        raise GalleryError(
            f"Qdrant does not answer ({first_line(error)}). Check --qdrant-url, the service and "
            f"{API_KEY}, and run the command again to resume."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise GalleryError(
            f"Qdrant's answer does not fit this gallery ({first_line(error)}). Check --qdrant-url "
            "and --collection."
        ) from None


@_translate_errors()
def connect_to_qdrant(url: str) -> QdrantClient:
    """Return a client of the service at ``http://…`` or ``https://…``, with the API key if set.

    Raises
    ------
    GalleryError
        ``url`` is not such an address.
    """
    if not url.startswith(("http://", "https://")):
        raise GalleryError(
            "a gallery in Qdrant needs the address of the service, e.g. --qdrant-url "
            f"http://localhost:6333, not {url!r}. A gallery in a folder needs none."
        )
    return QdrantClient(
        url=url,
        api_key=os.environ.get(API_KEY) or None,
        timeout=_TIMEOUT,
        check_compatibility=False,  # which would warn if the service can't be reached
    )


@dataclass(frozen=True)
class QdrantGallery:
    """A gallery in a service (:class:`~whichgen.inference.neighbors.NeighborIndex`).

    All methods raise :class:`GalleryError` if the service does not answer, or if its answer does
    not fit this gallery.

    Parameters
    ----------
    client, collection
        The service, and the name of the collection there.
    space
        The vectors of the collection.
    effort
        Candidates per search (``hnsw_ef``); 0: the default of the service.
    """

    client: QdrantClient
    collection: str
    space: SimilaritySpace
    effort: int = 0

    @_translate_errors()
    def create_collection(self) -> None:
        """Create the collection; if it exists, check that it holds vectors of the same model."""
        client, cosine = self.client, models.Distance.COSINE
        if not client.collection_exists(self.collection):
            parameters = models.VectorParams(size=self.space.dimension, distance=cosine)
            client.create_collection(self.collection, vectors_config=parameters)
            # So that points of another model can be counted without reading all points.
            keyword = models.PayloadSchemaType.KEYWORD
            client.create_payload_index(self.collection, "model", keyword)
            return
        vectors = client.get_collection(self.collection).config.params.vectors
        form = (getattr(vectors, "size", None), getattr(vectors, "distance", None))
        own = models.FieldCondition(key="model", match=models.MatchValue(value=self.space.digest))
        foreign = models.Filter(must_not=[own])
        n_foreign = client.count(self.collection, count_filter=foreign, exact=True).count
        if n_foreign or form != (self.space.dimension, cosine):
            raise GalleryError(
                f"the collection {self.collection!r} holds vectors of another model or program. "
                "Choose another --collection."
            )

    @_translate_errors()
    def check_size(self, n_images: int) -> None:
        """Raise :class:`GalleryError` if the collection has fewer images."""
        exists = self.client.collection_exists(self.collection)
        if (n := self.client.count(self.collection).count if exists else 0) < n_images:
            raise GalleryError(
                f"the collection {self.collection!r} has {n} images, expected {n_images}. Check "
                "--qdrant-url, or build the gallery again."
            )

    @_translate_errors()
    def add(self, images: GalleryImages, rows: np.ndarray) -> None:
        """Send some rows of the images; those sent before are replaced."""
        entries = images.entries.take(rows).to_pylist()
        self.client.upload_collection(
            self.collection,
            images.vectors(rows),
            payload=[
                {**entry, "digest": entry["digest"].hex(), "model": self.space.digest}
                for entry in entries
            ],
            ids=[_point_id(entry["digest"]) for entry in entries],
            batch_size=_POINTS,
            wait=True,
        )

    @_translate_errors()
    def find_neighbors(self, output: HeadOutput, k: int) -> list[tuple[Neighbor, ...]]:
        """See :meth:`whichgen.inference.neighbors.NeighborIndex.find_neighbors`."""
        results = self._search(self.space.project(output), k)
        return [tuple(map(_as_neighbor, points)) for points in results]

    @_translate_errors()
    def measure_recall(self, images: GalleryImages, queries: np.ndarray) -> Recall:
        """Measure the recall against the service's exact search, for images that are not sent yet.

        An image that an earlier build has sent is excluded from its own neighbors.
        """
        # Points that are not indexed yet are searched exactly, which would overstate the recall.
        indexing = models.CollectionStatus.YELLOW
        while self.client.get_collection(self.collection).status == indexing:
            time.sleep(1)
        vectors = images.vectors(queries)
        own_ids = [_point_id(digest) for digest in images.digests(queries)]

        def cosines(*, exact: bool) -> list[list[float]]:
            results = self._search(vectors, N_NEIGHBORS + 1, exact=exact)
            return [
                [point.score for point in points if point.id != own][:N_NEIGHBORS]
                for own, points in zip(own_ids, results, strict=True)
            ]

        exact, approximate = cosines(exact=True), cosines(exact=False)
        k = min(map(len, exact))
        return compute_recall(
            np.array([[*row, *[-np.inf] * k][:k] for row in approximate]),
            np.array([row[:k] for row in exact]),
        )

    def _search(
        self, vectors: np.ndarray, k: int, *, exact: bool = False
    ) -> list[list[models.ScoredPoint]]:
        """Return the k nearest points of each vector."""
        parameters = models.SearchParams(exact=exact, hnsw_ef=self.effort or None)
        points = []
        for start in range(0, len(vectors), _POINTS):
            requests = [
                models.QueryRequest(query=vector, limit=k, params=parameters, with_payload=True)
                for vector in vectors[start : start + _POINTS].tolist()
            ]
            responses = self.client.query_batch_points(self.collection, requests)
            points += [response.points for response in responses]
        return points


def build_qdrant_gallery(
    folder: Path,
    images: GalleryImages,
    run_metadata: Mapping[str, Any],
    gallery: QdrantGallery,
    *,
    seed: int = 0,
    force: bool = False,
    progress: Progress = no_progress,
) -> GalleryDescription:
    """Send the images of a gallery to its service, and write the folder that describes it.

    Images are added to an existing collection of the same model. With ``force``, a gallery in the
    folder is replaced; nothing is deleted from the service.

    Raises
    ------
    GalleryError
        The folder is not empty, the collection belongs to another model, or the service does not
        answer.
    """
    check_gallery_folder(folder, force=force)
    gallery.create_collection()
    first, queries = hold_out_queries(len(images), seed)
    batches = row_batches(first)
    for rows in progress(batches, description="Sending", total=len(batches)):
        gallery.add(images, rows)
    recall = gallery.measure_recall(images, queries) if len(queries) else None
    gallery.add(images, queries)
    with replace_folder(folder) as work:
        return write_description(
            work,
            images,
            kind="qdrant",
            effort=gallery.effort,
            recall=recall,
            collection=gallery.collection,
            run_metadata=run_metadata,
        )


def _as_neighbor(point: models.ScoredPoint) -> Neighbor:
    payload = point.payload or {}
    return Neighbor(None, str(payload["origin"]), clip_cosine(point.score), str(payload["path"]))


def _point_id(digest: bytes) -> str:
    """Return the id of an image: a UUID of the first 16 of the 20 bytes of its digest."""
    return str(uuid.UUID(bytes=digest[:16]))
