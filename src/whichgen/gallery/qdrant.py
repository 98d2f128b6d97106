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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

from whichgen.errors import GalleryError
from whichgen.gallery.build import check_gallery_folder, hold_out_queries
from whichgen.gallery.entries import GalleryImages, row_batches
from whichgen.gallery.recall import N_NEIGHBORS, Recall, compute_recall
from whichgen.gallery.storage import GalleryDescription, write_description
from whichgen.heads.base import HeadOutput
from whichgen.inference.neighbors import Neighbor, SimilaritySpace, clip_cosine
from whichgen.io.atomic import replace_folder
from whichgen.progress import Progress, no_progress

#: Environment variable: the API key of the service.
API_KEY = "WHICHGEN_QDRANT_API_KEY"

# Points per request.
_POINTS = 512
# Timeouts in seconds: of a request, and of indexing.
_TIMEOUT = 60
_INDEXING_TIMEOUT = 600


def connect_to_qdrant(url: str) -> QdrantClient:
    """Return a client of the service at ``http://…`` or ``https://…``, with the API key if set.

    Raises
    ------
    GalleryError
        ``url`` is not such an address.
    """
    if not url.startswith(("http://", "https://")):
        raise GalleryError(
            f"--qdrant-url {url!r} is not the address of a Qdrant service. Give e.g. "
            "http://localhost:6333; a gallery in a folder needs no address."
        )
    with _translate_errors(url):
        return QdrantClient(
            url=url,
            api_key=os.environ.get(API_KEY) or None,
            timeout=_TIMEOUT,
            check_compatibility=False,  # which would warn if the service can't be reached
        )


class QdrantGallery:
    """A gallery in a service (:class:`~whichgen.inference.neighbors.NeighborIndex`)."""

    def __init__(
        self, client: QdrantClient, description: GalleryDescription, space: SimilaritySpace
    ) -> None:
        self.description = description
        self._client = client
        self._space = space

    def find_neighbors(self, output: HeadOutput, k: int) -> list[tuple[Neighbor, ...]]:
        """See :meth:`whichgen.inference.neighbors.NeighborIndex.find_neighbors`.

        Raises
        ------
        GalleryError
            The service does not answer, or its answer does not fit this gallery.
        """
        if k < 1 or not len(output.logits):
            return [()] * len(output.logits)
        collection, effort = self.description.collection, self.description.effort
        vectors = self._space.project(output)
        with _translate_errors(collection):
            results = _query(self._client, collection, vectors, k, effort)
            return [tuple(_neighbor(point) for point in points) for points in results]


def open_qdrant_gallery(
    description: GalleryDescription, space: SimilaritySpace, client: QdrantClient
) -> QdrantGallery:
    """Open the gallery that a description names.

    Raises
    ------
    GalleryError
        The service does not have the collection, or the collection has too few images.
    """
    collection = description.collection
    with _translate_errors(collection):
        n = client.count(collection).count if client.collection_exists(collection) else 0
    if n < description.n_images:
        raise GalleryError(
            f"the collection {collection!r} has {n} images, expected {description.n_images}. Check "
            "--qdrant-url, or build the gallery again."
        )
    return QdrantGallery(client, description, space)


def create_collection(client: QdrantClient, collection: str, space: SimilaritySpace) -> None:
    """Create the collection if it does not exist.

    Raises
    ------
    GalleryError
        It holds vectors of another model or program, or the service does not answer.
    """
    with _translate_errors(collection):
        if not client.collection_exists(collection):
            parameters = models.VectorParams(size=space.dimension, distance=models.Distance.COSINE)
            client.create_collection(collection, vectors_config=parameters)
            # So that points of another model can be counted without reading all points.
            client.create_payload_index(collection, "model", models.PayloadSchemaType.KEYWORD)
            return
        vectors = client.get_collection(collection).config.params.vectors
        compatible = (
            isinstance(vectors, models.VectorParams)
            and vectors.size == space.dimension
            and vectors.distance == models.Distance.COSINE
        )
        own = models.FieldCondition(key="model", match=models.MatchValue(value=space.digest))
        foreign = models.Filter(must_not=[own])
        if not compatible or client.count(collection, count_filter=foreign, exact=True).count:
            raise GalleryError(
                f"the collection {collection!r} holds vectors of another model or program. Choose "
                "another --collection."
            )


def build_qdrant_gallery(
    folder: Path,
    images: GalleryImages,
    run_metadata: Mapping[str, Any],
    client: QdrantClient,
    collection: str,
    *,
    effort: int = 0,
    seed: int = 0,
    force: bool = False,
    progress: Progress = no_progress,
) -> GalleryDescription:
    """Send a gallery to a service, and write the folder that describes it.

    Images are added to an existing collection of the same model. Recall is measured against the
    exact search of the service.

    Parameters
    ----------
    effort
        Candidates per search (``hnsw_ef``); 0: the default of the service.
    force
        Replace a gallery in the folder. Nothing is deleted from the service.

    Raises
    ------
    GalleryError
        The folder is not empty, the collection belongs to another model, or the service does not
        answer.
    """
    check_gallery_folder(folder, force=force)
    first, queries = hold_out_queries(len(images), seed)
    n_first = len(list(row_batches(first)))
    batches = [*row_batches(first), *row_batches(queries)]
    recall = None
    with _translate_errors(collection):
        create_collection(client, collection, images.space)
        for i, rows in enumerate(progress(batches, description="Sending", total=len(batches))):
            if i == n_first:
                recall = _measure_recall(client, collection, images, queries, effort)
            _send(client, collection, images, rows)
    description = GalleryDescription(
        model=images.space.digest,
        encoder=images.store.folder.name,
        kind="qdrant",
        n_images=len(images),
        dimension=images.space.dimension,
        effort=effort,
        recall=recall,
        collection=collection,
        files={},
        run_metadata=dict(run_metadata),
    )
    with replace_folder(folder) as work:
        write_description(description, work)
    return description


def _send(client: QdrantClient, collection: str, images: GalleryImages, rows: np.ndarray) -> None:
    vectors = images.vectors(rows).tolist()
    entries = images.entries.take(rows).to_pylist()
    payloads = [
        {**entry, "digest": entry["digest"].hex(), "model": images.space.digest}
        for entry in entries
    ]
    ids: list[Any] = [_point_id(entry["digest"]) for entry in entries]
    for start in range(0, len(rows), _POINTS):
        part = slice(start, start + _POINTS)
        batch = models.Batch(ids=ids[part], vectors=vectors[part], payloads=payloads[part])
        client.upsert(collection, batch, wait=True)


def _measure_recall(
    client: QdrantClient, collection: str, images: GalleryImages, queries: np.ndarray, effort: int
) -> Recall:
    """Measure the recall for images that are not sent yet.

    An image that an earlier build has sent is excluded from its own neighbors.
    """
    deadline = time.monotonic() + _INDEXING_TIMEOUT
    while client.get_collection(collection).status != models.CollectionStatus.GREEN:
        if time.monotonic() > deadline:
            raise GalleryError(
                f"the service has not indexed {collection!r} within {_INDEXING_TIMEOUT // 60} "
                "minutes, so recall can't be measured. Run the command again later to resume."
            )
        time.sleep(1)
    vectors = images.vectors(queries)
    own = [_point_id(digest) for digest in images.digests(queries)]
    exact, approximate = (
        [
            [point.score for point in points]
            for points in _query(
                client, collection, vectors, N_NEIGHBORS, effort, exclude=own, exact=is_exact
            )
        ]
        for is_exact in (True, False)
    )
    k = min(len(cosines) for cosines in exact)
    return compute_recall(
        np.array([[*cosines, *[-np.inf] * k][:k] for cosines in approximate]),
        np.array([cosines[:k] for cosines in exact]),
    )


def _query(
    client: QdrantClient,
    collection: str,
    vectors: np.ndarray,
    k: int,
    effort: int,
    *,
    exclude: Sequence[str] = (),
    exact: bool = False,
) -> list[list[models.ScoredPoint]]:
    """Return the nearest points of each vector; ``exclude`` names one point for each to ignore."""
    requests = [
        models.QueryRequest(
            query=vector,
            limit=k,
            params=models.SearchParams(exact=exact, hnsw_ef=effort or None),
            with_payload=True,
            filter=models.Filter(must_not=[models.HasIdCondition(has_id=[exclude[i]])])
            if exclude
            else None,
        )
        for i, vector in enumerate(vectors.tolist())
    ]
    results: list[list[models.ScoredPoint]] = []
    for start in range(0, len(requests), _POINTS):
        responses = client.query_batch_points(collection, requests[start : start + _POINTS])
        results += [response.points for response in responses]
    return results


def _neighbor(point: models.ScoredPoint) -> Neighbor:
    payload = point.payload or {}
    return Neighbor(None, str(payload["origin"]), clip_cosine(point.score), str(payload["path"]))


def _point_id(digest: bytes) -> str:
    """Return the id of an image: a UUID of the first 16 of the 20 bytes of its digest."""
    return str(uuid.UUID(bytes=digest[:16]))


@contextmanager
def _translate_errors(subject: str) -> Iterator[None]:
    """Raise every error of the service or its client as a :class:`GalleryError`."""
    try:
        yield
    except GalleryError:
        raise
    except (ApiException, ResponseHandlingException, OSError) as error:
        raise GalleryError(
            f"Qdrant does not answer a request about {subject} ({_first_lines(error)}). Check "
            f"--qdrant-url, the service and {API_KEY}, and run the command again to resume."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise GalleryError(
            f"Qdrant's answer about {subject} does not fit this gallery ({_first_lines(error)}). "
            "Check --qdrant-url and --collection."
        ) from None


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
