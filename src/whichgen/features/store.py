"""The on-disk feature store.

A store belongs to one encoder (weights, preprocessing, precision). It is a folder of segments,
each a safetensors file with the keys of its rows and one float32 array for each block. A segment is
written whole or not at all and never changed afterwards, so a crash loses at most the rows not yet
flushed, and several processes can write one store. Blocks are read through a memory map.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from whichgen.atomic import replacing, write_text
from whichgen.encoders.encoder import Encoder

KEY_BYTES = 32


def feature_key(image_digest: bytes, perturbation: str = "") -> bytes:
    """The 32-byte key of one row: image content and perturbation (``""``: none)."""
    return hashlib.blake2b(
        image_digest + perturbation.encode(), digest_size=KEY_BYTES, person=b"whichgen-feature"
    ).digest()


class FeatureStore:
    """The features of one encoder.

    Parameters
    ----------
    root
        The folder that holds the stores of all encoders.
    encoder
        Whose features these are; ``root/<encoder.key>`` is this store's folder.
    """

    def __init__(self, root: Path, encoder: Encoder) -> None:
        self.folder = root / encoder.key
        self.block_dims = encoder.block_dims
        if not (self.folder / "encoder.json").exists():
            description: dict[str, Any] = encoder.describe()
            write_text(self.folder / "encoder.json", json.dumps(description, indent=1) + "\n")
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._segments: list[Path] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def refresh(self) -> None:
        """Takes in segments that others have written; sets a damaged one aside."""
        known = set(self._segments)
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in known:
                continue
            try:
                with safe_open(path, framework="np") as segment:
                    keys = segment.get_tensor("keys")
                    dims = tuple(
                        segment.get_slice(_block_name(b)).get_shape()[1]
                        for b in range(len(self.block_dims))
                    )
            except (SafetensorError, OSError):
                path.replace(path.with_suffix(".damaged"))
                continue
            if dims == self.block_dims:
                self._register(path, keys)

    def add(self, keys: Sequence[bytes], blocks: Sequence[np.ndarray]) -> None:
        """Writes rows as one new segment: ``blocks[b]`` is a float32 array (len(keys), d_b)."""
        array = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES)
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        tensors = {"keys": array} | {
            _block_name(b): np.ascontiguousarray(block, dtype=np.float32)
            for b, block in enumerate(blocks)
        }
        with replacing(path) as temporary:
            save_file(tensors, temporary)
        self._register(path, array)

    def read(self, keys: Sequence[bytes], block: int) -> np.ndarray:
        """The features of one block for these keys: float32 array (len(keys), d_block).

        Raises
        ------
        KeyError
            A key is not in the store.
        """
        places = np.array([self._rows[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        out = np.empty((len(keys), self.block_dims[block]), dtype=np.float32)
        for segment in np.unique(places[:, 0]):
            wanted = places[:, 0] == segment
            with safe_open(self._segments[segment], framework="np") as file:
                out[wanted] = file.get_tensor(_block_name(block))[places[wanted, 1]]
        return out

    def _register(self, path: Path, keys: np.ndarray) -> None:
        number = len(self._segments)
        self._segments.append(path)
        for row, key in enumerate(keys):
            self._rows.setdefault(key.tobytes(), (number, row))


def _block_name(block: int) -> str:
    return f"block_{block:03d}"
