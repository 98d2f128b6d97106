"""Help clients correct invalid requests.

Error messages state the correct form fields, paths or method, with a curl command if the request
needs a form. HTTPS connections are reported in the log. A trailing slash in an API path is ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import File
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

#: Paths of the API without path parameters.
PATHS = ("/attribute", "/explain", "/report", "/enroll", "/model", "/health", "/metrics")

#: First bytes of a TLS connection, and the TLS alert for an unsupported protocol.
_TLS_HANDSHAKE, _TLS_ALERT = b"\x16\x03", b"\x15\x03\x01\x00\x02\x02\x46"

#: Maximum number of characters of a client's text in a message.
_MAX_NAME = 80

_LOG = logging.getLogger("uvicorn.error")


class TrailingSlashMiddleware:
    """ASGI middleware that serves, for example, ``/attribute/`` as ``/attribute``.

    It does not redirect, because many clients do not follow the redirect of a POST request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Remove a slash after a path in :data:`PATHS`, and forward the request."""
        if scope["type"] == "http" and scope["path"].removesuffix("/") in PATHS:
            path = scope["path"].removesuffix("/")
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


class PlainHttpProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """HTTP protocol of uvicorn that reports HTTPS connections in the log and closes them."""

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, or reject a TLS handshake: send an alert and disconnect."""
        if data.startswith(_TLS_HANDSHAKE):
            host = (self.transport.get_extra_info("peername") or ("a client",))[0]
            _LOG.warning(
                "%s tried HTTPS, but this port serves HTTP. Use http:// in the URL, or put an "
                "HTTPS proxy in front of the service.",
                host,
            )
            self.transport.write(_TLS_ALERT)
            self.transport.close()
            return
        super().data_received(data)


def explain_missing_form(request: Request, route: APIRoute) -> str:
    """Return the error message for a request without the form that its route needs."""
    kind = request.headers.get("content-type", "").partition(";")[0][:_MAX_NAME]
    body = f"is {kind}" if kind else "has no content type"
    return (
        f"The body {body}, but {route.path} needs a form (multipart/form-data). "
        f"{_format_example(request, route)}"
    )


def explain_invalid_request(request: Request, error: RequestValidationError) -> str:
    """Return the error message for a request with missing fields or invalid values."""
    route = request.scope.get("route")
    errors: Sequence[Any] = error.errors()
    details = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors]
    if not (isinstance(route, APIRoute) and route.dependant.body_params):
        return "; ".join(details)
    files = {p.alias for p in route.dependant.body_params if isinstance(p.field_info, File)}
    sent_fields = list(error.body) if isinstance(error.body, FormData) else []
    for i, e in enumerate(errors):
        location, name = (*e["loc"], "")[:2]
        if location == "body" and e["type"] == "missing":
            field_names = ", ".join(dict.fromkeys(str(field)[:_MAX_NAME] for field in sent_fields))
            suffix = f" (it has {field_names})" if field_names else ""
            details[i] = f"The form has no field {name}{suffix}"
        elif location == "body" and name in files and "UploadFile" in e["msg"]:
            details[i] = (
                f"The field {name} contains text instead of a file. With curl, put @ before the "
                "file name"
            )
        else:
            continue
    return f"{'; '.join(details)}. {_format_example(request, route)}"


def explain_path(request: Request, status: int) -> str:
    """Return the error message for an unknown path (404) or a wrong method (405)."""
    route, path = request.scope.get("route"), request.scope["path"]
    if status == 405 and isinstance(route, APIRoute):
        example = f" {_format_example(request, route)}" if route.dependant.body_params else ""
        return f"{path} needs a {' or '.join(sorted(route.methods or ()))} request.{example}"
    if status == 405:  # a file of the web page, or the API schema
        return f"{path[:_MAX_NAME]} needs a GET request."
    return (
        f"Unknown path {path[:_MAX_NAME]!r}. Choose from {', '.join(PATHS)}, / (web page) and "
        "/openapi.json (API schema)."
    )


def _format_example(request: Request, route: APIRoute) -> str:
    """Return advice to send the form fields of a route, with a curl command as an example."""
    fields = [
        f"-F {p.alias}={'@photo.jpg' if isinstance(p.field_info, File) else p.alias.upper()}"
        for p in route.dependant.body_params
    ]
    names = " and ".join(p.alias for p in route.dependant.body_params)
    noun = "field" if len(fields) == 1 else "fields"
    url = f"{str(request.base_url).rstrip('/')}{route.path}"
    return f"Send the {noun} {names}: curl {' '.join(fields)} {url}"
