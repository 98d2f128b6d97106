"""Segments of the feature store: taken in whole, or set aside."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors.numpy import save

from tools.fuzz.choices import Choices, mutate
from tools.fuzz.scratch import clear_folder, folder
from tools.fuzz.tiny import ENCODER
from tools.fuzz.watch import enforce_limits, require
from whichgen.errors import StoreError
from whichgen.features.store import KEY_BYTES, FeatureStore

_ROOT = folder("store")
_FOLDER = _ROOT / ENCODER.key
_ROWS = 3
_DTYPES = ("F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "X", "", None)


def _segment() -> bytes:
    rng = np.random.default_rng(0)
    arrays = {f"block_{b:03d}": rng.random((_ROWS, d), np.float32) for b, d in enumerate((3, 12))}
    keys = rng.integers(0, 256, (_ROWS, KEY_BYTES), dtype=np.uint8)
    return save({"keys": keys, **arrays})


_WHOLE = _segment()


def seeds() -> list[bytes]:
    """Decisions that leave a segment as it is, and some that change it."""
    cases = [b"\0" + _WHOLE, b"\1" * 16, bytes(range(64))]
    return [*cases, *(bytes([kind, *([n] * 12)]) for kind in (1, 2, 3) for n in (0, 1, 5, 33, 200))]


def check(data: bytes) -> None:
    """Whatever the segment, the store opens, and gives rows of the right kind or says why not."""
    choices = Choices(data)
    kind = choices.below(4)
    if kind == 0:
        content = choices.rest()
    elif kind == 1:
        content = mutate(choices, _WHOLE)
    else:
        content = lied(_WHOLE, choices)
    clear_folder(_FOLDER)
    (_FOLDER / "a.safetensors").write_bytes(content)
    with enforce_limits(_ROOT):
        store = FeatureStore(_ROOT, ENCODER)
        keys = list(store._rows)
        require(all(len(key) == KEY_BYTES for key in keys), "a key of another length")
        aside = (_FOLDER / "a.damaged").exists()
        require(aside or keys or b"keys" in content, "neither taken in nor set aside")
        for block, dim in enumerate(ENCODER.block_dims):
            try:
                rows = store.read(keys, block)
            except StoreError:
                continue
            require(rows.shape == (len(keys), dim) and rows.dtype == np.float32, "other rows")


def lied(content: bytes, choices: Choices) -> bytes:
    """A safetensors file whose header says something else than it should."""
    size = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    body = content[8 + size :]
    for _ in range(1 + choices.below(4)):
        name = choices.of(sorted(header)) if header else "keys"
        entry = header.get(name)
        kind = choices.below(9)
        if kind == 0:
            header.pop(name, None)
        elif kind == 1:
            header[choices.text()] = header.pop(name, {})
        elif kind == 2:
            header[name] = choices.value()
        elif not isinstance(entry, dict):
            continue
        elif kind == 3:
            entry["dtype"] = choices.of(_DTYPES)
        elif kind == 4:
            entry["shape"] = [
                choices.of((0, 1, 3, 12, 32, 2**31, 2**62)) for _ in range(choices.below(4))
            ]
        elif kind == 5:
            entry["data_offsets"] = [
                choices.of((0, 1, 96, 100, len(body), 2**40, -1)) for _ in (0, 1)
            ]
        elif kind == 6:
            entry[choices.of(("dtype", "shape", "data_offsets", "x"))] = choices.value()
        elif kind == 7:
            # The same bytes as other numbers: as many of them as there is room for.
            width = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2}
            entry["dtype"] = choices.of((*width, "U8", "BOOL", "F8_E4M3"))
            offsets = entry.get("data_offsets")
            if isinstance(offsets, list) and all(isinstance(o, int) for o in offsets):
                room = max(0, offsets[-1] - offsets[0]) if len(offsets) == 2 else 0
                entry["shape"] = [] if choices.below(2) else [room // width.get(entry["dtype"], 1)]
        else:
            body = mutate(choices, body)
    text = json.dumps(header).encode()
    stated = len(text) if choices.below(8) else choices.of((0, 7, 2**31, 2**63, len(text) + 9))
    return stated.to_bytes(8, "little") + text + body
