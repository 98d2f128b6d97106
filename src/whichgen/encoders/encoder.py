"""The :class:`Encoder` class: a frozen encoder with its preprocessing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from whichgen.io.run_metadata import hash_parts


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder with its preprocessing.

    Parameters
    ----------
    name
        Name of the encoder (:func:`whichgen.encoders.loading.load_encoder`).
    weights_hash
        Hash of the architecture and of the weights before their conversion to ``dtype``; for an
        encoder without weights, hash of its settings: 32 hex digits.
    preprocessing
        Settings of the preprocessing, as JSON values.
    preprocess
        Function that converts an RGB image to a float32 array, for example (3, H, W). The shape is
        the same for all images.
    encode
        Function from a batch of preprocessed images, float32 array (n, …), to one float32 array
        (n, d_b) per block b, from first to last block. If memory is insufficient, it raises
        :class:`MemoryError` or :class:`RuntimeError`. With OpenVINO, it raises
        :class:`~whichgen.errors.OpenVinoError` if the cached network can't be compiled.
    block_dims
        Number of features d_b of each block b.
    device
        Device that the encoder runs on, for example ``cpu``, ``cuda:0`` or ``openvino``.
    dtype
        Precision of the arithmetic: ``float32`` or ``bfloat16``.
    native_side
        Side, in pixels, of a square image that ``preprocess`` does not resize; 0 if unknown.
    block_groups
        ``block_groups[m][g]`` contains the indices of the blocks in group g of member m. The
        members of a combination are the combined encoders
        (:mod:`whichgen.encoders.combinations`); any other encoder has a single member, itself. In a
        fusion of blocks (:mod:`whichgen.heads.fusion`), either all groups or all members have equal
        weight. By default, all blocks form one group, because their errors are correlated.
    """

    name: str
    weights_hash: str
    preprocessing: Mapping[str, Any]
    preprocess: Callable[[Image.Image], np.ndarray]
    encode: Callable[[np.ndarray], list[np.ndarray]]
    block_dims: tuple[int, ...]
    device: str = "cpu"
    dtype: str = "float32"
    native_side: int = 0
    block_groups: tuple[tuple[tuple[int, ...], ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.block_groups:
            groups = (tuple(range(len(self.block_dims))),)
            object.__setattr__(self, "block_groups", (groups,))

    @property
    def key(self) -> str:
        """Hash of the weights, the preprocessing settings and the precision: 32 hex digits."""
        settings = json.dumps(self.preprocessing, sort_keys=True)
        return hash_parts([self.weights_hash, settings, self.dtype])

    def describe(self) -> dict[str, Any]:
        """Return the encoder's metadata for result files and models, as JSON values.

        The keys are ``name``, ``weights_hash``, ``preprocessing``, ``dtype`` and ``blocks``, the
        number of blocks.
        """
        return {
            "name": self.name,
            "weights_hash": self.weights_hash,
            "preprocessing": dict(self.preprocessing),
            "dtype": self.dtype,
            "blocks": len(self.block_dims),
        }
