"""Store features on disk.

A feature store contains the features of one encoder. The name of its folder is
:attr:`Encoder.key <whichgen.encoders.encoder.Encoder.key>`, which identifies weights, preprocessing
and precision. Each *row* contains the features of an image or of a perturbed copy, and is
identified by a *key* (:func:`compute_feature_key`). The store is a folder of *segments*:
safetensors files with the keys of some rows and one float32 array per block. Segments are written
atomically and never changed, so a crash loses only the rows that are not written yet, and several
processes can write to the same store. Segments are memory-mapped, so only the requested rows are
read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import uuid
import weakref
from collections.abc import Iterable, KeysView, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from whichgen.encoders.encoder import Encoder
from whichgen.errors import StoreError
from whichgen.io.atomic_writes import replace_file, write_text
from whichgen.option_names import name_option

#: Length of a key in bytes.
KEY_BYTES = 32

#: Maximum size in bytes of an array that :meth:`FeatureStore.read` returns in memory; larger arrays
#: are memory maps.
MAX_MEMORY = 512 * 2**20

#: Maximum number of rows that are copied to the file of a memory map at a time.
_CHUNK_ROWS = 8192


def compute_feature_key(image_digest: bytes, perturbation: str = "") -> bytes:
    """Compute the key of an image in a feature store from its digest and its perturbation.

    Parameters
    ----------
    image_digest
        Digest of the file's content (:func:`whichgen.data.images.decoding.hash_image`).
    perturbation
        Kind and value of the perturbation, for example ``jpeg:75``; empty for the original image.

    Returns
    -------
    bytes
        The key: 32 bytes.
    """
    return hashlib.blake2b(
        image_digest + perturbation.encode(), digest_size=KEY_BYTES, person=b"whichgen-feature"
    ).digest()


@dataclass(frozen=True)
class _Segment:
    """Path of a segment, its number of rows, and the byte offset of each block in the file."""

    path: Path
    n_rows: int
    offsets: tuple[int, ...]


class FeatureStore:
    """Feature store of one encoder; the constructor creates its folder if it does not exist.

    An index in memory maps the key of each row to the row's segment and position. Rows that other
    processes write are available after :meth:`refresh`.

    Parameters
    ----------
    root
        Folder that contains the stores of all encoders.
    encoder
        The encoder. The store is the folder ``root/<encoder.key>``.

    Raises
    ------
    StoreError
        The folder can't be created or written, or a segment can't be read.
    """

    def __init__(self, root: Path, encoder: Encoder) -> None:
        self.folder = root / encoder.key
        self.block_dims = encoder.block_dims
        if not (self.folder / "encoder.json").exists():
            text = json.dumps(encoder.describe(), indent=1) + "\n"
            try:
                write_text(self.folder / "encoder.json", text)
            except OSError as error:
                raise StoreError(_explain_write_error(self.folder, error)) from error
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._segments: list[_Segment] = []
        self.refresh()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def keys(self) -> KeysView[bytes]:
        """Return a view of the keys of all rows in the index."""
        return self._rows.keys()

    def refresh(self) -> None:
        """Add the rows of new segments to the index, and rename damaged segments.

        Another process may have written a segment since the last call. The suffix of a damaged
        segment becomes ``.damaged`` if the folder is writable; its rows are not added.

        Raises
        ------
        StoreError
            A segment can't be read, for example because of missing permissions.
        """
        indexed_paths = {segment.path for segment in self._segments}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in indexed_paths:
                continue
            try:
                self._register(path)
            except (SafetensorError, ValueError):
                # Another process may have renamed the file, or the folder may be read-only.
                with contextlib.suppress(OSError):
                    path.replace(path.with_suffix(".damaged"))
            except FileNotFoundError:
                continue  # renamed by another process
            except OSError as error:
                # Do not rename the segment. It may be intact: permissions may be missing.
                raise StoreError(
                    f"can't read {path} ({error}). Check its permissions and the disk."
                ) from error

    def add(self, keys: Sequence[bytes], blocks: Sequence[np.ndarray]) -> None:
        """Write rows to a new segment, and add them to the index.

        The index does not change for keys that it already contains.

        Parameters
        ----------
        keys
            Keys of the n rows, 32 bytes each.
        blocks
            Features of each block b: float array (n, d_b), stored as float32.

        Raises
        ------
        StoreError
            The segment can't be written, for example because the disk is full. The store is
            unchanged.
        ValueError
            The keys or blocks do not have the expected sizes. The index is unchanged.
        """
        array = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES)
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        tensors = {"keys": array} | {
            _name_block(b): np.ascontiguousarray(block, dtype=np.float32)
            for b, block in enumerate(blocks)
        }
        try:
            with replace_file(path) as temporary:
                save_file(tensors, temporary)
        except (OSError, SafetensorError) as error:
            raise StoreError(_explain_write_error(self.folder, error)) from error
        self._register(path)

    def read(self, keys: Sequence[bytes], block: int) -> np.ndarray:
        """Read the features of one block for the given keys.

        Parameters
        ----------
        keys
            Keys of the rows, in any order; a key can occur several times.
        block
            Index of the block, from 0.

        Returns
        -------
        float32 array (len(keys), block_dims[block])
            Features in the order of ``keys``. An array of more than :data:`MAX_MEMORY` bytes is a
            read-only memory map of a temporary file; the file is deleted together with the array.

        Raises
        ------
        KeyError
            A key is not in the index.
        StoreError
            A segment can't be read, for example because it was deleted after its rows had been
            added to the index, or the temporary file can't be written.
        """
        rows = np.array([self._rows[key] for key in keys], dtype=np.int64).reshape(-1, 2)
        if 4 * len(rows) * self.block_dims[block] <= MAX_MEMORY:
            return self._read_rows(rows, block)
        chunks = (
            self._read_rows(rows[start : start + _CHUNK_ROWS], block)
            for start in range(0, len(rows), _CHUNK_ROWS)
        )
        return _map_chunks(chunks, (len(rows), self.block_dims[block]))

    def _read_rows(self, rows: np.ndarray, block: int) -> np.ndarray:
        """Read the features of one block into memory: float32 array (n, d_block).

        ``rows`` is an int64 array (n, 2) of segment numbers and row numbers in these segments.
        """
        dim = self.block_dims[block]
        out = np.empty((len(rows), dim), dtype=np.float32)
        for number in np.unique(rows[:, 0]).tolist():
            segment = self._segments[number]
            mask = rows[:, 0] == number
            try:
                features = np.memmap(
                    segment.path, "<f4", "r", segment.offsets[block], (segment.n_rows, dim)
                )
            except (OSError, ValueError) as error:
                raise StoreError(
                    f"can't read {segment.path} ({error}). Check its permissions or, if it is "
                    "missing or truncated, rerun the command or script to compute its features "
                    "again."
                ) from error
            out[mask] = features[rows[mask, 1]]
        return out

    def _register(self, path: Path) -> None:
        """Validate a segment, and add its rows to the index.

        The index maps each key to a segment and a row. The entries of existing keys do not change.

        Raises
        ------
        ValueError, SafetensorError
            The file is damaged or does not belong to this store. The index is unchanged.
        OSError
            The file can't be read. The index is unchanged.
        """
        if not path.is_file():
            raise ValueError(f"{path}: not a regular file")
        with safe_open(path, framework="np") as file:  # checks that the file is complete
            key_slice = file.get_slice("keys")
            if key_slice.get_dtype() != "U8" or key_slice.get_shape()[1:] != [KEY_BYTES]:
                raise ValueError(f"{path}: expected keys of {KEY_BYTES} bytes")
            keys = file.get_tensor("keys")
        with path.open("rb") as raw:
            size = int.from_bytes(raw.read(8), "little")
            header = json.loads(raw.read(size))
        offsets = []
        for b, dim in enumerate(self.block_dims):
            array = header.get(_name_block(b), {})
            if array.get("dtype") != "F32" or array.get("shape") != [len(keys), dim]:
                raise ValueError(
                    f"{path}: expected float32 {_name_block(b)} of shape ({len(keys)}, {dim})"
                )
            offsets.append(8 + size + array["data_offsets"][0])
        number = len(self._segments)
        self._segments.append(_Segment(path, len(keys), tuple(offsets)))
        for row, key in enumerate(keys):
            self._rows.setdefault(key.tobytes(), (number, row))


def _map_chunks(chunks: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Write float32 chunks of rows to a temporary file, and return its memory map."""
    try:
        file = tempfile.NamedTemporaryFile(prefix="whichgen-")  # noqa: SIM115 (closed below)
        for chunk in chunks:
            file.write(chunk.data)
        file.flush()
        array = np.memmap(file.name, np.float32, "r", shape=shape)
    except OSError as error:
        raise StoreError(
            f"can't write features to {tempfile.gettempdir()} ({error}). Free some disk space, or "
            "set the environment variable TMPDIR to another folder."
        ) from error
    weakref.finalize(array, file.close)  # deletes the file
    return array


def _explain_write_error(folder: Path, error: Exception) -> str:
    return (
        f"can't write the feature store {folder} ({error}). Check its permissions and the free "
        f"disk space, or use another {name_option('--cache-dir', 'folder')}."
    )


def _name_block(block: int) -> str:
    return f"block_{block:03d}"
