"""The exemplars most similar to an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from whichgen.encoders.base import Encoder
from whichgen.inference.attributor import Attributor
from whichgen.inference.neighbors import ExemplarIndex
from whichgen.models.origin_model import Exemplars, OriginModel

from .conftest import BLOCK


def with_exemplars(
    model: OriginModel, encoder: Encoder, images: list[Image.Image]
) -> tuple[OriginModel, np.ndarray]:
    features = encoder.encode(np.stack([encoder.preprocess(image) for image in images]))[BLOCK]
    labels = np.repeat(np.arange(3), 8)
    kept = Exemplars(features, labels, np.arange(24) % 2 == 1)
    return replace(model, exemplars=kept), features


def test_neighbors_equal_those_of_an_exhaustive_search(
    model: OriginModel, encoder: Encoder, images: list[Image.Image]
) -> None:
    known, features = with_exemplars(model, encoder, images)
    asked = features[:5] + np.random.default_rng(0).normal(0, 0.3, features[:5].shape)
    asked = asked.astype(np.float32)
    embedded = known.head.forward(features).embedding.astype(np.float64)
    mean = embedded.mean(axis=0)
    points, queries = embedded - mean, known.head.forward(asked).embedding - mean
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(points, axis=1))
    cosines = queries @ points.T / lengths
    for row, found in zip(
        cosines, ExemplarIndex(known).find_neighbors(known.head.forward(asked), 4), strict=True
    ):
        expected = np.argsort(-row)[:4]
        assert [n.exemplar for n in found] == expected.tolist()
        assert [n.origin for n in found] == [known.origins[i // 8] for i in expected]
        np.testing.assert_allclose([n.similarity for n in found], row[expected], atol=1e-5)


def test_exemplar_is_its_own_nearest_neighbor(
    model: OriginModel, encoder: Encoder, images: list[Image.Image]
) -> None:
    known, _ = with_exemplars(model, encoder, images)
    answers = Attributor(known, encoder).attribute(images, nearest=2)
    for i, answer in enumerate(answers):
        assert answer.nearest is not None
        assert answer.nearest[0].exemplar == i
        assert len(answer.nearest) == 2


def test_number_of_neighbors_is_limited(
    model: OriginModel, encoder: Encoder, images: list[Image.Image]
) -> None:
    known, features = with_exemplars(model, encoder, images)
    assert len(ExemplarIndex(known).find_neighbors(known.head.forward(features[:1]), 99)[0]) == 24
    assert ExemplarIndex(model).find_neighbors(model.head.forward(features[:2]), 3) == [(), ()]
    (answer,) = Attributor(known, encoder).attribute(images[:1])
    assert answer.nearest is None
