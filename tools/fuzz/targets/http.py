"""The service, asked by whatever can reach its port: an ASGI server's view of a request."""

from __future__ import annotations

import asyncio
import json
import logging
import mimetypes
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tools.fuzz.choices import TEXTS, Choices, mutate
from tools.fuzz.scratch import clear_folder, folder
from tools.fuzz.tiny import ENCODER, encode_image, models, picture
from tools.fuzz.watch import enforce_limits, require
from whichgen.inference.attributor import Attributor
from whichgen.service.http_app import create_app
from whichgen.service.limits import Limits
from whichgen.service.settings import Settings

# Starlette's form parser tells of every odd boundary; types of files are looked up once.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
mimetypes.init()

_ROOT = folder("http")
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
    encode_image(picture()),
    encode_image(picture(1), "JPEG"),
    b"",
    b"no image",
    encode_image(picture(2), "GIF"),
)
_NAMES = ("new", "a.png", "unknown", "gan", *TEXTS)
_HEADERS = (
    *(b"host", b"origin", b"content-length", b"authorization", b"x-api-key", b"content-type"),
    *(b"transfer-encoding", b"range", b"if-none-match", b"accept", b"cookie", b"x-forwarded-for"),
)


class _Service:
    """A service in a loop of its own, asked request by request."""

    def __init__(self) -> None:
        attributor = Attributor(models()["linear max_probability"], ENCODER)
        limits = replace(_LIMITS, per_minute=0)
        settings = Settings(limits=limits, enroll_to=_ENROLLED, batch_size=8)
        self.app = create_app(attributor, settings)
        self.loop = asyncio.new_event_loop()
        self._context = self.app.router.lifespan_context(self.app)
        self.loop.run_until_complete(self._context.__aenter__())

    def ask(self, scope: dict[str, Any], body: list[bytes]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        return self.loop.run_until_complete(self._asked(scope, body))

    async def _asked(
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
    """Decisions for every path and for some bodies."""
    cases = [
        bytes([p, 0, 0, n, f, 0, 1, 0, 0]) for p in range(len(_PATHS)) for n, f in ((0, 0), (1, 1))
    ]
    cases += [bytes([1, 0, 0, 2, 1, 0, 0, 9, n, 0, 0]) for n in range(0, 40, 5)]
    return [*cases, bytes(range(64)), bytes(range(255, 0, -1))]


def check(data: bytes) -> None:
    """No path answers with a failure of its own, leaks a file, or lets a browser guess a type."""
    if not _running:
        clear_folder(_ENROLLED)
        _running.append(_Service())
    choices = Choices(data)
    path, _, query = choices.of(_PATHS).partition("?")
    if choices.below(16) == 1:
        path = "/" + choices.text()
    if choices.below(16) == 1:
        query = choices.text()
    # Mostly what the path is made for, so that requests get past the router.
    usual = "POST" if path in ("/attribute", "/explain", "/report", "/enroll") else "GET"
    method = usual if choices.below(8) else choices.of(_METHODS)
    headers = [(b"host", b"localhost")]
    body, kind = _body(choices, "image" if path == "/explain" else "images", path == "/enroll")
    headers.append((b"content-type", kind))
    for _ in range(choices.below(4)):
        name = choices.of(_HEADERS)
        value = (
            choices.of(TEXTS).encode("utf-8", "surrogatepass")
            if choices.below(2)
            else choices.block()
        )
        headers = [pair for pair in headers if pair[0] != name] + [(name, value)]
    cuts = sorted(choices.below(len(body) + 1) for _ in range(choices.below(4)))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method},
        **{"scheme": "http", "path": path, "raw_path": path.encode("utf-8", "surrogatepass")},
        "query_string": query.encode("utf-8", "surrogatepass"),
        **{"root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("x", 80)},
    }
    with enforce_limits(_ROOT):
        status, answered, text = _running[0].ask(scope, chunks)
    _keeps(status, answered, text)
    _forget()


def _keeps(status: int, headers: dict[str, str], body: bytes) -> None:
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


def _body(choices: Choices, field: str, is_named: bool) -> tuple[bytes, bytes]:
    """A body and its type: a form of files and fields, or anything."""
    kind = choices.below(8)
    if kind == 7:
        return choices.block(), choices.of(
            (b"application/json", b"", b"text/plain", choices.block())
        )
    parts = list(_parts(choices, field, is_named))
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    if kind == 6:
        body = mutate(choices, body)
    if kind == 5:
        body += b"a" * choices.below(65_536)
    boundary = b"x" if choices.below(8) else choices.block()
    return body, b"multipart/form-data; boundary=" + boundary


def _parts(choices: Choices, field: str, is_named: bool) -> Iterator[bytes]:
    if is_named:
        name = choices.of(_NAMES)
        yield b'Content-Disposition: form-data; name="name"\r\n\r\n' + _raw(name)
    for _ in range(1 + choices.below(5)):
        content = choices.of(_FILES)
        if choices.below(4) == 1:
            content = mutate(choices, content)
        name = field if choices.below(8) else choices.of(_FIELDS)
        shown = choices.of(_NAMES) if choices.below(2) else choices.text()
        head = b'Content-Disposition: form-data; name="' + name.encode() + b'"; filename="'
        yield head + _raw(shown) + b'"\r\nContent-Type: image/png\r\n\r\n' + content


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _forget() -> None:
    """An enrolled origin makes the next case another one: the service begins anew."""
    if any(_ENROLLED.iterdir()):
        for place in _ENROLLED.iterdir():
            require("/" not in place.name and place.name not in ("", ".", ".."), "a name")
        service = _running[0]
        clear_folder(_ENROLLED)
        service.loop.run_until_complete(service._context.__aexit__(None, None, None))
        service.loop.close()
        _running[0] = _Service()
