"""Find the images most similar to a query image.

The *exemplars* of a model are the images whose features are stored in it. A *view* is a feature
block with its own linear probe (:mod:`whichgen.heads.fusion`).

For a head with one view, e(x) is the embedding of image x
(:attr:`whichgen.heads.head.HeadOutput.embedding`). For a head with several views, e(x) is the
concatenation of the log-probabilities log p_v,j(x) of all views v and origins j; features are not
used, because they mainly describe the content of an image. Let m be the mean of e over the
exemplars and z = (e(x) − m) / ‖e(x) − m‖. The similarity of two images x and x' is the cosine ⟨z,
z'⟩.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from whichgen.errors import FitError
from whichgen.heads.head import HeadOutput
from whichgen.heads.knn import build_cosine_index, normalize_rows
from whichgen.io.run_metadata import hash_parts
from whichgen.models.origin_model import OriginModel
from whichgen.option_names import name_option


@dataclass(frozen=True)
class Neighbor:
    """An exemplar or gallery image that is similar to a query image.

    Parameters
    ----------
    exemplar
        Index (from 0) in the model's exemplars; ``None`` for an image of a gallery
        (:mod:`whichgen.gallery`).
    origin
        True origin; empty for an unlabeled gallery image.
    similarity
        Cosine similarity to the query image, in [-1, 1].
    path
        Path of the image file as recorded in the gallery; empty for an exemplar.
    """

    exemplar: int | None
    origin: str
    similarity: float
    path: str = ""


class NeighborIndex(Protocol):
    """Collection of images that can be searched by similarity."""

    def find_neighbors(self, output: HeadOutput, k: int) -> list[tuple[Neighbor, ...]]:
        """Return at most ``k`` neighbors of each query image, most similar first.

        Parameters
        ----------
        output
            The head's output for the query images.
        k
            Maximum number of neighbors per query image, at least 1.

        Raises
        ------
        FitError
            The vector of a query image contains NaN or infinity.
        GalleryError
            A request to the service of a gallery fails.
        """
        ...


class SimilaritySpace:
    """Mapping from the output of a model's head to one unit vector z per image.

    The similarity of two images is the inner product of their unit vectors. See
    :mod:`whichgen.inference.similar_images` for the definition of z.

    Parameters
    ----------
    model
        The fitted model.
    """

    def __init__(self, model: OriginModel) -> None:
        self.model = model
        embeddings = _embed(model.head.forward(model.exemplars.features.astype(np.float32)))
        self._mean = embeddings.mean(axis=0)
        #: Dimension of the vectors.
        self.dimension = len(self._mean)
        #: Unit vectors of the model's exemplars: float32 array (n, dimension).
        self.exemplars = normalize_rows(embeddings - self._mean)

    @property
    def digest(self) -> str:
        """Digest of the encoder, the blocks, the head and the mean m: 32 hex digits.

        Only vectors from spaces with equal digests can be compared.
        """
        model = self.model
        arrays = [
            part
            for name, array in sorted(model.head.tensors().items())
            for part in (name, str(array.dtype), str(array.shape), array.tobytes())
        ]
        encoder = json.dumps(
            [model.encoder[key] for key in ("weights_hash", "preprocessing", "dtype")],
            sort_keys=True,
        )
        return hash_parts(
            [encoder, str(model.blocks), model.head_method, self._mean.tobytes(), *arrays]
        )

    def project(self, output: HeadOutput) -> np.ndarray:
        """Map the head's output for n images to unit vectors.

        Parameters
        ----------
        output
            Output of the model's head for n images.

        Returns
        -------
        numpy.ndarray
            Unit vectors: float32 array (n, dimension).

        Raises
        ------
        FitError
            A vector contains NaN or infinity.
        """
        vectors = normalize_rows(_embed(output) - self._mean)
        if not np.isfinite(vectors).all():
            raise FitError(
                "some embeddings contain NaN or infinity. The model or cached features may be "
                "damaged. Fit the model again; if the features are cached, use another "
                f"{name_option('--cache-dir', 'cache folder')}."
            )
        return vectors


class ExemplarIndex:
    """Similarity index of a model's exemplars; implements :class:`NeighborIndex`.

    Parameters
    ----------
    model
        The fitted model.
    """

    def __init__(self, model: OriginModel) -> None:
        self._origins = [model.origins[label] for label in model.exemplars.labels.tolist()]
        self._space = SimilaritySpace(model)
        self._index = build_cosine_index(self._space.exemplars)

    def find_neighbors(self, output: HeadOutput, k: int) -> list[tuple[Neighbor, ...]]:
        """Return at most ``k`` exemplars per query image, most similar first.

        See :meth:`NeighborIndex.find_neighbors` for the parameters.

        Raises
        ------
        FitError
            The vector of a query image contains NaN or infinity.
        """
        vectors = self._space.project(output)
        cosines, rows = self._index.search(vectors, min(k, len(self._origins)))
        return [
            tuple(
                Neighbor(row, self._origins[row], clip_cosine(cosine))
                for cosine, row in zip(*pair, strict=True)
            )
            for pair in zip(cosines.tolist(), rows.tolist(), strict=True)
        ]


def clip_cosine(cosine: float) -> float:
    """Clip a cosine to [-1, 1] to correct rounding errors."""
    return min(1.0, max(-1.0, cosine))


def _embed(output: HeadOutput) -> np.ndarray:
    """Return the vector e(x) of each image, before centering: float array (n, dimension)."""
    views = output.log_probabilities
    if len(views) == 1:
        return output.embedding
    return views.transpose(1, 0, 2).reshape(views.shape[1], -1).astype(np.float32)
