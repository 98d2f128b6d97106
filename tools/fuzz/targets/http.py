"""Fuzz the HTTP API: send requests to the service as an ASGI server does."""

from __future__ import annotations

import asyncio
import json
import logging
import mimetypes
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tools.fuzz.case_limits import enforce_limits, require
from tools.fuzz.choices import TEXTS, Choices, mutate
from tools.fuzz.fixtures import ENCODER, encode_image, make_image, make_models
from tools.fuzz.temporary_folders import clear_folder, make_folder
from whichgen.inference.attributor import Attributor
from whichgen.service.http_app import create_app
from whichgen.service.limits import Limits
from whichgen.service.settings import Settings

# The form parser logs each invalid boundary. The file types must be read outside of a case.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
mimetypes.init()

_ROOT = make_folder("http")
_ENROLLED = _ROOT / "enrolled"
_LIMITS = Limits(image_bytes=4096, image_pixels=10_000, request_images=4, queue=8)
_PATHS = (
    *("/attribute", "/explain", "/report", "/report?format=pdf", "/enroll", "/model", "/health"),
    *("/metrics", "/", "/openapi.json", "/exemplars/1", "/exemplars/../model", "/static/app.js"),
    *(
        "/explain?grid=2",
        "/static/../http_app.py",
        "/static/%2e%2e/http_app.py",
        "/static//etc/passwd",
    ),
    *("/exemplars/99999999999999999999", "/exemplars/-1", "/exemplars/%00", "/docs", "/enroll/"),
)
_METHODS = ("POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "x")
_FIELDS = ("images", "image", "name", "format", "grid", "")
_FILES = (
    encode_image(make_image()),
    encode_image(make_image(1), "JPEG"),
    b"",
    b"no image",
    encode_image(make_image(2), "GIF"),
)
_NAMES = ("new", "a.png", "unknown", "gan", *TEXTS)
_HEADERS = (
    *(b"host", b"origin", b"content-length", b"authorization", b"x-api-key", b"content-type"),
    *(b"transfer-encoding", b"range", b"if-none-match", b"accept", b"cookie", b"x-forwarded-for"),
)


class _Service:
    """A service with its own event loop."""

    def __init__(self) -> None:
        attributor = Attributor(make_models()["linear max_probability"], ENCODER)
        limits = replace(_LIMITS, per_minute=0)
        settings = Settings(limits=limits, enroll_to=_ENROLLED, batch_size=8)
        self.app = create_app(attributor, settings)
        self.loop = asyncio.new_event_loop()
        self._context = self.app.router.lifespan_context(self.app)
        self.loop.run_until_complete(self._context.__aenter__())

    def send(self, scope: dict[str, Any], body: list[bytes]) -> tuple[int, dict[str, str], bytes]:
        """Send a request with a body in chunks; return status, headers and body of the answer."""
        return self.loop.run_until_complete(self._send(scope, body))

    async def _send(
        self, scope: dict[str, Any], body: list[bytes]
    ) -> tuple[int, dict[str, str], bytes]:
        sent: list[dict[str, Any]] = []
        messages = [{"type": "http.request", "body": b, "more_body": True} for b in body]
        messages += [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)  # type: ignore[arg-type]
        start = sent[0]
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in start["headers"]}
        return start["status"], headers, b"".join(m.get("body", b"") for m in sent[1:])


_running: list[_Service] = []


def seeds() -> list[bytes]:
    """Return decisions for each path and for some bodies."""
    cases = [
        bytes([p, 0, 0, n, f, 0, 1, 0, 0]) for p in range(len(_PATHS)) for n, f in ((0, 0), (1, 1))
    ]
    cases += [bytes([1, 0, 0, 2, 1, 0, 0, 9, n, 0, 0]) for n in range(0, 40, 5)]
    return [*cases, bytes(range(64)), bytes(range(255, 0, -1))]


def check(data: bytes) -> None:
    """Check the response to a request (:func:`_check_response`)."""
    if not _running:
        clear_folder(_ENROLLED)
        _running.append(_Service())
    choices = Choices(data)
    path, _, query = choices.choose(_PATHS).partition("?")
    if choices.draw_below(16) == 1:
        path = "/" + choices.draw_text()
    if choices.draw_below(16) == 1:
        query = choices.draw_text()
    # Use the method of the path in most cases, so that the router accepts the request.
    usual = "POST" if path in ("/attribute", "/explain", "/report", "/enroll") else "GET"
    method = usual if choices.draw_below(8) else choices.choose(_METHODS)
    headers = [(b"host", b"localhost")]
    body, kind = _make_body(choices, "image" if path == "/explain" else "images", path == "/enroll")
    headers.append((b"content-type", kind))
    for _ in range(choices.draw_below(4)):
        name = choices.choose(_HEADERS)
        value = (
            choices.choose(TEXTS).encode("utf-8", "surrogatepass")
            if choices.draw_below(2)
            else choices.take_block()
        )
        headers = [pair for pair in headers if pair[0] != name] + [(name, value)]
    cuts = sorted(choices.draw_below(len(body) + 1) for _ in range(choices.draw_below(4)))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method},
        **{"scheme": "http", "path": path, "raw_path": path.encode("utf-8", "surrogatepass")},
        "query_string": query.encode("utf-8", "surrogatepass"),
        **{"root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("x", 80)},
    }
    with enforce_limits(_ROOT):
        status, answer_headers, text = _running[0].send(scope, chunks)
    _check_response(status, answer_headers, text)
    _restart_after_enrollment()


def _check_response(status: int, headers: dict[str, str], body: bytes) -> None:
    require(status < 500 or status == 503, f"status {status}")
    require(headers.get("x-content-type-options") == "nosniff", "a type that may be guessed")
    require("default-src 'none'" in headers.get("content-security-policy", ""), "no policy")
    kind = headers.get("content-type", "")
    if kind.startswith("application/json") and body:
        problem = json.loads(body, parse_constant=lambda name: require(False, f"{name} in JSON"))
        require(status < 400 or isinstance(problem["detail"], str), "a problem that is no sentence")
    if kind.startswith("text/html"):
        require(b"<script>alert" not in body, "a name that became a script")
    require(b"root:x:" not in body, "a file of the machine")
    require(all("\n" not in v and "\r" not in v for v in headers.values()), "a split header")


def _make_body(choices: Choices, field: str, is_named: bool) -> tuple[bytes, bytes]:
    """Return a body and its content type: a form of files and fields, or any bytes."""
    kind = choices.draw_below(8)
    if kind == 7:
        return choices.take_block(), choices.choose(
            (b"application/json", b"", b"text/plain", choices.take_block())
        )
    parts = list(_make_parts(choices, field, is_named))
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    if kind == 6:
        body = mutate(choices, body)
    if kind == 5:
        body += b"a" * choices.draw_below(65_536)
    boundary = b"x" if choices.draw_below(8) else choices.take_block()
    return body, b"multipart/form-data; boundary=" + boundary


def _make_parts(choices: Choices, field: str, is_named: bool) -> Iterator[bytes]:
    if is_named:
        name = choices.choose(_NAMES)
        yield b'Content-Disposition: form-data; name="name"\r\n\r\n' + _encode(name)
    for _ in range(1 + choices.draw_below(5)):
        content = choices.choose(_FILES)
        if choices.draw_below(4) == 1:
            content = mutate(choices, content)
        name = field if choices.draw_below(8) else choices.choose(_FIELDS)
        shown = choices.choose(_NAMES) if choices.draw_below(2) else choices.draw_text()
        head = b'Content-Disposition: form-data; name="' + name.encode() + b'"; filename="'
        yield head + _encode(shown) + b'"\r\nContent-Type: image/png\r\n\r\n' + content


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _restart_after_enrollment() -> None:
    """Start the service again after an enrollment, because it changes the next answers."""
    if any(_ENROLLED.iterdir()):
        for place in _ENROLLED.iterdir():
            require("/" not in place.name and place.name not in ("", ".", ".."), "invalid name")
        service = _running[0]
        clear_folder(_ENROLLED)
        service.loop.run_until_complete(service._context.__aexit__(None, None, None))
        service.loop.close()
        _running[0] = _Service()
