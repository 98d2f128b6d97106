"""A gallery whose vectors a Qdrant service has: where one machine does not hold them.

An image is a point of the collection: its id is made of the digest of its content, so that one
sent twice is there once, and a build that was stopped can be run again. ``gallery.json`` names the
collection, but not the service: that could be a stranger's, and would be sent vectors and key.

qdrant-client can also be its own service in memory, with exact search
(``QdrantClient(":memory:")``), which the tests use. What it keeps in a folder are pickles, which
whichgen does not read.
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
from whichgen.gallery.build import check_gallery_folder, divided, write_description
from whichgen.gallery.entries import Images, steps
from whichgen.gallery.recall import NEAREST, Recall, compute_recall
from whichgen.gallery.storage import FORMAT, GalleryDescription
from whichgen.inference.neighbors import Neighbor, SimilaritySpace, clip_cosine
from whichgen.io.atomic import replace_folder
from whichgen.progress import Progress, no_progress
from whichgen.version import __version__

#: The environment variable of the service's key.
API_KEY = "WHICHGEN_QDRANT_API_KEY"

#: Points in one request.
_SENT = 512
#: Seconds that a service gets to answer, and to index what it was sent.
_TIMEOUT = 60
_INDEXING = 600


def connect(url: str) -> QdrantClient:
    """A client of the service at ``http://…`` or ``https://…``, with the key that is set.

    Raises
    ------
    GalleryError
        ``url`` is no such address.
    """
    if not url.startswith(("http://", "https://")):
        raise GalleryError(
            f"--qdrant-url {url!r}: expected the address of a Qdrant service, as in "
            "http://localhost:6333. A gallery in a folder needs none: leave --qdrant-url out."
        )
    with _answers(url):
        return QdrantClient(
            url=url,
            api_key=os.environ.get(API_KEY) or None,
            timeout=_TIMEOUT,
            check_compatibility=False,  # that it can't be reached is told once, without a warning
        )


class QdrantGallery:
    """A gallery in a service; a :class:`~whichgen.inference.neighbors.NeighborIndex`."""

    def __init__(
        self, client: QdrantClient, description: GalleryDescription, space: SimilaritySpace
    ) -> None:
        self.description = description
        self._client = client
        self._comparison = space

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[Neighbor, ...]]:
        """See :meth:`whichgen.inference.neighbors.NeighborIndex.nearest`.

        Raises
        ------
        GalleryError
            The service gives no answer, or one that is not of this gallery.
        """
        if k < 1 or not len(features):
            return [()] * len(features)
        told = self.description
        points = self._comparison.points(features)
        with _answers(told.collection):
            found = _found(self._client, told.collection, points, k, told.effort)
            return [
                tuple(
                    Neighbor(
                        None,
                        str((hit.payload or {})["origin"]),
                        clip_cosine(hit.score),
                        str((hit.payload or {})["path"]),
                    )
                    for hit in hits
                )
                for hits in found
            ]


def read_qdrant(
    told: GalleryDescription, space: SimilaritySpace, client: QdrantClient
) -> QdrantGallery:
    """The gallery that a folder describes.

    Raises
    ------
    GalleryError
        The service does not have the collection, or fewer images than there should be.
    """
    with _answers(told.collection):
        there = client.collection_exists(told.collection)
        count = client.count(told.collection).count if there else 0
    if count < told.number:
        raise GalleryError(
            f"the collection {told.collection!r} has {count} images in place of {told.number}. "
            "Give the right service with --qdrant-url, or build the gallery again."
        )
    return QdrantGallery(client, told, space)


def open_collection(client: QdrantClient, collection: str, space: SimilaritySpace) -> None:
    """Makes the collection if it is not there yet.

    Raises
    ------
    GalleryError
        It holds vectors of another model or program, or the service gives no answer.
    """
    with _answers(collection):
        if not client.collection_exists(collection):
            client.create_collection(
                collection,
                vectors_config=models.VectorParams(
                    size=space.dimension, distance=models.Distance.COSINE
                ),
            )
            # So that points of another model are counted without reading them all.
            client.create_payload_index(collection, "model", models.PayloadSchemaType.KEYWORD)
            return
        vectors = client.get_collection(collection).config.params.vectors
        fits = (
            isinstance(vectors, models.VectorParams)
            and vectors.size == space.dimension
            and vectors.distance == models.Distance.COSINE
        )
        ours = models.FieldCondition(key="model", match=models.MatchValue(value=space.digest))
        others = models.Filter(must_not=[ours])
        if not fits or client.count(collection, count_filter=others, exact=True).count:
            raise GalleryError(
                f"the collection {collection!r} holds vectors of another model or program. Give "
                "another --collection."
            )


def build_qdrant_gallery(
    folder: Path,
    images: Images,
    record: Mapping[str, Any],
    client: QdrantClient,
    collection: str,
    *,
    effort: int = 0,
    seed: int = 0,
    force: bool = False,
    progress: Progress = no_progress,
) -> GalleryDescription:
    """Sends a gallery to a service, and writes the folder that describes it.

    A collection of the same model grows: what it holds already stays. Recall is measured against
    the service's own exact search.

    Parameters
    ----------
    effort
        Candidates that a search looks at (``hnsw_ef``); 0: the service's default.
    force
        Take the place of a gallery in the folder. Nothing is deleted from the service.

    Raises
    ------
    GalleryError
        The folder is not free, the collection is another model's, or the service gives no answer.
    """
    check_gallery_folder(folder, force=force)
    space = images.space
    kept, held = divided(len(images), seed)
    first_held = len(list(steps(kept)))
    batches = [*steps(kept), *steps(held)]
    recall = None
    with _answers(collection):
        open_collection(client, collection, space)
        for i, rows in enumerate(progress(batches, description="Sending", total=len(batches))):
            if i == first_held:
                recall = _recall(client, collection, images, held, effort)
            _send(client, collection, images, rows)
    description = GalleryDescription(
        format=FORMAT,
        whichgen=__version__,
        model=space.digest,
        encoder=images.store.folder.name,
        kind="qdrant",
        number=len(images),
        dimension=space.dimension,
        effort=effort,
        recall=recall,
        collection=collection,
        files={},
        run_metadata=dict(record),
    )
    with replace_folder(folder) as work:
        write_description(description, work)
    return description


def _send(client: QdrantClient, collection: str, images: Images, rows: np.ndarray) -> None:
    model = images.space.digest
    vectors = images.points(rows)
    entries = images.entries.take(rows).to_pylist()
    for start in range(0, len(rows), _SENT):
        part = entries[start : start + _SENT]
        client.upsert(
            collection,
            models.Batch(
                ids=[_point_id(entry["digest"]) for entry in part],
                vectors=vectors[start : start + _SENT].tolist(),
                payloads=[
                    {
                        "path": entry["path"],
                        "origin": entry["origin"],
                        "digest": entry["digest"].hex(),
                        "model": model,
                    }
                    for entry in part
                ],
            ),
            wait=True,
        )


def _recall(
    client: QdrantClient, collection: str, images: Images, held: np.ndarray, effort: int
) -> Recall:
    """By images that are not sent yet; what an earlier build has sent does not find itself."""
    _wait_until_indexed(client, collection)
    points, ids = images.points(held), [_point_id(digest) for digest in images.digests(held)]
    exact = _cosines(_found(client, collection, points, NEAREST, 0, without=ids, exact=True))
    found = _cosines(_found(client, collection, points, NEAREST, effort, without=ids))
    k = min(len(cosines) for cosines in exact)
    return compute_recall(
        np.array([[*cosines, *[-np.inf] * k][:k] for cosines in found]),
        np.array([cosines[:k] for cosines in exact]),
    )


def _wait_until_indexed(client: QdrantClient, collection: str) -> None:
    until = time.monotonic() + _INDEXING
    while client.get_collection(collection).status != models.CollectionStatus.GREEN:
        if time.monotonic() > until:
            raise GalleryError(
                f"the service has not indexed {collection!r} in {_INDEXING // 60} minutes, so no "
                "recall can be measured. Build again later: what was sent is kept."
            )
        time.sleep(1)


def _found(
    client: QdrantClient,
    collection: str,
    points: np.ndarray,
    k: int,
    effort: int,
    *,
    without: Sequence[str] = (),
    exact: bool = False,
) -> list[list[models.ScoredPoint]]:
    """The nearest of each point; ``without`` names for each a point that does not count."""
    parameters = models.SearchParams(exact=exact, hnsw_ef=effort or None)
    requests = [
        models.QueryRequest(
            query=point,
            limit=k,
            params=parameters,
            with_payload=True,
            filter=models.Filter(must_not=[models.HasIdCondition(has_id=[without[i]])])
            if without
            else None,
        )
        for i, point in enumerate(points.tolist())
    ]
    answers: list[list[models.ScoredPoint]] = []
    for start in range(0, len(requests), _SENT):
        part = client.query_batch_points(collection, requests[start : start + _SENT])
        answers += [answer.points for answer in part]
    return answers


def _cosines(found: list[list[models.ScoredPoint]]) -> list[list[float]]:
    return [[hit.score for hit in hits] for hits in found]


def _point_id(digest: bytes) -> str:
    """The id of an image: a UUID of the first 16 of its digest's 20 bytes."""
    return str(uuid.UUID(bytes=digest[:16]))


@contextmanager
def _answers(what: str) -> Iterator[None]:
    """Whatever a service or its client has to complain of, as one :class:`GalleryError`."""
    try:
        yield
    except GalleryError:
        raise
    except (ApiException, ResponseHandlingException, OSError) as error:
        raise GalleryError(
            f"Qdrant gives no answer about {what} ({_first_line(error)}). Check "
            "--qdrant-url, the service and WHICHGEN_QDRANT_API_KEY."
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise GalleryError(
            f"Qdrant's answer about {what} is not one of this gallery ({_first_line(error)})."
        ) from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
