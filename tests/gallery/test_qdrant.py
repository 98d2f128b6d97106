"""Galleries in Qdrant: in memory, and in a real service if one is configured."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

import whichgen.gallery.qdrant as qdrant_module
from whichgen.errors import GalleryError
from whichgen.gallery.build import build_local_gallery
from whichgen.gallery.entries import GalleryImages
from whichgen.gallery.loading import load_gallery
from whichgen.gallery.qdrant import build_qdrant_gallery, connect_to_qdrant, open_qdrant_gallery
from whichgen.gallery.storage import read_description
from whichgen.inference.neighbors import SimilaritySpace
from whichgen.models.origin_model import OriginModel

from .conftest import RECORD, features_of

SERVER = "WHICHGEN_QDRANT_URL"

# The service in memory is exact, whatever a search asks for, and needs no index of payloads.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
]


@pytest.fixture(params=["memory", "server"])
def client(request: pytest.FixtureRequest) -> Iterator[QdrantClient]:
    """A client of each service."""
    if request.param == "memory":
        yield QdrantClient(":memory:")
        return
    if not os.environ.get(SERVER):
        pytest.skip(f"{SERVER} names no Qdrant server, and no package registry has one to start")
    yield connect_to_qdrant(os.environ[SERVER])


@pytest.fixture
def collection(client: QdrantClient) -> Iterator[str]:
    """The name of a new collection."""
    name = f"whichgen-test-{uuid.uuid4().hex}"
    yield name
    client.delete_collection(name)


def test_neighbors_equal_those_of_a_flat_gallery(
    client: QdrantClient,
    collection: str,
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
) -> None:
    description = build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, client, collection)
    assert description == read_description(tmp_path / "q")
    assert [p.name for p in (tmp_path / "q").iterdir()] == ["gallery.json"]
    assert description.recall is not None
    assert (description.recall.at_1, description.recall.at_10, description.recall.queries) == (
        1,
        1,
        31,
    )
    build_local_gallery(tmp_path / "flat", gallery_images, RECORD, kind="flat")
    features = features_of(gallery_images)
    expected = load_gallery(tmp_path / "flat", known).find_neighbors(
        known.head.forward(features), 5
    )
    neighbors = open_qdrant_gallery(description, SimilaritySpace(known), client).find_neighbors(
        known.head.forward(features), 5
    )
    for row, expected_row in zip(neighbors, expected, strict=True):
        assert [(n.path, n.origin) for n in row] == [(n.path, n.origin) for n in expected_row]
        np.testing.assert_allclose(
            [n.similarity for n in row], [n.similarity for n in expected_row], atol=1e-5
        )


def test_repeated_build_adds_no_duplicates(
    client: QdrantClient,
    collection: str,
    gallery_images: GalleryImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(qdrant_module, "_POINTS", 10)
    upsert, sent = client.upsert, []

    def stopping(*args: Any, **kwargs: Any) -> Any:
        sent.append(args)
        if len(sent) == 3:
            raise KeyboardInterrupt
        return upsert(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(client, "upsert", stopping)
        with pytest.raises(KeyboardInterrupt):
            build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, client, collection)
    assert not (tmp_path / "q").exists()
    assert client.count(collection).count == 20
    for folder in ("q", "again"):
        description = build_qdrant_gallery(
            tmp_path / folder, gallery_images, RECORD, client, collection
        )
        assert description.recall is not None
        assert description.recall.at_10 == 1
        assert client.count(collection).count == 62


def test_foreign_collection_is_rejected(
    client: QdrantClient,
    collection: str,
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
) -> None:
    build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, client, collection)
    assert known.exemplars is not None
    moved = replace(known.exemplars, features=known.exemplars.features + 1)
    other = replace(gallery_images, space=SimilaritySpace(replace(known, exemplars=moved)))
    with pytest.raises(GalleryError, match="of another model or program"):
        build_qdrant_gallery(tmp_path / "r", other, RECORD, client, collection)
    assert not (tmp_path / "r").exists()
    client.delete_collection(collection)
    client.create_collection(
        collection, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT)
    )
    with pytest.raises(GalleryError, match="of another model or program"):
        build_qdrant_gallery(tmp_path / "r", gallery_images, RECORD, client, collection)


def test_missing_images_are_reported(
    client: QdrantClient,
    collection: str,
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
) -> None:
    description = build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, client, collection)
    some = models.FieldCondition(key="origin", match=models.MatchValue(value="gan"))
    client.delete(collection, models.FilterSelector(filter=models.Filter(must=[some])))
    with pytest.raises(GalleryError, match="has 42 images, expected 62"):
        open_qdrant_gallery(description, SimilaritySpace(known), client)
    absent = description.model_copy(update={"collection": "whichgen-none"})
    with pytest.raises(GalleryError, match="has 0 images, expected 62"):
        open_qdrant_gallery(absent, SimilaritySpace(known), client)


def test_incomplete_points_are_reported(
    client: QdrantClient,
    collection: str,
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
) -> None:
    description = build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, client, collection)
    client.delete_payload(collection, ["path"], models.Filter())
    gallery = open_qdrant_gallery(description, SimilaritySpace(known), client)
    with pytest.raises(GalleryError, match="does not fit this gallery"):
        gallery.find_neighbors(known.head.forward(features_of(gallery_images)[:1]), 2)


def test_folder_does_not_name_the_service(
    gallery_images: GalleryImages, known: OriginModel, tmp_path: Path
) -> None:
    build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, QdrantClient(":memory:"), "c")
    assert "http" not in (tmp_path / "q" / "gallery.json").read_text().replace("a model", "")
    with pytest.raises(GalleryError, match="Give its --qdrant-url"):
        load_gallery(tmp_path / "q", known)


def test_api_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(qdrant_module, "QdrantClient", lambda **values: given.update(values))
    monkeypatch.delenv("WHICHGEN_QDRANT_API_KEY", raising=False)
    connect_to_qdrant("https://example.org")
    assert (given["url"], given["api_key"]) == ("https://example.org", None)
    monkeypatch.setenv("WHICHGEN_QDRANT_API_KEY", "secret")
    connect_to_qdrant("https://example.org")
    assert given["api_key"] == "secret"
    for wrong in ("some/folder", ":memory:", "localhost:6333", "file:///x"):
        with pytest.raises(GalleryError, match="is not the address of a Qdrant service"):
            connect_to_qdrant(wrong)


class _Other(BaseHTTPRequestHandler):
    """A web server that is no Qdrant."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_unreachable_or_wrong_service_is_reported(
    gallery_images: GalleryImages, tmp_path: Path
) -> None:
    with HTTPServer(("127.0.0.1", 0), _Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(GalleryError, match=r"Qdrant does not answer|does not fit this gallery"):
            build_qdrant_gallery(
                tmp_path / "q", gallery_images, RECORD, connect_to_qdrant(address), "c"
            )
        server.shutdown()
        thread.join()
    with pytest.raises(GalleryError, match="Qdrant does not answer a request about c"):
        build_qdrant_gallery(
            tmp_path / "q", gallery_images, RECORD, connect_to_qdrant(address), "c"
        )
    assert not (tmp_path / "q").exists()
