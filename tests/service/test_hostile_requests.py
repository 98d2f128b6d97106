"""Malicious requests do not affect the service or a browser that displays its responses."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from starlette.testclient import TestClient

from whichgen.inference.attributor import Attributor
from whichgen.models.model_card import create_model_card
from whichgen.service.http_app import create_app
from whichgen.service.settings import Settings

from .conftest import encode_png, upload

Start = Callable[..., TestClient]

SCRIPT = "</script><script>alert(1)</script>"
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def get(app: Any, path: bytes, *headers: tuple[bytes, bytes]) -> tuple[int, bytes]:
    """Send a GET request with an invalid path; return status and body."""
    raw, _, query = path.partition(b"?")
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET"},
        **{"scheme": "http", "path": raw.decode("latin-1"), "raw_path": raw, "query_string": query},
        **{"root_path": "", "client": ("127.0.0.1", 1), "server": ("localhost", 80)},
        "headers": [(b"host", b"localhost"), *headers],
    }
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(app(scope, receive, send))
    return messages[0]["status"], b"".join(m.get("body", b"") for m in messages[1:])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((b"/exemplars/../model", 404), (b"/exemplars/..%2f..", 422), (b"/exemplars/1e3", 422)),
        *((b"/exemplars/-1", 404), (b"/exemplars/\xff", 422), (b"/exemplars/1\0", 422)),
        *((b"/exemplars/" + b"9" * 4000, 404), (b"/exemplars/" + b"9" * 5000, 422)),
        *((b"/static/../http_app.py", 404), (b"/static//etc/passwd", 404), (b"/static/\0", 404)),
        *((b"/static/" + b"x" * 5000, 404), (b"/attribute/?\xed", 405), (b"/enroll/?\xff=1", 405)),
        *((b"//evil.example/", 404), (b"/\r\nSet-Cookie: a=b", 404), (b"/model?\xff", 200)),
    ],
)
def test_paths_outside_the_routes_are_not_found(
    attributor: Attributor, path: bytes, status: int
) -> None:
    actual, body = get(create_app(attributor), path)
    assert actual == status
    assert b"root:x:" not in body and b"def create_app" not in body


def test_huge_content_length_is_rejected(attributor: Attributor) -> None:
    for length in (b"9" * 5000, b"9" * 20):
        status, body = get(create_app(attributor), b"/model", (b"content-length", length))
        assert status == 413 and b"Request larger than" in body


@pytest.mark.parametrize("grid", ["NaN", "1e999", "9" * 5000, "-1", "5.5", "", "٣", "true"])
def test_an_invalid_number_is_reported(client: TestClient, grid: str) -> None:
    image = encode_png(Image.new("RGB", (20, 20)))
    response = client.post("/explain", params={"grid": grid}, files=upload(image, field="image"))
    assert (response.status_code, grid) in ((422, grid), (200, "٣"))
    if response.status_code == 422:
        assert isinstance(response.json()["detail"], str) and len(response.text) < 1000


def test_form_with_too_many_fields_or_files_is_rejected(client: TestClient) -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nb\r\n'
    file = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\nb\r\n'
    for part in (b"".join(field % i for i in range(100_000)), file * 20_000):
        response = client.post("/attribute", content=part + b"--x--\r\n", headers=FORM)
        assert response.status_code == 400
        assert "Too many" in response.json()["detail"]
    head = b"--x\r\n" + b"".join(b"H%d: a\r\n" % i for i in range(50_000))
    response = client.post("/attribute", content=head, headers=FORM)
    assert response.status_code in (400, 422)


@pytest.mark.parametrize("body", [b"", b"--x", b"--x--", b"\0" * 1000, b"--x\r\n\r\n", b"--y--"])
@pytest.mark.parametrize("kind", ["multipart/form-data", FORM["Content-Type"], "application/json"])
def test_a_body_that_is_not_a_form_is_reported(client: TestClient, body: bytes, kind: str) -> None:
    for path in ("/attribute", "/explain", "/report", "/enroll"):
        response = client.post(path, content=body, headers={"Content-Type": kind})
        assert response.status_code in (400, 422)
        assert isinstance(response.json()["detail"], str)


@pytest.mark.parametrize("value", [SCRIPT, '"onload="alert(1)', "javascript:alert(1)", "x\x1b[31m"])
def test_names_are_escaped(
    service: Start, attributor: Attributor, value: str, images: list[Image.Image]
) -> None:
    model = attributor.model
    origins = ("real", "gan", value)
    families = {"gan": value, value: value}
    hostile = Attributor(
        replace(
            model,
            origins=origins,
            hierarchy=replace(model.hierarchy, families=families),
            metrics={"accuracy": float("nan"), "auroc": [value], "oscr": value, value: value},
            data_hash=value,
        ),
        attributor.encoder,
    )
    client = service(model=hostile)
    described = client.get("/model")
    assert described.status_code == 200 and described.json()["origins"] == list(origins)
    files = [("images", (value, encode_png(image))) for image in (images[0], images[-1])]
    response = client.post("/attribute", files=files)
    assert response.headers["content-type"] == "application/json"
    html = client.post("/report", files=files).text
    assert "<script>" not in html and 'onload="alert' not in html and "href" not in html
    assert client.post("/report?format=pdf", files=files).content.startswith(b"%PDF-")
    assert "<script>" not in create_model_card(hostile.model)


def test_an_invalid_thumbnail_is_not_interpreted(service: Start, attributor: Attributor) -> None:
    model = attributor.model
    page = b"<html><script>alert(1)</script></html>"
    pictures = (page,) * len(model.exemplars.labels)
    hostile = replace(model, exemplars=replace(model.exemplars, thumbnails=pictures))
    client = service(model=Attributor(hostile, attributor.encoder))
    response = client.get("/exemplars/1")
    # The browser shows a broken image and does not guess another type.
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_responses_do_not_contain_the_bytes_of_an_upload(client: TestClient, noise: Any) -> None:
    page = b"<html><script>alert('owned')</script></html>"
    for kind in ("PNG", "GIF", "JPEG"):
        buffer = io.BytesIO()
        noise(1, (40, 30)).save(buffer, kind)
        polyglot = buffer.getvalue() + page
        for path in ("/attribute", "/report", "/report?format=pdf"):
            answer = client.post(path, files=upload(polyglot))
            assert answer.status_code == 200
            assert b"owned" not in answer.content


def test_an_invalid_image_does_not_affect_others(
    client: TestClient, images: list[Image.Image]
) -> None:
    line, icon = io.BytesIO(), io.BytesIO()
    Image.new("L", (65_000, 1)).save(line, "PNG")
    Image.new("L", (16, 16)).save(icon, "ICO")
    cut = encode_png(images[1])[:-200]
    files = upload(
        encode_png(images[0]), line.getvalue(), cut, icon.getvalue()[:40], encode_png(images[2])
    )
    first, *bad, last = client.post("/attribute", files=files).json()["images"]
    assert first["origin"] and last["origin"]
    assert all(answer["error"] and answer["origin"] is None for answer in bad)


def test_the_pixel_limit_applies_to_icons(service: Start) -> None:
    inner = io.BytesIO()
    Image.new("1", (3000, 3000)).save(inner, "PNG")
    content = inner.getvalue()
    entry = bytes([16, 16, 0, 0, 1, 0, 32, 0]) + len(content).to_bytes(4, "little") + b"\x16\0\0\0"
    settings = Settings(limits=replace(Settings().limits, image_pixels=1_000_000))
    client = service(settings)
    files = upload(b"\0\0\1\0\1\0" + entry + content)
    (answer,) = client.post("/attribute", files=files).json()["images"]
    assert "larger than 1 million pixels (3000 × 3000)" in answer["error"]


def send_raw(server: str, request: bytes) -> bytes:
    """Send arbitrary bytes and return the response."""
    place = urlsplit(server)
    with socket.create_connection(
        (place.hostname or "", place.port or 0), timeout=20
    ) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65_536):
                answer += part
        except OSError:  # connection reset, broken pipe or not connected
            return b""  # the server closed the connection
        return answer


HEAD = b"POST /attribute HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"\0" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 500) for i in range(2000)),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 10**6,
        b"GET /" + b"a" * 10**6 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 99\r\n\r\n--x",
        b"GET /exemplars/%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /x\r\nSet-Cookie: a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=range(13),
)
def test_malformed_http_does_not_stop_the_service(server: str, request_bytes: bytes) -> None:
    answer = send_raw(server, request_bytes)
    assert not answer or answer.split(b" ", 2)[1] in (
        b"400",
        b"403",
        b"404",
        b"413",
        b"422",
        b"431",
    )
    alive = send_raw(
        server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert alive.startswith(b"HTTP/1.1 200") and json.loads(alive.rpartition(b"\r\n\r\n")[2])


def test_incomplete_requests_do_not_block_others(server: str) -> None:
    place = urlsplit(server)
    half = (
        HEAD + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9999\r\n\r\n--x"
    )
    connections = [
        socket.create_connection((place.hostname or "", place.port or 0), timeout=20)
        for _ in range(100)
    ]
    try:
        for connection, request in zip(connections, (half, half[:40], b"", b"G") * 25, strict=True):
            connection.sendall(request)
        alive = send_raw(
            server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert alive.startswith(b"HTTP/1.1 200")
    finally:
        for connection in connections:
            connection.close()


def test_too_large_body_is_rejected_on_every_path(service: Start) -> None:
    client = service(Settings(limits=replace(Settings().limits, image_bytes=1250)))

    def parts() -> Any:
        for _ in range(20):
            yield b"a" * 1000

    for path, known in (("/", 200), ("/static/app.js", 200), ("/health", 200), ("/nothing", 404)):
        for _ in range(5):
            response = client.request("GET", path, content=parts())
            assert response.status_code in (known, 413)
            assert response.headers["x-content-type-options"] == "nosniff"
