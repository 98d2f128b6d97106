"""Tables of images whose features are in a feature store, one row per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from whichgen.data.dataset import Sample
from whichgen.features.store import FeatureStore

#: Fields of a :class:`FeatureTable` that have one value per image.
_ROW_FIELDS = ("samples", "keys", "digests", "perturbations")


@dataclass(frozen=True)
class FeatureTable:
    """Table of n images, whose features are read from the store block by block.

    Parameters
    ----------
    samples
        File, origin, group and source of each image. A perturbed copy has the sample of its
        original image.
    keys, digests
        Key of each image in the store, and digest of the content of its file.
    store
        The feature store.
    perturbations
        Kind and value of each image's perturbation, for example ``jpeg:75``; empty for an original
        image.
    skipped
        Error messages of the unreadable images, which are not in the table.
    """

    samples: tuple[Sample, ...]
    keys: tuple[bytes, ...]
    digests: tuple[bytes, ...]
    store: FeatureStore
    perturbations: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def read_block(self, block: int) -> np.ndarray:
        """Read the features of one block, numbered from 0: float32 array (n, d_block).

        A large array is a memory map (:meth:`~whichgen.features.store.FeatureStore.read`).

        Raises
        ------
        KeyError, StoreError
            See :meth:`~whichgen.features.store.FeatureStore.read`.
        """
        return self.store.read(self.keys, block)

    def read_blocks(self, blocks: Sequence[int]) -> np.ndarray:
        """Read and concatenate the features of blocks: float32 array (n, sum of d_block).

        ``blocks`` contains one or more block indices, from 0.

        Raises
        ------
        KeyError, StoreError
            See :meth:`~whichgen.features.store.FeatureStore.read`.
        """
        if len(blocks) == 1:
            return self.read_block(blocks[0])  # may be a memory map
        return np.hstack([self.read_block(b) for b in blocks])

    @property
    def origins(self) -> np.ndarray:
        """Origin of each image: str array (n,)."""
        return np.array([s.origin for s in self.samples], dtype=str)

    @property
    def kinds(self) -> np.ndarray:
        """Kind of perturbation of each image, empty for an original image: str array (n,)."""
        return np.array([p.partition(":")[0] for p in self.perturbations], dtype=str)

    @property
    def groups(self) -> np.ndarray | None:
        """Group of each image: str array (n,), or ``None`` if any image has no group."""
        return _to_array([s.group for s in self.samples])

    @property
    def sources(self) -> np.ndarray | None:
        """Source of each image: str array (n,), or ``None`` if any image has no source."""
        return _to_array([s.source for s in self.samples])

    def take(self, rows: Sequence[int] | np.ndarray) -> FeatureTable:
        """Return a table of the given rows, in the given order, with empty ``skipped``.

        ``rows`` contains row numbers, from 0.
        """
        values = {name: tuple(getattr(self, name)[i] for i in rows) for name in _ROW_FIELDS}
        return replace(self, **values, skipped=())  # type: ignore[arg-type]

    def __add__(self, other: FeatureTable) -> FeatureTable:
        """Return a table of the rows and messages of two tables with the same feature store."""
        fields = (*_ROW_FIELDS, "skipped")
        values = {name: getattr(self, name) + getattr(other, name) for name in fields}
        return replace(self, **values)


def _to_array(names: Sequence[str]) -> np.ndarray | None:
    """Convert names to an array; return ``None`` if a name is empty."""
    return np.array(names, dtype=str) if all(names) else None
