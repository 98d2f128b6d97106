"""Fuzz the reader of segments of the feature store."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors.numpy import save

from tools.fuzz.case_limits import enforce_limits, require
from tools.fuzz.choices import Choices, mutate
from tools.fuzz.fixtures import ENCODER
from tools.fuzz.temporary_folders import clear_folder, make_folder
from whichgen.errors import StoreError
from whichgen.features.store import KEY_BYTES, FeatureStore

_ROOT = make_folder("store")
_FOLDER = _ROOT / ENCODER.key
_ROWS = 3
_DTYPES = ("F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "X", "", None)


def _segment() -> bytes:
    rng = np.random.default_rng(0)
    arrays = {f"block_{b:03d}": rng.random((_ROWS, d), np.float32) for b, d in enumerate((3, 12))}
    keys = rng.integers(0, 256, (_ROWS, KEY_BYTES), dtype=np.uint8)
    return save({"keys": keys, **arrays})


_VALID_SEGMENT = _segment()


def seeds() -> list[bytes]:
    """Return a valid segment, and decisions that change the segment."""
    cases = [b"\0" + _VALID_SEGMENT, b"\1" * 16, bytes(range(64))]
    return [*cases, *(bytes([kind, *([n] * 12)]) for kind in (1, 2, 3) for n in (0, 1, 5, 33, 200))]


def check(data: bytes) -> None:
    """Check that the store reads valid rows from a segment, or renames the segment."""
    choices = Choices(data)
    kind = choices.draw_below(4)
    if kind == 0:
        content = choices.take_rest()
    elif kind == 1:
        content = mutate(choices, _VALID_SEGMENT)
    else:
        content = corrupt_header(_VALID_SEGMENT, choices)
    clear_folder(_FOLDER)
    (_FOLDER / "a.safetensors").write_bytes(content)
    with enforce_limits(_ROOT):
        store = FeatureStore(_ROOT, ENCODER)
        keys = list(store._rows)
        require(all(len(key) == KEY_BYTES for key in keys), "a key of another length")
        is_renamed = (_FOLDER / "a.damaged").exists()
        require(is_renamed or keys or b"keys" in content, "neither read nor renamed")
        for block, dim in enumerate(ENCODER.block_dims):
            try:
                rows = store.read(keys, block)
            except StoreError:
                continue
            require(rows.shape == (len(keys), dim) and rows.dtype == np.float32, "invalid rows")


def corrupt_header(content: bytes, choices: Choices) -> bytes:
    """Return a safetensors file in which entries of the header are changed."""
    size = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    body = content[8 + size :]
    for _ in range(1 + choices.draw_below(4)):
        name = choices.choose(sorted(header)) if header else "keys"
        entry = header.get(name)
        kind = choices.draw_below(9)
        if kind == 0:
            header.pop(name, None)
        elif kind == 1:
            header[choices.draw_text()] = header.pop(name, {})
        elif kind == 2:
            header[name] = choices.draw_value()
        elif not isinstance(entry, dict):
            continue
        elif kind == 3:
            entry["dtype"] = choices.choose(_DTYPES)
        elif kind == 4:
            entry["shape"] = [
                choices.choose((0, 1, 3, 12, 32, 2**31, 2**62))
                for _ in range(choices.draw_below(4))
            ]
        elif kind == 5:
            entry["data_offsets"] = [
                choices.choose((0, 1, 96, 100, len(body), 2**40, -1)) for _ in (0, 1)
            ]
        elif kind == 6:
            entry[choices.choose(("dtype", "shape", "data_offsets", "x"))] = choices.draw_value()
        elif kind == 7:
            # Another type, with the number of values that the same bytes can contain.
            width = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2}
            entry["dtype"] = choices.choose((*width, "U8", "BOOL", "F8_E4M3"))
            offsets = entry.get("data_offsets")
            if isinstance(offsets, list) and all(isinstance(o, int) for o in offsets):
                room = max(0, offsets[-1] - offsets[0]) if len(offsets) == 2 else 0
                entry["shape"] = (
                    [] if choices.draw_below(2) else [room // width.get(entry["dtype"], 1)]
                )
        else:
            body = mutate(choices, body)
    text = json.dumps(header).encode()
    stated = (
        len(text) if choices.draw_below(8) else choices.choose((0, 7, 2**31, 2**63, len(text) + 9))
    )
    return stated.to_bytes(8, "little") + text + body
