"""A small model with exemplars and their pictures, and services of it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from whichgen.data.reading import make_thumbnail
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.calibration import fit_temperature
from whichgen.heads.methods import head_method
from whichgen.inference.attributor import Attributor
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.registry import MAX_PROBABILITY
from whichgen.service.app import create_app
from whichgen.service.settings import Settings

ORIGINS = ("real", "gan", "stable_diffusion_1.4")
BLOCK = 1
EACH = 8


@pytest.fixture(scope="session")
def encoder(tiny_clip: object) -> Encoder:
    """The tiny CLIP tower, on the CPU."""
    return load_encoder(str(tiny_clip), device="cpu")


@pytest.fixture(scope="session")
def images(noise: Callable[..., Image.Image]) -> list[Image.Image]:
    """Eight images of each origin, origin after origin."""
    return [noise(100 * tint + i, (64, 48), tint=tint) for tint in range(3) for i in range(EACH)]


@pytest.fixture(scope="session")
def attributor(encoder: Encoder, images: list[Image.Image]) -> Attributor:
    """A linear model of the images; every second one is a held-out exemplar."""
    features = encoder.encode(np.stack([encoder.preprocess(image) for image in images]))[BLOCK]
    labels = np.repeat(np.arange(3), EACH)
    head = head_method("linear").fit(features, labels, 3, 10.0)
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


def png(image: Image.Image) -> bytes:
    """An image as the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def upload(*contents: bytes, field: str = "images") -> list[tuple[str, tuple[str, bytes]]]:
    """Files as a client sends them: ``0.png``, ``1.png`` …"""
    return [(field, (f"{i}.png", data)) for i, data in enumerate(contents)]


#: A client as browsers on this machine are; it calls us by a name that is allowed.
BASE = "http://localhost"


@pytest.fixture
def service(attributor: Attributor) -> Iterator[Callable[..., TestClient]]:
    """Starts a service of given settings and gives its client."""
    opened: list[TestClient] = []

    def start(settings: Settings | None = None, asked: Attributor = attributor) -> TestClient:
        client = TestClient(create_app(asked, settings), base_url=BASE)
        client.__enter__()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(service: Callable[..., TestClient]) -> TestClient:
    """A service as it is without options."""
    return service()


@pytest.fixture(scope="session")
def server(attributor: Attributor) -> Iterator[str]:
    """The address of a service on a real socket."""
    settings = Settings(limits=replace(Settings().limits, per_minute=0))
    config = uvicorn.Config(create_app(attributor, settings), port=0, log_level="warning")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    running.should_exit = True
    thread.join(20)
