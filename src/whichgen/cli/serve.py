"""``whichgen serve``: serve a web page and an HTTP API."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import require_extra, say, warn
from whichgen.cli.evidence_flags import AnswerEvidence
from whichgen.cli.shared_options import AttributionModel, Stability
from whichgen.errors import DataError
from whichgen.service.limits import MIB, Limits
from whichgen.service.settings import LOCAL_HOSTS

#: Environment variable of the API key; other users could read a command-line option.
_KEY_VARIABLE = "WHICHGEN_API_KEY"

#: Seconds until an idle connection is closed. After the rate limit is exceeded, clients retry
#: after 60 s; the connection stays open longer so that they can use it again.
_KEEP_ALIVE = 75


@dataclass(frozen=True)
class LimitOptions:
    """Options that limit the request rate, the length of the queue and the size of images."""

    panel: ClassVar = "Limits"

    rate_limit: Annotated[
        int, Option(min=0, help="Maximum number of requests per client and minute; 0: no limit.")
    ] = Limits.per_minute
    queue_size: Annotated[int, Option(min=1, help="Maximum number of images in the queue.")] = (
        Limits.queue
    )
    max_mib: Annotated[int, Option(min=1, help="Maximum size of an image file in MiB.")] = (
        Limits.image_bytes // MIB
    )
    max_megapixels: Annotated[int, Option(min=1, help="Maximum image size in megapixels.")] = (
        Limits.image_pixels // 10**6
    )


@command
def serve(
    model: AttributionModel,
    limits: LimitOptions,
    evidence: AnswerEvidence,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port; 0: any free port.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        Option(help="Also accept requests with this host name (repeatable); * accepts any."),
    ] = None,
    enroll_to: Annotated[
        Path | None, Option(help="Enable POST /enroll and save new models in this folder.")
    ] = None,
    stability: Stability = True,
) -> None:
    """Serve a web page and an HTTP API (see /openapi.json).

    If WHICHGEN_API_KEY is set, all API endpoints except /health require that key.
    """
    with require_extra("serve"):
        import uvicorn

        from whichgen.service.http_app import create_app
        from whichgen.service.request_advice import PlainHttpProtocol
        from whichgen.service.settings import Settings

    settings = Settings(
        limits=Limits(
            image_bytes=limits.max_mib * MIB,
            image_pixels=limits.max_megapixels * 10**6,
            per_minute=limits.rate_limit,
            queue=limits.queue_size,
            request_images=min(Limits.request_images, limits.queue_size),
        ),
        api_key=os.environ.get(_KEY_VARIABLE, ""),
        enroll_to=enroll_to,
        hosts=(*LOCAL_HOSTS, host, *(allow_host or ())),
        batch_size=model.batch_size,
        stability=stability,
        evidence=evidence.read_options(),
    )
    if host not in LOCAL_HOSTS and not settings.api_key:
        warn(
            "No API key is set, so other computers may be able to use the service. Set "
            f"{_KEY_VARIABLE}."
        )
    with open_socket(host, port) as listener:  # fail before the model is loaded
        app = create_app(model.load(), settings)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=PlainHttpProtocol,
                log_level="warning",
                timeout_keep_alive=_KEEP_ALIVE,
            )
        )
        address = f"[{host}]" if ":" in host else host
        say(f"Serving on http://{address}:{listener.getsockname()[1]}/ (Ctrl-C to stop)")
        # uvicorn shuts down cleanly on Ctrl-C or SIGTERM and then raises the signal again.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: None)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    say("Stopped.")


def open_socket(host: str, port: int) -> socket.socket:
    """Open a socket that listens on a host and port; port 0 selects any free port.

    Raises
    ------
    DataError
        The host or port is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise DataError(
            f"can't listen on {host}:{port} ({error.strerror}). Choose another --host "
            "or --port; --port 0 selects any free port."
        ) from None
