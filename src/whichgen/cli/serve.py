"""``whichgen serve``: a page and an HTTP API on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from whichgen.cli.console import guarded, needs_extra, say, warn
from whichgen.cli.options import Device, VerifyKey
from whichgen.cli.robustness import Backbone, ModelFolder
from whichgen.errors import DataError

#: Where an API key is looked for: on a command line others could read it.
_KEY = "WHICHGEN_API_KEY"

#: Seconds that a connection without a request stays open: a client that was told to come again
#: should not find it closed.
_IDLE = 75


@guarded
def serve(
    model: ModelFolder,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: a free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A host name to be called by beside localhost; * for all."),
    ] = None,
    enroll_to: Annotated[
        Path | None,
        typer.Option(help="Allow POST /enroll, and write new models into this folder."),
    ] = None,
    keep_uploads: Annotated[
        Path | None,
        typer.Option(help="Keep every uploaded image in this folder; else none is written."),
    ] = None,
    per_minute: Annotated[
        int, typer.Option(min=0, help="Requests a client may make in a minute; 0: any number.")
    ] = 600,
    queue: Annotated[int, typer.Option(min=1, help="Images that may wait for an answer.")] = 256,
    max_mib: Annotated[int, typer.Option(min=1, help="The largest image file, in MiB.")] = 32,
    max_megapixels: Annotated[
        int, typer.Option(min=1, help="The largest image, in million pixels.")
    ] = 50,
    batch_size: Annotated[int, typer.Option(min=1, help="Images answered together.")] = 32,
    backbone: Backbone = "",
    device: Device = "auto",
    verify_key: VerifyKey = None,
) -> None:
    """Open a page to drop images on, and an HTTP API (see /openapi.json).

    With WHICHGEN_API_KEY set, the API asks for it.
    """
    with needs_extra("serve"):
        import uvicorn

        from whichgen.service.app import create_app
        from whichgen.service.settings import MIB, Limits, Settings
    from whichgen.inference.attributor import Attributor

    settings = Settings(
        limits=Limits(
            image_bytes=max_mib * MIB,
            image_pixels=max_megapixels * 10**6,
            request_images=min(64, queue),
            request_bytes=max(8 * max_mib, 64) * MIB,
            held_bytes=4 * max(8 * max_mib, 64) * MIB,
            per_minute=per_minute,
            queue=queue,
        ),
        api_key=os.environ.get(_KEY, ""),
        enroll_to=enroll_to,
        keep_uploads=keep_uploads,
        hosts=("localhost", "127.0.0.1", "::1", host, *(allow_host or ())),
        batch_size=batch_size,
    )
    if keep_uploads:
        keep_uploads.mkdir(parents=True, exist_ok=True)
    if host not in ("127.0.0.1", "localhost", "::1") and not settings.api_key:
        warn(f"note: others can reach {host}; set {_KEY} so that only those with the key may ask.")
    # The port first: that it is taken should not be said after a minute of loading.
    with _listening(host, port) as listener:
        attributor = Attributor.load(model, device=device, backbone=backbone, key=verify_key)
        app = create_app(attributor, settings)
        server = uvicorn.Server(
            # Its end takes as long as what was accepted; a second Ctrl-C cuts it short.
            uvicorn.Config(app, log_level="warning", timeout_keep_alive=_IDLE)
        )
        say(f"whichgen is on http://{_authority(host, listener)}/ – Ctrl-C stops it.")
        # uvicorn stops in order on Ctrl-C or SIGTERM, and passes them on only then.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: None)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    say("The service has stopped; what was accepted is answered.")


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise DataError(
            f"{host}:{port} can't be listened on ({error.strerror}). Choose another --port, or 0 "
            "for a free one."
        ) from None


def _authority(host: str, listener: socket.socket) -> str:
    """``HOST:PORT`` as it stands in an address."""
    port = listener.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
