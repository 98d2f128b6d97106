"""Galleries in Qdrant: in memory, and in a real service if one is configured."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

import whichgen.gallery.entries as entries_module
import whichgen.gallery.qdrant as qdrant_module
from whichgen.errors import GalleryError
from whichgen.features.store import FeatureStore
from whichgen.gallery.build import build_local_gallery
from whichgen.gallery.entries import GalleryImages
from whichgen.gallery.gallery_description import GalleryDescription, read_description
from whichgen.gallery.qdrant import (
    QdrantGallery,
    build_qdrant_gallery,
    connect_to_qdrant,
)
from whichgen.gallery.search import load_gallery
from whichgen.inference.similar_images import SimilaritySpace
from whichgen.models.origin_model import OriginModel

from .conftest import RECORD, features_of

SERVER = "WHICHGEN_QDRANT_URL"

# The service in memory is exact, whatever a search asks for, and needs no index of payloads.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
]

Build = Callable[..., GalleryDescription]


@pytest.fixture(params=["memory", "server"])
def gallery(request: pytest.FixtureRequest, known: OriginModel) -> Iterator[QdrantGallery]:
    """A gallery in a new collection of each service."""
    if request.param == "server" and not os.environ.get(SERVER):
        pytest.skip(f"{SERVER} names no Qdrant server, and no package registry has one to start")
    in_memory = request.param == "memory"
    client = QdrantClient(":memory:") if in_memory else connect_to_qdrant(os.environ[SERVER])
    name = f"whichgen-test-{uuid.uuid4().hex}"
    yield QdrantGallery(client, name, SimilaritySpace(known))
    client.delete_collection(name)


@pytest.fixture
def build(gallery: QdrantGallery, gallery_images: GalleryImages, tmp_path: Path) -> Build:
    """Build the gallery of all images, described in the folder ``q``."""
    return partial(build_qdrant_gallery, tmp_path / "q", gallery_images, RECORD, gallery)


def test_neighbors_equal_those_of_a_flat_gallery(
    build: Build,
    gallery: QdrantGallery,
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
) -> None:
    description = build()
    assert description == read_description(tmp_path / "q")
    assert [p.name for p in (tmp_path / "q").iterdir()] == ["gallery.json"]
    assert description.recall is None
    build_local_gallery(tmp_path / "flat", gallery_images, RECORD, kind="flat")
    output = known.head.forward(features_of(gallery_images))
    expected = load_gallery(tmp_path / "flat", known).find_neighbors(output, 5)
    for row, expected_row in zip(gallery.find_neighbors(output, 5), expected, strict=True):
        assert [(n.path, n.origin) for n in row] == [(n.path, n.origin) for n in expected_row]
        np.testing.assert_allclose(
            [n.similarity for n in row], [n.similarity for n in expected_row], atol=1e-5
        )


def test_repeated_build_adds_no_duplicates(
    build: Build, gallery: QdrantGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries_module, "BATCH_ROWS", 10)
    client, requests = gallery.client, list[Any]()
    upload = client.upload_collection

    def stop(*args: Any, **kwargs: Any) -> None:
        requests.append(args)
        if len(requests) == 3:
            raise KeyboardInterrupt
        upload(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(client, "upload_collection", stop)
        with pytest.raises(KeyboardInterrupt):
            build()
    assert not (tmp_path / "q").exists()
    assert client.count(gallery.collection).count == 20
    for force in (False, True):
        build(force=force)
        assert client.count(gallery.collection).count == 62


def test_foreign_collection_is_rejected(
    build: Build,
    gallery: QdrantGallery,
    gallery_images: GalleryImages,
    known: OriginModel,
    tmp_path: Path,
) -> None:
    build()
    exemplars = replace(known.exemplars, features=known.exemplars.features + 1)
    other = replace(gallery, space=SimilaritySpace(replace(known, exemplars=exemplars)))
    with pytest.raises(GalleryError, match="belongs to another model"):
        build_qdrant_gallery(tmp_path / "r", gallery_images, RECORD, other)
    assert not (tmp_path / "r").exists()
    for parameters in (
        models.VectorParams(size=32, distance=models.Distance.DOT),
        models.VectorParams(size=4, distance=models.Distance.COSINE),
        {"named": models.VectorParams(size=32, distance=models.Distance.COSINE)},
    ):
        gallery.client.delete_collection(gallery.collection)
        gallery.client.create_collection(gallery.collection, vectors_config=parameters)
        with pytest.raises(GalleryError, match="belongs to another model"):
            build_qdrant_gallery(tmp_path / "r", gallery_images, RECORD, gallery)


def test_missing_features_are_not_blamed_on_qdrant(
    gallery_images: GalleryImages, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = QdrantGallery(QdrantClient(":memory:"), "c", gallery_images.space)
    gallery.create_collection()
    monkeypatch.setattr(store, "_rows", {})
    with pytest.raises(KeyError):
        gallery.add(gallery_images, np.arange(2))


def test_missing_images_are_reported(build: Build, gallery: QdrantGallery) -> None:
    build()
    gallery.check_size(62)
    some = models.FieldCondition(key="origin", match=models.MatchValue(value="gan"))
    selector = models.FilterSelector(filter=models.Filter(must=[some]))
    gallery.client.delete(gallery.collection, selector)
    with pytest.raises(GalleryError, match="has 42 images, expected at least 62"):
        gallery.check_size(62)
    with pytest.raises(GalleryError, match="does not exist"):
        replace(gallery, collection="whichgen-none").check_size(62)


def test_incomplete_points_are_reported(
    build: Build, gallery: QdrantGallery, gallery_images: GalleryImages, known: OriginModel
) -> None:
    build()
    gallery.client.delete_payload(gallery.collection, ["path"], models.Filter())
    with pytest.raises(GalleryError, match="does not match this gallery"):
        gallery.find_neighbors(known.head.forward(features_of(gallery_images)[:1]), 2)


def test_folder_does_not_name_the_service(
    gallery_images: GalleryImages, known: OriginModel, tmp_path: Path
) -> None:
    gallery = QdrantGallery(QdrantClient(":memory:"), "c", SimilaritySpace(known))
    build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, gallery)
    assert "http" not in (tmp_path / "q" / "gallery.json").read_text()
    with pytest.raises(GalleryError, match="is not the address of a Qdrant service"):
        load_gallery(tmp_path / "q", known)


def test_api_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {}
    monkeypatch.setattr(qdrant_module, "QdrantClient", lambda **values: settings.update(values))
    monkeypatch.delenv("WHICHGEN_QDRANT_API_KEY", raising=False)
    connect_to_qdrant("https://example.org")
    assert (settings["url"], settings["api_key"]) == ("https://example.org", None)
    monkeypatch.setenv("WHICHGEN_QDRANT_API_KEY", "secret")
    connect_to_qdrant("https://example.org")
    assert settings["api_key"] == "secret"
    for wrong in ("", "some/folder", ":memory:", "localhost:6333", "file:///x"):
        with pytest.raises(GalleryError, match="is not the address of a Qdrant service"):
            connect_to_qdrant(wrong)


def test_invalid_address_is_reported() -> None:
    with pytest.raises(GalleryError, match="is not the address of a Qdrant service"):
        connect_to_qdrant("http://localhost:port")


class _OtherService(BaseHTTPRequestHandler):
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
    with HTTPServer(("127.0.0.1", 0), _OtherService) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        gallery = QdrantGallery(connect_to_qdrant(address), "c", gallery_images.space)
        with pytest.raises(GalleryError, match=r"request to Qdrant|does not match this"):
            build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, gallery)
        server.shutdown()
        thread.join()
    with pytest.raises(GalleryError, match=r"request to Qdrant failed .*refused"):
        build_qdrant_gallery(tmp_path / "q", gallery_images, RECORD, gallery)
    assert not (tmp_path / "q").exists()
