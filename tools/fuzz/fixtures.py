"""Tiny images, encoder and models, so that a case takes milliseconds."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from whichgen.data.images.decoding import make_thumbnail
from whichgen.encoders.encoder import Encoder
from whichgen.heads.experts import ExpertsMethod
from whichgen.heads.fusion import FusionMethod
from whichgen.heads.method_registry import make_head_method
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.openset.hierarchy import fit_hierarchy
from whichgen.openset.score_registry import SCORES

ORIGINS = ("real", "gan", "ldm")
_IMAGES_PER_ORIGIN = 8


def make_image(seed: int = 0, size: tuple[int, int] = (12, 10)) -> Image.Image:
    """Return an RGB image of random pixels; ``size`` is (width, height)."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def encode_image(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the content of an image file; ``kind`` is the name of the format in Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _preprocess(image: Image.Image) -> np.ndarray:
    small = image.resize((2, 2), Image.Resampling.BOX)
    return np.ascontiguousarray(np.asarray(small, np.float32).transpose(2, 0, 1) / 255)


def _encode(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels.mean(axis=(2, 3)), pixels.reshape(len(pixels), -1)]


ENCODER = Encoder(
    name="tiny",
    weights_hash="0" * 32,
    preprocessing={"size": 2},
    preprocess=_preprocess,
    encode=_encode,
    block_dims=(3, 12),
)


@cache
def make_models() -> dict[str, OriginModel]:
    """Return a model with each head and one open-set score, and the linear head with each score.

    The keys are the names of the head and of the score, such as ``linear max_probability``.
    """
    labels = np.repeat(np.arange(3), _IMAGES_PER_ORIGIN)
    images = [make_image(i) for i in range(len(labels))]
    blocks = _encode(np.stack([_preprocess(image) for image in images]))
    blocks = [block + labels[:, None].astype(np.float32) for block in blocks]
    wide = np.hstack(blocks)
    fusion = FusionMethod(widths=(3, 12), views_per_vote=(1, 1))
    heads = {
        "linear": make_head_method("linear").fit(blocks[1], labels, 3, 1.0),
        "knn": make_head_method("knn").fit(blocks[1], labels, 3, 3.0),
        "fusion": fusion.fit(wide, labels, 3, 1.0),
        "experts": ExpertsMethod(fusion, np.arange(len(labels)) % 2).fit(wide, labels, 3, 1.0),
    }
    pairs = [(name, "max_probability") for name in heads] + [("linear", s) for s in SCORES]
    fitted_models = {}
    for name, score_method in pairs:
        head = heads[name]
        features = wide if name in ("fusion", "experts") else blocks[1]
        output = head.forward(features)
        score = SCORES[score_method].fit(output, labels, 3)
        fitted_models[f"{name} {score_method}"] = OriginModel(
            origins=ORIGINS,
            encoder=ENCODER.describe(),
            blocks=(0, 1) if name in ("fusion", "experts") else (1,),
            head_method=name,
            hyperparameter=3.0,
            head=head,
            threshold=float(np.quantile(score(output), 0.1)),
            tpr=0.95,
            data_hash="d" * 32,
            metrics={"accuracy": 0.9, "auroc": None, "oscr": 0.5},
            run_metadata={"config": {"data": "x"}, "seeds": {"seed": 0}},
            score_method=score_method,
            score=score,
            temperature=1.5,
            calibration=Calibration(output.probabilities, labels, score(output)),
            exemplars=Exemplars(
                features,
                labels,
                np.arange(len(labels)) % 2 == 1,
                tuple(make_thumbnail(image, 8) if i else b"" for i, image in enumerate(images)),
            ),
            hierarchy=fit_hierarchy(
                output, labels, ORIGINS, {"gan": "GAN", "ldm": "diffusion"}, 0.95
            ),
        )
    return fitted_models
