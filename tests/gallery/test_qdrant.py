"""A gallery in Qdrant: its client's service in memory, and a real one where there is one."""

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
from whichgen.gallery.entries import Images
from whichgen.gallery.loading import load_gallery
from whichgen.gallery.qdrant import build_qdrant_gallery, connect, read_qdrant
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
    yield connect(os.environ[SERVER])


@pytest.fixture
def collection(client: QdrantClient) -> Iterator[str]:
    """The name of a new collection."""
    name = f"whichgen-test-{uuid.uuid4().hex}"
    yield name
    client.delete_collection(name)


def test_its_neighbors_are_those_of_a_flat_gallery(
    client: QdrantClient, collection: str, gathered: Images, known: OriginModel, tmp_path: Path
) -> None:
    told = build_qdrant_gallery(tmp_path / "q", gathered, RECORD, client, collection)
    assert told == read_description(tmp_path / "q")
    assert [p.name for p in (tmp_path / "q").iterdir()] == ["gallery.json"]
    assert told.recall is not None
    assert (told.recall.at_1, told.recall.at_10, told.recall.queries) == (1, 1, 31)
    build_local_gallery(tmp_path / "flat", gathered, RECORD, kind="flat")
    features = features_of(gathered)
    expected = load_gallery(tmp_path / "flat", known).nearest(features, 5)
    found = read_qdrant(told, SimilaritySpace(known), client).nearest(features, 5)
    for row, by_hand in zip(found, expected, strict=True):
        assert [(n.path, n.origin) for n in row] == [(n.path, n.origin) for n in by_hand]
        np.testing.assert_allclose(
            [n.similarity for n in row], [n.similarity for n in by_hand], atol=1e-5
        )


def test_a_stopped_build_doubles_nothing_when_it_is_run_again(
    client: QdrantClient,
    collection: str,
    gathered: Images,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(qdrant_module, "_SENT", 10)
    upsert, sent = client.upsert, []

    def stopping(*args: Any, **kwargs: Any) -> Any:
        sent.append(args)
        if len(sent) == 3:
            raise KeyboardInterrupt
        return upsert(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(client, "upsert", stopping)
        with pytest.raises(KeyboardInterrupt):
            build_qdrant_gallery(tmp_path / "q", gathered, RECORD, client, collection)
    assert not (tmp_path / "q").exists()
    assert client.count(collection).count == 20
    for folder in ("q", "again"):
        told = build_qdrant_gallery(tmp_path / folder, gathered, RECORD, client, collection)
        assert told.recall is not None
        assert told.recall.at_10 == 1
        assert client.count(collection).count == 62


def test_a_collection_of_another_model_or_program_is_left_alone(
    client: QdrantClient, collection: str, gathered: Images, known: OriginModel, tmp_path: Path
) -> None:
    build_qdrant_gallery(tmp_path / "q", gathered, RECORD, client, collection)
    assert known.exemplars is not None
    moved = replace(known.exemplars, features=known.exemplars.features + 1)
    other = replace(gathered, space=SimilaritySpace(replace(known, exemplars=moved)))
    with pytest.raises(GalleryError, match="of another model or program"):
        build_qdrant_gallery(tmp_path / "r", other, RECORD, client, collection)
    assert not (tmp_path / "r").exists()
    client.delete_collection(collection)
    client.create_collection(
        collection, vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT)
    )
    with pytest.raises(GalleryError, match="of another model or program"):
        build_qdrant_gallery(tmp_path / "r", gathered, RECORD, client, collection)


def test_a_service_that_lacks_images_is_told(
    client: QdrantClient, collection: str, gathered: Images, known: OriginModel, tmp_path: Path
) -> None:
    told = build_qdrant_gallery(tmp_path / "q", gathered, RECORD, client, collection)
    some = models.FieldCondition(key="origin", match=models.MatchValue(value="gan"))
    client.delete(collection, models.FilterSelector(filter=models.Filter(must=[some])))
    with pytest.raises(GalleryError, match="has 42 images in place of 62"):
        read_qdrant(told, SimilaritySpace(known), client)
    absent = told.model_copy(update={"collection": "whichgen-none"})
    with pytest.raises(GalleryError, match="has 0 images in place of 62"):
        read_qdrant(absent, SimilaritySpace(known), client)


def test_points_without_what_they_should_tell_are_one_message(
    client: QdrantClient, collection: str, gathered: Images, known: OriginModel, tmp_path: Path
) -> None:
    told = build_qdrant_gallery(tmp_path / "q", gathered, RECORD, client, collection)
    client.delete_payload(collection, ["path"], models.Filter())
    gallery = read_qdrant(told, SimilaritySpace(known), client)
    with pytest.raises(GalleryError, match="not one of this gallery"):
        gallery.nearest(features_of(gathered)[:1], 2)


def test_the_folder_does_not_say_where_the_service_is(
    gathered: Images, known: OriginModel, tmp_path: Path
) -> None:
    build_qdrant_gallery(tmp_path / "q", gathered, RECORD, QdrantClient(":memory:"), "c")
    assert "http" not in (tmp_path / "q" / "gallery.json").read_text().replace("a model", "")
    with pytest.raises(GalleryError, match="say where with --url"):
        load_gallery(tmp_path / "q", known)


def test_a_key_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(qdrant_module, "QdrantClient", lambda **values: given.update(values))
    monkeypatch.delenv("WHICHGEN_QDRANT_API_KEY", raising=False)
    connect("https://example.org")
    assert (given["url"], given["api_key"]) == ("https://example.org", None)
    monkeypatch.setenv("WHICHGEN_QDRANT_API_KEY", "secret")
    connect("https://example.org")
    assert given["api_key"] == "secret"
    for wrong in ("some/folder", ":memory:", "localhost:6333", "file:///x"):
        with pytest.raises(GalleryError, match="expected the address of a Qdrant service"):
            connect(wrong)


class _Other(BaseHTTPRequestHandler):
    """A web server that is no Qdrant."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_service_that_is_silent_or_another_is_one_message(
    gathered: Images, tmp_path: Path
) -> None:
    with HTTPServer(("127.0.0.1", 0), _Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(GalleryError, match=r"Qdrant gives no answer|not one of this gallery"):
            build_qdrant_gallery(tmp_path / "q", gathered, RECORD, connect(address), "c")
        server.shutdown()
        thread.join()
    with pytest.raises(GalleryError, match="Qdrant gives no answer about c"):
        build_qdrant_gallery(tmp_path / "q", gathered, RECORD, connect(address), "c")
    assert not (tmp_path / "q").exists()
