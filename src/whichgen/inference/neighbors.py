"""The images that a model knows and that are most like one it is asked about.

A head of several views compares what its views say, e(x) = (log p_v,j(x)): features side by side
are mostly about what an image shows (on ../shared/images the nearest image was of the same origin
62 % of the time by features, 90 % by views). A head of one view compares its features
(``Head.embed``). The exemplars' mean m is taken off first, for what all have in common tells none
apart; with z = (e(x) − m) / ‖e(x) − m‖ the likeness is the cosine ⟨z, z'⟩.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.knn import build_cosine_index, normalize_rows
from whichgen.io.run_metadata import hash_parts
from whichgen.models.origin_model import OriginModel


@dataclass(frozen=True)
class Neighbor:
    """A known image near one that is asked about.

    Parameters
    ----------
    exemplar
        Its number among the model's exemplars; ``None`` if it is of a gallery apart from the model
        (:mod:`whichgen.gallery`).
    origin
        Its true origin; empty if a gallery has no label for it.
    similarity
        The cosine, in [-1, 1].
    path
        The image's file as the gallery names it; the model's exemplars have none.
    """

    exemplar: int | None
    origin: str
    similarity: float
    path: str = ""


class NeighborIndex(Protocol):
    """Known images that can be asked for those most like an image."""

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[Neighbor, ...]]:
        """The at most k nearest of each image, the most alike first.

        ``features``: what the model's head reads of each image, float array (n, d).
        """
        ...


class SimilaritySpace:
    """What a model compares images by: unit vectors, whose inner product is the likeness.

    Raises
    ------
    FitError
        The model keeps no exemplars, so there is no mean to take off.
    """

    def __init__(self, model: OriginModel) -> None:
        kept = model.exemplars
        if kept is None or not len(kept.labels):
            raise FitError("the model keeps no exemplars to compare images by. Fit it anew.")
        self.model = model
        points = _compared(model, kept.features.astype(np.float32))
        self._mean = points.mean(axis=0)
        self._exemplars = points

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return len(self._mean)

    @property
    def digest(self) -> str:
        """32 hex digits; vectors of the same digest, and of no other, can be compared."""
        model = self.model
        arrays = [
            part
            for name, array in sorted(model.head.tensors().items())
            for part in (name, str(array.dtype), str(array.shape), array.tobytes())
        ]
        seen_by = json.dumps(
            [model.encoder[part] for part in ("weights_hash", "preprocessing", "dtype")],
            sort_keys=True,
        )
        return hash_parts(
            [seen_by, str(model.blocks), model.head_method, self._mean.tobytes(), *arrays]
        )

    def exemplars(self) -> np.ndarray:
        """The vectors of the model's exemplars: float32 array (n, dimension)."""
        return normalize_rows(self._exemplars - self._mean)

    def points(self, features: np.ndarray) -> np.ndarray:
        """The vectors of features (n, d): float32 array (n, dimension).

        Raises
        ------
        FitError
            One is not finite.
        """
        found = normalize_rows(_compared(self.model, features) - self._mean)
        if not np.isfinite(found).all():
            raise FitError(
                "the model makes NaN or infinite vectors of some images: its arrays or the stored "
                "features are damaged. Fit it anew, or give another --cache-dir."
            )
        return found


class ExemplarIndex:
    """A model's exemplars, indexed once; empty for a model that keeps none."""

    def __init__(self, model: OriginModel) -> None:
        self._model = model
        if model.exemplars is None or not len(model.exemplars.labels):
            self._comparison = None
            return
        self._comparison = SimilaritySpace(model)
        self._index = build_cosine_index(self._comparison.exemplars())

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[Neighbor, ...]]:
        """See :meth:`NeighborIndex.nearest`."""
        kept = self._model.exemplars
        if self._comparison is None or kept is None or k < 1:
            return [()] * len(features)
        points = self._comparison.points(features)
        similarities, rows = self._index.search(points, min(k, len(kept.labels)))
        origins = [self._model.origins[label] for label in kept.labels.tolist()]
        return [
            tuple(
                Neighbor(row, origins[row], clip_cosine(similarity))
                for similarity, row in zip(found, numbers, strict=True)
            )
            for found, numbers in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]


def clip_cosine(cosine: float) -> float:
    """A cosine in [-1, 1], which rounding may have left."""
    return min(1.0, max(-1.0, cosine))


def _compared(model: OriginModel, features: np.ndarray) -> np.ndarray:
    """What images are compared by: float array (n, d)."""
    said = model.head.log_probabilities(features)
    if len(said) == 1:
        return model.head.embed(features)
    return said.transpose(1, 0, 2).reshape(len(features), -1).astype(np.float32)
