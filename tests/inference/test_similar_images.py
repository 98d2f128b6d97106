"""Search for the exemplars that are most similar to an image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.inference.attributor import Attributor
from whichgen.inference.similar_images import ExemplarIndex
from whichgen.models.origin_model import OriginModel


def test_neighbors_equal_those_of_an_exhaustive_search(model: OriginModel) -> None:
    features, rng = model.exemplars.features, np.random.default_rng(0)
    noisy = features[:5] + rng.normal(0, 0.3, features[:5].shape)
    output = model.head.forward(noisy.astype(np.float32))
    embedded = model.head.forward(features).embedding.astype(np.float64)
    mean = embedded.mean(axis=0)
    points, queries = embedded - mean, output.embedding - mean
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(points, axis=1))
    cosines = queries @ points.T / lengths
    neighbors = ExemplarIndex(model).find_neighbors(output, 4)
    for row, nearest in zip(cosines, neighbors, strict=True):
        expected = np.argsort(-row)[:4]
        assert [n.exemplar for n in nearest] == expected.tolist()
        assert [n.origin for n in nearest] == [model.origins[i // 8] for i in expected]
        np.testing.assert_allclose([n.similarity for n in nearest], row[expected], atol=1e-5)


def test_exemplar_is_its_own_nearest_neighbor(
    model: OriginModel, encoder: Encoder, images: list[Image.Image]
) -> None:
    answers = Attributor(model, encoder).attribute(images, nearest=2)
    for i, answer in enumerate(answers):
        assert answer.nearest is not None
        assert answer.nearest[0].exemplar == i
        assert len(answer.nearest) == 2


def test_number_of_neighbors_is_limited(
    model: OriginModel, encoder: Encoder, images: list[Image.Image]
) -> None:
    output = model.head.forward(model.exemplars.features[:1])
    assert len(ExemplarIndex(model).find_neighbors(output, 99)[0]) == 24
    (answer,) = Attributor(model, encoder).attribute(images[:1])
    assert answer.nearest is None
