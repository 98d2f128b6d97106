"""A tiny encoder, images, and a model of each family fitted on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.heads.method_registry import make_head_method
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.score_registry import MAX_PROBABILITY

ORIGINS = ("real", "gan", "vae")
BLOCK = 1


@pytest.fixture(scope="session")
def encoder(tiny_clip: Path) -> Encoder:
    """The tiny CLIP tower, on the CPU."""
    return load_encoder(str(tiny_clip), device="cpu")


@pytest.fixture(scope="session")
def images(noise: Callable[..., Image.Image]) -> list[Image.Image]:
    """Eight images of each origin, origin after origin."""
    return [noise(100 * tint + i, tint=tint) for tint in range(3) for i in range(8)]


@pytest.fixture(scope="session")
def models(encoder: Encoder, images: list[Image.Image]) -> dict[str, OriginModel]:
    """A model of each family; its threshold rejects a third of the images."""
    pixels = np.stack([encoder.preprocess(image) for image in images])
    features = encoder.encode(pixels)[BLOCK]
    labels = np.repeat(np.arange(3), 8)
    models = {}
    for family, value in (("linear", 0.3), ("knn", 5.0)):
        head = make_head_method(family).fit(features, labels, 3, value)
        output = head.forward(features)
        scores = output.probabilities.max(axis=1)
        models[family] = OriginModel(
            origins=ORIGINS,
            encoder=encoder.describe(),
            blocks=(BLOCK,),
            head_method=family,
            hyperparameter=value,
            head=head,
            threshold=float(np.sort(scores)[7:9].mean()),
            tpr=0.95,
            data_hash="d" * 32,
            metrics={"accuracy": 0.5, "auroc": None},
            run_metadata={"config": {"data": "images"}, "seeds": {"seed": 0}},
            score_method="max_probability",
            score=MAX_PROBABILITY,
            temperature=1.0,
            calibration=Calibration(
                *(output.probabilities, labels, scores),
                sources=np.arange(24) // 3 if family == "knn" else None,
            ),
            exemplars=Exemplars(features, labels, np.arange(24) % 2 == 1),
            hierarchy=fit_hierarchy(output, labels, ORIGINS, {"gan": "GAN", "vae": "VAE"}, 0.95),
        )
    return models


@pytest.fixture(params=["linear", "knn"])
def model(request: pytest.FixtureRequest, models: dict[str, OriginModel]) -> OriginModel:
    """Each of :func:`models` in turn."""
    return replace(models[request.param])
