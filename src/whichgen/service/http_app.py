"""FastAPI application of the HTTP service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from whichgen.data.images.decoding import decode_image
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.inference.attributor import Attributor
from whichgen.inference.enroll import EnrollmentResult, enroll_images
from whichgen.inference.occlusion import GRID, explain
from whichgen.models.saved_model import DESCRIPTION_FILE, save_model
from whichgen.service.batcher import Batcher
from whichgen.service.error_handlers import add_error_handlers
from whichgen.service.image_report import ReportFormat, render_report
from whichgen.service.in_memory_forms import InMemoryRoute
from whichgen.service.prometheus import Metrics, RequestMetrics
from whichgen.service.request_advice import TrailingSlashMiddleware
from whichgen.service.request_guard import Guard
from whichgen.service.responses import build_image_answer, describe_model
from whichgen.service.schemas import (
    AttributeResponse,
    EnrollResponse,
    Health,
    HeatMap,
    ImageAnswer,
    ModelDescription,
    Problem,
)
from whichgen.service.settings import Settings
from whichgen.service.upload_checks import check_image_count
from whichgen.service.uploaded_image import Upload, inspect_upload
from whichgen.version import __version__

STATIC = Path(__file__).parent / "static"

#: Pattern of the names of new origins, which are also names of folders.
_ORIGIN_NAME = r"^[\w][\w .+-]{0,63}$"

#: Seconds between checks whether a client has disconnected, and the HTTP status of its request.
_DISCONNECT_INTERVAL, _CLIENT_CLOSED_REQUEST = 1.0, 499

_MEDIA_TYPES = {"html": "text/html", "pdf": "application/pdf"}

_T = TypeVar("_T")

Images = Annotated[list[UploadFile], File(min_length=1, description="image files")]


def create_app(attributor: Attributor, settings: Settings | None = None) -> FastAPI:
    """Create the FastAPI application that serves the web page and the API.

    Parameters
    ----------
    attributor
        The model that answers the requests, with its encoder; an enrollment replaces the model.
    settings
        Settings and limits; default: ``Settings()``.

    Returns
    -------
    fastapi.FastAPI
        Application for an ASGI server, such as uvicorn.
    """
    settings = settings or Settings()
    metrics = Metrics()
    batcher = Batcher(attributor, settings, metrics.record_batch)
    app = FastAPI(
        title="whichgen",
        version=__version__,
        summary="Which generative model made an image?",
        lifespan=lambda app: batcher.lifespan(),
        # FastAPI's documentation pages load scripts from a CDN; the schema is at /openapi.json.
        docs_url=None,
        redoc_url=None,
        # A redirect fails if the query string is not valid Unicode.
        redirect_slashes=False,
    )
    # Middleware added later runs earlier: the guard also adds security headers to the error
    # responses of TrustedHostMiddleware.
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False
    )
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(RequestMetrics, metrics=metrics)
    app.add_middleware(TrailingSlashMiddleware)
    add_error_handlers(app)
    app.include_router(_create_routes(batcher, settings, metrics))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _document_responses(
    *errors: int, media_types: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI documentation of error statuses and of successful non-JSON responses."""
    responses: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in errors}
    if media_types:
        responses[200] = {"content": {media_type: {} for media_type in media_types}}
    return responses


def _create_routes(batcher: Batcher, settings: Settings, metrics: Metrics) -> APIRouter:
    """Create the routes of the API and of the web page."""
    router = APIRouter(
        route_class=InMemoryRoute,
        responses=_document_responses(400, 401, 403, 408, 413, 422, 429, 503),
    )

    @lru_cache(maxsize=1)
    def describe(attributor: Attributor) -> ModelDescription:
        return describe_model(attributor.model, settings)

    async def read_uploads(
        files: Sequence[UploadFile], evidence: EvidenceOptions | None = None
    ) -> list[Upload]:
        """Read uploaded files, check them against the limits, and collect evidence if requested."""
        check_image_count(len(files), settings.limits)
        contents = [(f.filename or "image", await f.read()) for f in files]
        return [
            await run_in_threadpool(inspect_upload, *item, settings.limits, evidence)
            for item in contents
        ]

    async def attribute_uploads(
        request: Request, files: Sequence[UploadFile]
    ) -> tuple[list[Upload], list[ImageAnswer], ModelDescription]:
        """Attribute uploaded files; return the uploads, their answers and the model description."""
        uploads = await read_uploads(files, settings.evidence)
        contents = [upload.data for upload in uploads if not upload.error]
        # If an origin was enrolled meanwhile, the answers may be from two models: repeat.
        attributor = None
        while attributor is not batcher.attributor:
            attributor = batcher.attributor
            attributions = iter(await _await_connected(request, batcher.attribute(contents)))
        answers = [
            build_image_answer(
                upload, None if upload.error else next(attributions), attributor.model
            )
            for upload in uploads
        ]
        for answer in answers:
            metrics.images.labels(answer.verdict.kind).inc()
        return uploads, answers, describe(attributor)

    @router.post("/attribute")
    async def attribute(request: Request, images: Images) -> AttributeResponse:
        """Attribute each image to a known origin or `unknown`."""
        _, answers, model = await attribute_uploads(request, images)
        return AttributeResponse(model=model.digest, images=answers)

    @router.post("/explain")
    async def explain_image(
        image: Annotated[UploadFile, File(description="image file")],
        grid: Annotated[int, Query(ge=2, le=16, description="number of patches per side")] = GRID,
    ) -> HeatMap:
        """Compute the support of each patch of an image for its most probable known origin."""
        (upload,) = await read_uploads([image])
        if upload.error:
            raise HTTPException(422, upload.error)
        pixels = await run_in_threadpool(decode_image, upload.data, upload.name)
        heat_map = await batcher.run_exclusively(
            partial(explain, image=pixels, grid=grid, batch_size=settings.batch_size)
        )
        return HeatMap(origin=heat_map.origin, support=heat_map.support.tolist())

    @router.post(
        "/report",
        responses=_document_responses(media_types=list(_MEDIA_TYPES.values())),
        response_class=Response,
    )
    async def report(request: Request, images: Images, format: ReportFormat = "html") -> Response:
        """Attribute images and create an HTML or PDF report."""
        uploads, answers, model = await attribute_uploads(request, images)
        contents = [upload.data for upload in uploads]
        content = await run_in_threadpool(render_report, answers, contents, model, format)
        return Response(content, media_type=_MEDIA_TYPES[format])

    @router.get("/model")
    async def model() -> ModelDescription:
        """Describe the model and the limits of the service."""
        return describe(batcher.attributor)

    @router.get(
        "/exemplars/{number}",
        responses=_document_responses(404, media_types=["image/jpeg"]),
        response_class=Response,
    )
    async def exemplar(number: int) -> Response:
        """Return the JPEG thumbnail of an exemplar (an image whose features the model stores)."""
        thumbnails = batcher.attributor.model.exemplars.thumbnails
        if not 0 <= number < len(thumbnails) or not thumbnails[number]:
            raise HTTPException(
                404,
                f"There is no thumbnail of exemplar {number}. Use a path in the field `thumbnail` "
                "of a response of /attribute.",
            )
        return Response(thumbnails[number], media_type="image/jpeg")

    @router.post("/enroll", responses=_document_responses(409, 507))
    async def enroll(
        name: Annotated[str, Form(pattern=_ORIGIN_NAME, description="name of the new origin")],
        images: Images,
    ) -> EnrollResponse:
        """Add an origin to the model from a few images (disabled by default)."""
        if settings.enroll_to is None:
            detail = "Enrollment is disabled. Restart the service with --enroll-to FOLDER."
            raise HTTPException(403, detail)
        uploads = await read_uploads(images)
        errors = [upload.error for upload in uploads if upload.error]
        if errors:
            raise HTTPException(422, errors[0])
        folder = settings.enroll_to / name
        contents = {f"{i} {upload.name}": upload.data for i, upload in enumerate(uploads, start=1)}

        # Enrollments run one at a time, and each extends the model of the previous one.
        def enroll_and_save(attributor: Attributor) -> EnrollmentResult:
            if (folder / "model" / DESCRIPTION_FILE).exists():
                raise HTTPException(
                    409, f"The folder {name} already contains a model. Choose another name."
                )
            result = enroll_images(attributor, name, contents, batch_size=settings.batch_size)
            save_model(result.model, folder / "model", name=str(folder))
            batcher.replace_model(Attributor(result.model, attributor.encoder))
            return result

        result = await batcher.run_exclusively(enroll_and_save)
        return EnrollResponse(
            origin=name,
            images=result.n_images,
            old_accuracy=list(result.accuracy_before_after),
            recognized=result.recognition_rate,
            answered=result.previous_answers,
            folder=str(folder),
        )

    @router.get("/health")
    async def health() -> Health:
        """Return the status and version of the service, and the number of images in its queue."""
        return Health(status="ok", whichgen=__version__, waiting=batcher.queue_size)

    @router.get("/metrics", responses=_document_responses(media_types=["text/plain"]))
    async def prometheus_metrics() -> Response:
        """Return the metrics of the service in the Prometheus text format."""
        metrics.queue_size.set(batcher.queue_size)
        text = generate_latest(metrics.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    @router.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    return router


async def _await_connected(request: Request, answer: Awaitable[_T]) -> _T:
    """Await ``answer`` and return its result; cancel it if the client disconnects.

    Raises
    ------
    HTTPException
        The client disconnected (status 499).
    """
    task = asyncio.ensure_future(answer)
    try:
        while not (await asyncio.wait({task}, timeout=_DISCONNECT_INTERVAL))[0]:
            if await request.is_disconnected():
                raise HTTPException(_CLIENT_CLOSED_REQUEST, "The client disconnected.")
        return task.result()
    finally:
        task.cancel()
