"""Return JSON responses for expected errors and invalid requests."""

from __future__ import annotations

import errno
import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from whichgen.errors import WhichgenError
from whichgen.service.request_advice import explain_invalid_request, explain_path

_LOG = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Register handlers that return JSON responses for expected errors and invalid requests.

    All responses have the schema :class:`~whichgen.service.schemas.Problem`. The status is that
    of the exception for an HTTPException, 507 for a full disk, 500 for any other :class:`OSError`,
    and 422 for a :class:`~whichgen.errors.WhichgenError` and for missing or invalid fields.
    """

    @app.exception_handler(WhichgenError)
    async def on_expected_error(_: Request, error: WhichgenError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(OSError)
    async def on_file_error(_: Request, error: OSError) -> JSONResponse:
        _LOG.error("%s", error)
        is_disk_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        # str(error) would disclose the path.
        detail = (
            "The service could not read or write a file: "
            f"{error.strerror or type(error).__name__}. Check the disk space and the file "
            "permissions of the server, then retry."
        )
        return JSONResponse({"detail": detail}, 507 if is_disk_full else 500)

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": explain_invalid_request(request, error)}, 422)

    @app.exception_handler(StarletteHTTPException)
    async def on_http_error(request: Request, error: StarletteHTTPException) -> JSONResponse:
        detail = error.detail
        # Keep the details of errors that the routes of the API raise.
        if error.status_code in (404, 405) and detail == HTTPStatus(error.status_code).phrase:
            detail = explain_path(request, error.status_code)
        return JSONResponse({"detail": detail}, error.status_code, error.headers)
