"""Several encoders as one: each image is decoded once, and all blocks lie in one row of the store.

``clip+traces`` has the blocks of CLIP, then those of the traces, and keeps apart whose votes they
are, so that a fusion can try each member alone and all together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from whichgen.encoders.base import Encoder
from whichgen.io.run_metadata import hash_parts


def join(members: Sequence[Encoder]) -> Encoder:
    """One encoder whose blocks are those of its members in turn.

    A preprocessed image is the members' preprocessed images, flattened, one after another.

    Parameters
    ----------
    members
        Encoders on one device, of one precision.
    """
    blank = Image.new("RGB", (256, 256))
    shapes = [member.preprocess(blank).shape for member in members]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1].tolist()

    def preprocess(image: Image.Image) -> np.ndarray:
        return np.concatenate([member.preprocess(image).ravel() for member in members])

    def encode(rows: np.ndarray) -> list[np.ndarray]:
        parts = zip(members, np.split(rows, ends, axis=1), shapes, strict=True)
        return [
            block
            for member, part, shape in parts
            for block in member.encode(np.ascontiguousarray(part).reshape(len(part), *shape))
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
        votes=tuple(
            tuple(tuple(block + first for block in vote) for vote in votes)
            for member, first in zip(members, first_blocks, strict=False)
            for votes in member.votes
        ),
    )
