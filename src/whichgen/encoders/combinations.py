"""Combine several encoders into one, so that each image is decoded once.

The combined encoders are called *members*. The blocks of
``openai/clip-vit-base-patch16+traces`` are the blocks of CLIP followed by the blocks of the
residual statistics (:mod:`whichgen.encoders.residual_statistics`).
:attr:`Encoder.block_groups` lists the groups of blocks of each member, so that a fusion can use any
subset of the members.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.io.run_metadata import hash_parts


def combine_encoders(members: Sequence[Encoder]) -> Encoder:
    """Combine encoders into one encoder.

    Parameters
    ----------
    members
        At least one encoder. All must have the same device and precision.

    Returns
    -------
    Encoder
        Its ``preprocess`` function preprocesses an image for each member, and concatenates the
        flattened results into a one-dimensional float32 array. Its ``encode`` function returns the
        blocks of all members, in the order of ``members``.
    """
    blank = Image.new("RGB", (256, 256))
    shapes = [member.preprocess(blank).shape for member in members]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1].tolist()

    def preprocess(image: Image.Image) -> np.ndarray:
        return np.concatenate([member.preprocess(image).ravel() for member in members])

    def encode(rows: np.ndarray) -> list[np.ndarray]:
        inputs = zip(members, np.split(rows, ends, axis=1), shapes, strict=True)
        return [
            block
            for member, pixels, shape in inputs
            for block in member.encode(np.ascontiguousarray(pixels).reshape(len(rows), *shape))
        ]

    first_blocks = np.cumsum([0, *(len(member.block_dims) for member in members)]).tolist()
    return Encoder(
        name="+".join(member.name for member in members),
        weights_hash=hash_parts([member.weights_hash for member in members]),
        preprocessing={
            "members": [
                {"name": m.name, "weights_hash": m.weights_hash, "settings": dict(m.preprocessing)}
                for m in members
            ]
        },
        preprocess=preprocess,
        encode=encode,
        block_dims=tuple(dim for member in members for dim in member.block_dims),
        device=members[0].device,
        dtype=members[0].dtype,
        block_groups=tuple(
            tuple(tuple(block + first for block in group) for group in groups)
            for member, first in zip(members, first_blocks, strict=False)
            for groups in member.block_groups
        ),
    )
