"""The service: ``create_app(attributor)`` is an ASGI application."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartParser

from whichgen.data.reading import decode_image
from whichgen.errors import WhichgenError
from whichgen.inference.attributor import Attributor
from whichgen.inference.enroll import Enrolled, enroll_images
from whichgen.inference.occlusion import explain
from whichgen.models.card import save_with_card
from whichgen.models.saved_model import DESCRIPTION_FILE
from whichgen.service.batcher import Batcher, Busy
from whichgen.service.case import case_html, case_of, case_pdf
from whichgen.service.guard import Guard
from whichgen.service.metrics import Counted, Metrics
from whichgen.service.responses import answered, describe, model_digest
from whichgen.service.schemas import (
    AttributedOut,
    EnrolledOut,
    HealthOut,
    HeatmapOut,
    ImageOut,
    ModelOut,
    Problem,
)
from whichgen.service.settings import Settings
from whichgen.service.uploads import Upload, inspect, keep
from whichgen.version import __version__

STATIC = Path(__file__).parent / "static"

#: Characters of an origin's name that can be a folder's, too.
_NAME = r"^[\w][\w .+-]{0,63}$"

#: Seconds after which it is seen that a client went away, and what such a request is counted as.
_LOOK, _GONE = 1.0, 499

#: Seconds after which one who would enrol beside another may come again.
_ENROLMENT = 5

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

Images = Annotated[list[UploadFile], File(min_length=1, description="image files")]


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a path can answer with, beside those of every path."""
    return {status: {"model": Problem} for status in (401, 403, 413, 422, 429, *statuses)}


def create_app(attributor: Attributor, settings: Settings | None = None) -> FastAPI:
    """The service of a model.

    Parameters
    ----------
    attributor
        The model with its encoder.
    settings
        What is allowed; left out: the defaults.
    """
    settings = settings or Settings()
    # An upload stays in memory: what is larger than a request may be is refused before this.
    MultiPartParser.spool_max_size = settings.limits.request_bytes
    metrics = Metrics()
    batcher = Batcher(
        attributor,
        batch_size=settings.batch_size,
        wait=settings.batch_wait,
        queue=settings.limits.queue,
        on_batch=metrics.on_batch,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.close()

    app = FastAPI(
        title="whichgen",
        version=__version__,
        summary="Which generative model made an image?",
        lifespan=lifespan,
        # Their pages come from a CDN; the schema is at /openapi.json.
        docs_url=None,
        redoc_url=None,
        # A redirect would repeat what was asked, and fails at a query that is no text.
        redirect_slashes=False,
    )
    app.state.described = describe(attributor.model, settings, model_digest(attributor.model))
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Counted, metrics=metrics)
    _handle_errors(app)
    enrolling = asyncio.Lock()

    async def read(files: Sequence[UploadFile]) -> list[Upload]:
        most = settings.limits.request_images
        if len(files) > most:
            raise HTTPException(413, f"{len(files)} images; a request may carry {most}.")
        contents = [(f.filename or "image", await f.read()) for f in files]
        return [
            await run_in_threadpool(inspect, name, data, settings.limits) for name, data in contents
        ]

    async def attributed(
        request: Request, files: Sequence[UploadFile]
    ) -> tuple[list[Upload], list[ImageOut], ModelOut]:
        """Uploads, answers, and the model whose answers they are."""
        uploads = await read(files)
        if settings.keep_uploads:
            await run_in_threadpool(keep, uploads, settings.keep_uploads)
        good = [upload for upload in uploads if not upload.error]
        asked, described = None, app.state.described
        # Once more if an origin was enrolled meanwhile: which of the two answered can't be told.
        while asked is not batcher.attributor:
            asked, described = batcher.attributor, app.state.described
            asking = batcher.ask([upload.data for upload in good])
            found = iter(await _while_there(request, asking))
        answers = [
            answered(upload, None if upload.error else next(found), asked.model)
            for upload in uploads
        ]
        for answer in answers:
            metrics.on_answer(answer)
        return uploads, answers, described

    @app.post("/attribute", responses=_responses(503, 507))
    async def attribute(request: Request, images: Images) -> AttributedOut:
        """Which known origin made each image, or `unknown`."""
        _, answers, described = await attributed(request, images)
        return AttributedOut(model=described.digest, images=answers)

    @app.post("/explain", responses=_responses(503))
    async def explain_image(
        image: Annotated[UploadFile, File(description="an image file")],
        grid: Annotated[int, Query(ge=2, le=16, description="patches a side")] = 7,
    ) -> HeatmapOut:
        """Which patches of an image its answer rests on (occlusion)."""
        (upload,) = await read([image])
        if upload.error:
            raise HTTPException(422, upload.error)
        picture = await run_in_threadpool(decode_image, upload.data, upload.name)
        found = await batcher.alone(
            lambda asked: explain(asked, picture, grid=grid, batch_size=settings.batch_size)
        )
        return HeatmapOut(origin=found.origin, support=found.support.tolist())

    @app.post(
        "/report",
        responses={
            **_responses(503, 507),
            200: {"content": {"text/html": {}, "application/pdf": {}}},
        },
        response_class=Response,
    )
    async def report(
        request: Request, images: Images, format: Literal["html", "pdf"] = "html"
    ) -> Response:
        """A report on images to print, file or pass on."""
        uploads, answers, described = await attributed(request, images)
        write, kind = {
            "html": (case_html, "text/html; charset=utf-8"),
            "pdf": (case_pdf, "application/pdf"),
        }[format]

        def written() -> bytes:
            pairs = zip(answers, uploads, strict=True)
            return write([case_of(answer, upload.data) for answer, upload in pairs], described)

        return Response(await run_in_threadpool(written), media_type=kind)

    @app.get("/model", responses=_responses())
    async def model() -> ModelOut:
        """The model that answers, and what may be asked of it."""
        described: ModelOut = app.state.described
        return described

    @app.get(
        "/exemplars/{number}",
        responses={**_responses(404), 200: {"content": {"image/jpeg": {}}}},
        response_class=Response,
    )
    async def exemplar(number: int) -> Response:
        """The small picture of one of the model's exemplars."""
        kept = batcher.attributor.model.exemplars
        pictures = kept.thumbnails if kept else ()
        if not 0 <= number < len(pictures) or not pictures[number]:
            raise HTTPException(404, "the model keeps no picture of that number.")
        return Response(pictures[number], media_type="image/jpeg")

    @app.post("/enroll", responses=_responses(403, 409, 503, 507))
    async def enroll(
        name: Annotated[str, Form(pattern=_NAME, description="the new origin")], images: Images
    ) -> EnrolledOut:
        """Teach the model a new origin; off unless the service was started with it."""
        if settings.enroll_to is None:
            raise HTTPException(403, "enrolling is off; start the service with --enroll-to FOLDER.")
        uploads = await read(images)
        refused = [upload.error for upload in uploads if upload.error]
        if refused:
            raise HTTPException(422, refused[0])
        folder = settings.enroll_to / name
        named = {f"{i} {upload.name}": upload.data for i, upload in enumerate(uploads, start=1)}

        def enrolled(asked: Attributor) -> tuple[Enrolled, Attributor]:
            result = enroll_images(asked, name, named)
            save_with_card(result.model, folder)
            return result, Attributor(result.model, asked.encoder)

        # One after the other: each teaches the model that the one before has made.
        if enrolling.locked():
            raise HTTPException(
                503,
                f"another origin is being enrolled; try again in {_ENROLMENT} s.",
                {"Retry-After": str(_ENROLMENT)},
            )
        async with enrolling:
            if (folder / "model" / DESCRIPTION_FILE).exists():
                raise HTTPException(409, f"{name} was enrolled before; choose another name.")
            result, new = await batcher.alone(enrolled)
            batcher.replace(new)
            app.state.described = describe(new.model, settings, model_digest(new.model))
        return EnrolledOut(
            origin=name,
            images=result.images,
            old_accuracy=list(result.old_accuracy),
            recognized=result.recognized,
            answered=result.answered,
            folder=str(folder),
        )

    @app.get("/health", responses={403: {"model": Problem}, 413: {"model": Problem}})
    async def health() -> HealthOut:
        """That the service answers."""
        return HealthOut(status="ok", whichgen=__version__, waiting=batcher.waiting)

    @app.get("/metrics", responses={**_responses(), 200: {"content": {"text/plain": {}}}})
    async def prometheus() -> Response:
        """Counters in Prometheus' text format."""
        metrics.waiting.set(batcher.waiting)
        return Response(
            generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


async def _while_there(request: Request, answer: Coroutine[Any, Any, _T]) -> _T:
    """An answer for as long as the client waits for it: for one that went away none is computed."""
    asked = asyncio.create_task(answer)
    try:
        while not (await asyncio.wait({asked}, timeout=_LOOK))[0]:
            if await request.is_disconnected():
                raise HTTPException(_GONE, "the client went away.")
        return asked.result()
    finally:
        asked.cancel()


def _handle_errors(app: FastAPI) -> None:
    """Every expected error is one JSON sentence."""

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(error.retry_after)})

    @app.exception_handler(WhichgenError)
    async def refused(_: Request, error: WhichgenError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(OSError)
    async def unwritten(_: Request, error: OSError) -> JSONResponse:
        _LOG.error("%s", error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return JSONResponse(
            {
                "detail": f"the service can't write what it is to keep ({error.strerror}); nothing "
                "was answered or enrolled."
            },
            507 if full else 500,
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return JSONResponse({"detail": "; ".join(said)}, 422)
