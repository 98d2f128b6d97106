"""Parse forms with uploaded files in memory, without writing to disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.formparsers import MultiPartException, MultiPartParser

from whichgen.service.request_advice import explain_missing_form


class _InMemoryParser(MultiPartParser):
    """Form parser that keeps uploads in memory.

    :class:`~whichgen.service.request_guard.Guard` limits the size of a request.
    """

    spool_max_size = sys.maxsize


class InMemoryRoute(APIRoute):
    """Route that parses forms, including uploaded files, without writing to disk."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that parses the form in memory before FastAPI reads it.

        The handler raises HTTPException if a required form is missing (422), or a form is malformed
        (400).
        """
        handle_request = super().get_route_handler()

        async def handle(request: Request) -> Response:
            kind = request.headers.get("content-type", "")
            if self.dependant.body_params and not kind.startswith("multipart/form-data"):
                raise HTTPException(422, explain_missing_form(request, self))
            if kind.startswith("multipart/form-data"):
                try:
                    parser = _InMemoryParser(request.headers, request.stream())
                    request._form = await parser.parse()
                except (MultiPartException, KeyError) as error:  # KeyError: no boundary
                    default = (
                        "The Content-Type header has no boundary. Let the HTTP client set this "
                        "header."
                    )
                    message = getattr(error, "message", default)
                    raise HTTPException(400, message) from None
            return await handle_request(request)

        return handle
