"""Combine several encoders into one, so that each image is decoded once.

The blocks of ``clip+traces`` are those of CLIP followed by those of the residual statistics. Block
groups stay separate per member, so that a fusion can try each member alone and all together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from whichgen.encoders.base import Encoder
from whichgen.io.run_metadata import hash_parts


def combine_encoders(members: Sequence[Encoder]) -> Encoder:
    """Combine encoders on one device and of one precision.

    A preprocessed image is the concatenation of the members' flattened preprocessed images, and
    the blocks are those of the members in turn.
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
