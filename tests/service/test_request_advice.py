"""Error messages for invalid requests contain the correct field and command."""

from __future__ import annotations

import logging
import socket
import ssl

import pytest
from PIL import Image
from starlette.testclient import TestClient

from .conftest import encode_png

EXAMPLE = "curl -F images=@photo.jpg http://localhost/attribute"


@pytest.fixture
def png(images: list[Image.Image]) -> bytes:
    """Return the content of an image file."""
    return encode_png(images[0])


@pytest.mark.parametrize("field", ["file", "image", "images[]", "x" * 500])
def test_wrong_field_name_is_corrected(client: TestClient, png: bytes, field: str) -> None:
    response = client.post("/attribute", files=[(field, ("a.png", png))])
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert detail.startswith(f"The form has no field images (it has {field[:80]}).")
    assert detail.endswith(EXAMPLE) and len(detail) < 400


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("application/x-www-form-urlencoded", "The body is application/x-www-form-urlencoded, but"),
        ("image/png", "The body is image/png, but /attribute needs a form"),
        ("application/json; charset=utf-8", "The body is application/json, but"),
        ("", "The body has no content type, but"),
    ],
)
def test_body_without_a_form(client: TestClient, png: bytes, kind: str, start: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = client.post("/attribute", content=png, headers=headers)
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert detail.startswith(start) and detail.endswith(EXAMPLE)


def test_examples_of_other_paths(client: TestClient) -> None:
    for path, fields in (
        ("/explain", "-F image=@photo.jpg"),
        ("/report", "-F images=@photo.jpg"),
        ("/enroll", "-F name=NAME -F images=@photo.jpg"),
    ):
        detail = client.post(path, json={"image": "a"}).json()["detail"]
        assert detail.endswith(f"curl {fields} http://localhost{path}")


def test_text_instead_of_a_file(client: TestClient) -> None:
    response = client.post("/attribute", files=[("images", (None, "photo.jpg"))])
    assert response.status_code == 422
    assert "put @ before the file name" in response.json()["detail"]


def test_slash_at_the_end_is_the_same_path(client: TestClient, png: bytes) -> None:
    files = [("images", ("a.png", png))]
    assert client.post("/attribute/", files=files).json()["images"][0]["origin"]
    assert client.get("/health/").json() == client.get("/health").json()
    assert client.get("/static/").status_code == 404


def test_wrong_method_and_unknown_path(client: TestClient) -> None:
    response = client.get("/attribute")
    assert response.status_code == 405 and response.headers["allow"] == "POST"
    assert response.json()["detail"].startswith("/attribute needs a POST request.")
    assert response.json()["detail"].endswith(EXAMPLE)
    response = client.post("/model")
    assert (response.status_code, response.json()["detail"]) == (405, "/model needs a GET request.")
    for path in ("/openapi.json", "/static/app.js"):
        response = client.post(path)
        expected = (405, f"{path} needs a GET request.")
        assert (response.status_code, response.json()["detail"]) == expected
    response = client.get("/api/v1/predict")
    assert response.status_code == 404
    detail = response.json()["detail"]
    assert detail.startswith("Unknown path '/api/v1/predict'. Choose from /attribute, ")
    # Error messages of the service are not replaced.
    assert "There is no thumbnail of exemplar 999." in client.get("/exemplars/999").json()["detail"]


def test_https_is_rejected_and_logged(
    server: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(log, "handlers", [caplog.handler])  # uvicorn does not propagate records
    port = int(server.rstrip("/").rpartition(":")[2])
    context = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        pytest.raises(ssl.SSLError, match="protocol version"),
    ):
        context.wrap_socket(connection, server_hostname="localhost")
    assert {record.getMessage() for record in caplog.records} == {
        "127.0.0.1 tried HTTPS, but this port serves HTTP. Use http:// in the URL, or put an HTTPS "
        "proxy in front of the service."
    }
