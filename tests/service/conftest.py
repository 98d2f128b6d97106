"""A small model with exemplars and thumbnails, and services that use it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from whichgen.data.images.decoding import make_thumbnail
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.calibration import fit_temperature
from whichgen.heads.method_registry import make_head_method
from whichgen.inference.attributor import Attributor
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.score_registry import MAX_PROBABILITY
from whichgen.service.http_app import create_app
from whichgen.service.limits import Limits
from whichgen.service.request_advice import PlainHttpProtocol
from whichgen.service.settings import Settings

ORIGINS = ("real", "gan", "stable_diffusion_1.4")
BLOCK = 1
EACH = 8


@pytest.fixture(scope="session")
def encoder(tiny_clip: object) -> Encoder:
    """Load the tiny CLIP vision tower on the CPU."""
    return load_encoder(str(tiny_clip), device="cpu")


@pytest.fixture(scope="session")
def images(noise: Callable[..., Image.Image]) -> list[Image.Image]:
    """Eight images per origin, sorted by origin."""
    return [noise(100 * tint + i, (64, 48), tint=tint) for tint in range(3) for i in range(EACH)]


@pytest.fixture(scope="session")
def attributor(encoder: Encoder, images: list[Image.Image]) -> Attributor:
    """Linear model fitted on the images; every second image is a held-out exemplar."""
    features = encoder.encode(np.stack([encoder.preprocess(image) for image in images]))[BLOCK]
    labels = np.repeat(np.arange(3), EACH)
    head = make_head_method("linear").fit(features, labels, 3, 10.0)
    output = head.forward(features)
    scores = output.probabilities.max(axis=1)
    families = {"gan": "GAN", ORIGINS[2]: "diffusion"}
    model = OriginModel(
        origins=ORIGINS,
        encoder=encoder.describe(),
        blocks=(BLOCK,),
        head_method="linear",
        hyperparameter=10.0,
        head=head,
        threshold=float(np.sort(scores)[4]),
        tpr=0.95,
        data_hash="d" * 32,
        metrics={"accuracy": 0.9, "auroc": None, "oscr": 0.5},
        run_metadata={"config": {}, "seeds": {"seed": 0}},
        score_method="max_probability",
        score=MAX_PROBABILITY,
        temperature=fit_temperature(output.logits, labels),
        calibration=Calibration(output.probabilities, labels, scores),
        exemplars=Exemplars(
            features,
            labels,
            np.arange(len(labels)) % 2 == 1,
            tuple(make_thumbnail(image) if i else b"" for i, image in enumerate(images)),
        ),
        hierarchy=fit_hierarchy(output, labels, ORIGINS, families, 0.95),
    )
    return Attributor(model, encoder)


def encode_png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def upload(*contents: bytes, field: str = "images") -> list[tuple[str, tuple[str, bytes]]]:
    """Return form files ``0.png``, ``1.png``, … with these contents."""
    return [(field, (f"{i}.png", data)) for i, data in enumerate(contents)]


@pytest.fixture
def service(attributor: Attributor) -> Iterator[Callable[..., TestClient]]:
    """Return a function that starts a service with its settings and returns a client."""
    with ExitStack() as stack:

        def start(settings: Settings | None = None, model: Attributor = attributor) -> TestClient:
            app = create_app(model, settings)
            return stack.enter_context(TestClient(app, base_url="http://localhost"))

        yield start


@pytest.fixture
def client(service: Callable[..., TestClient]) -> TestClient:
    """The client of a service with default settings."""
    return service()


@contextmanager
def serve(attributor: Attributor, settings: Settings | None = None) -> Iterator[str]:
    """Run a service on a real socket and yield its address."""
    app = create_app(attributor, settings)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, http=PlainHttpProtocol, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="session")
def server(attributor: Attributor) -> Iterator[str]:
    """The address of a service without a rate limit."""
    with serve(attributor, Settings(limits=Limits(per_minute=0))) as address:
        yield address
