"""Forged segments of a feature store are set aside; the others stay usable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whichgen.features.store import FeatureStore, compute_feature_key


def segment(entries: dict[str, Any], body: bytes, size: int | None = None) -> bytes:
    """A safetensors file with this header."""
    text = json.dumps(entries).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + body


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    """An array as a header tells of it."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


KEYS, FIRST, SECOND = entry("U8", [1, 32], 0, 32), entry("F32", [1, 12], 32, 80), (1, 48)
BLOCKS = {"block_000": FIRST, "block_001": entry("F32", [*SECOND], 80, 272)}
BODY = bytes(272)


@pytest.mark.parametrize(
    "content",
    [
        segment({"keys": entry("U8", [], 0, 1), **BLOCKS}, BODY),
        segment({"keys": entry("BF16", [1, 16], 0, 32), **BLOCKS}, BODY),
        segment({"keys": entry("F8_E4M3", [1, 32], 0, 32), **BLOCKS}, BODY),
        segment({"keys": entry("U8", [32], 0, 32), **BLOCKS}, BODY),
        segment({"keys": entry("U8", [1, 2, 16], 0, 32), **BLOCKS}, BODY),
        segment({"keys": entry("U8", [2**40, 32], 0, 32), **BLOCKS}, BODY),
        segment({"keys": entry("U8", [2**62, 2**62], 0, 0), **BLOCKS}, BODY),
        segment({"keys": KEYS, **BLOCKS, "block_001": entry("F32", [1, 48], 32, 224)}, BODY),
        segment({"keys": KEYS, **BLOCKS, "block_001": entry("F32", [1, 48], 80, 2**40)}, BODY),
        segment({"keys": KEYS, **BLOCKS, "block_001": entry("F32", [1, 48], 272, 80)}, BODY),
        segment({"keys": KEYS, "block_000": FIRST}, BODY[:80]),
        segment({"keys": KEYS, **BLOCKS}, BODY, size=2**63),
        segment({"keys": KEYS, **BLOCKS}, BODY, size=10**8),
        segment({"keys": KEYS, **BLOCKS, "x": [[[[]]]]}, BODY),
        b"\x02" + bytes(7) + b"{}",
        (10**5).to_bytes(8, "little") + b"[" * 10**5,
    ],
    ids=range(16),
)
def test_forged_segment_is_set_aside(
    tmp_path: Path, counting: Callable[..., Any], content: bytes
) -> None:
    store = FeatureStore(tmp_path, counting().encoder)
    store.add([compute_feature_key(b"x")], [np.ones((1, 12)), np.ones((1, 48))])
    (store.folder / "0.safetensors").write_bytes(content)
    store = FeatureStore(tmp_path, counting().encoder)
    assert len(store) == 1 and store.read([compute_feature_key(b"x")], 1).all()
    assert (store.folder / "0.damaged").exists()


def test_unforged_segment_is_valid(tmp_path: Path, counting: Callable[..., Any]) -> None:
    store = FeatureStore(tmp_path, counting().encoder)
    (store.folder / "0.safetensors").write_bytes(segment({"keys": KEYS, **BLOCKS}, BODY))
    store.refresh()
    assert len(store) == 1 and store.read([bytes(32)], 1).shape == (1, 48)


def test_pipe_does_not_block(tmp_path: Path, counting: Callable[..., Any]) -> None:
    store = FeatureStore(tmp_path, counting().encoder)
    os.mkfifo(store.folder / "0.safetensors")
    (store.folder / "1.safetensors").mkdir()
    store.refresh()
    names = sorted(p.name for p in store.folder.iterdir())
    assert names == ["0.damaged", "1.damaged", "encoder.json"]
