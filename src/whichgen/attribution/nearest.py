"""The images that a model knows and that are most like one it is asked about.

A head of several views compares what its views say, e(x) = (log p_v,j(x)): features side by side
are mostly about what an image shows (on ../shared/images the nearest image was of the same origin
62 % of the time by features, 90 % by views). A head of one view compares its features
(``Head.embed``). The exemplars' mean m is taken off first, for what all have in common tells none
apart; with z = (e(x) − m) / ‖e(x) − m‖ the likeness is the cosine ⟨z, z'⟩.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgen.attribution.model import OriginModel
from whichgen.heads.knn import cosine_index, normalised


@dataclass(frozen=True)
class Neighbour:
    """An exemplar near an image.

    Parameters
    ----------
    exemplar
        Its number among the model's exemplars.
    origin
        Its true origin.
    similarity
        The cosine, in [-1, 1].
    """

    exemplar: int
    origin: str
    similarity: float


class Gallery:
    """A model's exemplars, indexed once; empty for a model that keeps none."""

    def __init__(self, model: OriginModel) -> None:
        self._model = model
        kept = model.exemplars
        if kept is None or not len(kept.labels):
            self._index = None
            return
        points = _compared(model, kept.features.astype(np.float32))
        self._mean = points.mean(axis=0)
        points = normalised(points - self._mean)
        self._index = cosine_index(points)

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[Neighbour, ...]]:
        """The at most k nearest exemplars of each image, the most alike first.

        ``features``: what the head reads of each image, float array (n, d).
        """
        kept = self._model.exemplars
        if self._index is None or kept is None or k < 1:
            return [()] * len(features)
        points = normalised(_compared(self._model, features) - self._mean)
        similarities, rows = self._index.search(points, min(k, len(kept.labels)))
        origins = [self._model.origins[label] for label in kept.labels.tolist()]
        return [
            tuple(
                Neighbour(row, origins[row], min(1.0, max(-1.0, similarity)))
                for similarity, row in zip(found, numbers, strict=True)
            )
            for found, numbers in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]


def _compared(model: OriginModel, features: np.ndarray) -> np.ndarray:
    """What images are compared by: float array (n, d)."""
    said = model.head.log_probabilities(features)
    if len(said) == 1:
        return model.head.embed(features)
    return said.transpose(1, 0, 2).reshape(len(features), -1).astype(np.float32)
