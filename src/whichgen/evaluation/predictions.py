"""Predictions of a model for a set of test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichgen.errors import DataError


@dataclass(frozen=True)
class Predictions:
    """Predictions for n images.

    Parameters
    ----------
    probabilities
        Probabilities of the known origins: float64 array (n, known origins) in [0, 1].
    origins
        The true origin of each image: str array (n,).
    scores
        The open-set score of each image: float64 array (n,). A higher score means that the image is
        more likely to be of a known origin.
    groups
        Group of each image, str array (n,), or ``None`` without groups. Images of one group have
        the same prompt, scene or person.
    sources
        Source of each image, str array (n,), or ``None`` without sources. A source is a website,
        repository or person that published the image.
    """

    probabilities: np.ndarray
    origins: np.ndarray
    scores: np.ndarray
    groups: np.ndarray | None = None
    sources: np.ndarray | None = None

    @classmethod
    def from_probabilities(cls, probabilities: np.ndarray, origins: np.ndarray) -> Predictions:
        """Create predictions whose score is the maximum probability of each image.

        The parameters are those of the class. The predictions have no groups and no sources.
        """
        return cls(probabilities, origins, probabilities.max(axis=1))

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """Concatenate one or more predictions for the same known origins.

        The result has groups only if all parts have groups; the same applies to sources.
        """
        return cls(
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.origins for part in parts]),
            np.concatenate([part.scores for part in parts]),
            _concatenate([part.groups for part in parts]),
            _concatenate([part.sources for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def units(self) -> np.ndarray | None:
        """Unit of each image for resampling: its source or, without sources, its group.

        A str array (n,), or ``None`` if there are neither sources nor groups.
        """
        return self.groups if self.sources is None else self.sources

    @property
    def unit_name(self) -> str:
        """Plural noun for the units: ``sources``, ``groups of images`` or ``images``."""
        if self.sources is not None:
            return "sources"
        return "images" if self.groups is None else "groups of images"

    @property
    def predicted(self) -> np.ndarray:
        """The index of the most probable origin of each image: int64 array (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def get_labels(self, known: Sequence[str]) -> np.ndarray:
        """Return the index in ``known`` of the true origin of each image: int64 array (n,).

        ``known`` contains the known origins.

        Raises
        ------
        DataError
            A true origin is not in ``known``.
        """
        return encode_labels(self.origins, known)

    def is_correct(self, known: Sequence[str]) -> np.ndarray:
        """Return whether the most probable origin of each image is correct: bool array (n,).

        ``known`` contains the known origins, in the order of the probabilities' columns.

        Raises
        ------
        DataError
            A true origin is not in ``known``.
        """
        return np.asarray(self.predicted == self.get_labels(known))


def _concatenate(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if len(arrays) == len(parts) else None


def encode_labels(origins: np.ndarray, known: Sequence[str]) -> np.ndarray:
    """Map origins, str array (n,), to their indices in ``known``, int64 array (n,).

    Raises
    ------
    DataError
        An origin is not in ``known``.
    """
    index = {origin: i for i, origin in enumerate(known)}
    if missing := sorted(set(origins.tolist()) - set(index)):
        raise DataError(
            f"these origins are not among the known origins: {', '.join(missing)}. Use only images "
            f"of {', '.join(known)}."
        )
    return np.array([index[origin] for origin in origins.tolist()], dtype=np.int64)
