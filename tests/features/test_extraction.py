"""Extraction encodes each image once and loses little if interrupted."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import whichgen.features.extraction as extract_module
import whichgen.features.store as store_module
from whichgen.data.dataset import Sample, list_images
from whichgen.data.images.decoding import DecodedFile
from whichgen.data.images.perturbations import Perturbation
from whichgen.errors import EncoderError, StoreError
from whichgen.features.extraction import extract
from whichgen.features.image_encoding import encode_images
from whichgen.features.store import FeatureStore

Counting = Callable[..., Any]


@pytest.fixture
def samples(image_folder: Callable[..., Path]) -> list[Sample]:
    """Twenty images of two origins."""
    folder = image_folder({"real": 12, "gan": 8})
    return [Sample(p, p.parent.name) for p in list_images(folder)]


def _open_store(tmp_path: Path, encoder: Any) -> FeatureStore:
    return FeatureStore(tmp_path / "store", encoder.encoder)


def _expected(encoder: Any, path: Path, perturbation: Perturbation | None = None) -> np.ndarray:
    """The first block by hand: means of 2 × 2 quarters of the preprocessed image."""
    image = Image.open(path).convert("RGB")
    pixels = encoder.preprocess(perturbation(image) if perturbation else image)
    return np.asarray(pixels.reshape(3, 2, 4, 2, 4).mean(axis=(2, 4)).ravel())


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_each_sample_gets_its_own_features_in_order(
    samples: list[Sample], tmp_path: Path, counting: Counting, batch_size: int
) -> None:
    encoder = counting()
    samples = samples[::-1]
    table = extract(samples, encoder.encoder, _open_store(tmp_path, encoder), batch_size=batch_size)
    assert table.samples == tuple(samples)
    assert table.origins.tolist() == [s.origin for s in samples]
    assert len(table) == 20
    expected = np.stack([_expected(encoder, s.path) for s in samples])
    np.testing.assert_allclose(table.read_block(0), expected, atol=1e-6)
    assert table.read_block(1).shape == (20, 48)
    assert encoder.calls == -(-20 // batch_size)
    assert table.skipped == ()


def test_a_second_extraction_computes_nothing(
    samples: list[Sample], tmp_path: Path, counting: Counting
) -> None:
    encoder = counting()
    first = extract(samples, encoder.encoder, _open_store(tmp_path, encoder))
    assert encoder.images == 20
    again = counting()
    second = extract(samples, again.encoder, _open_store(tmp_path, again))
    assert again.calls == 0
    assert second.keys == first.keys
    for block in (0, 1):
        assert np.array_equal(first.read_block(block), second.read_block(block))


def test_files_are_identified_by_content(
    samples: list[Sample], tmp_path: Path, counting: Counting
) -> None:
    encoder = counting()
    shutil.copy(samples[0].path, tmp_path / "copy.png")
    with_copies = [*samples, Sample(tmp_path / "copy.png", "other"), samples[3]]
    table = extract(with_copies, encoder.encoder, _open_store(tmp_path, encoder))
    assert encoder.images == 20
    assert len(table) == 22
    assert table.origins[20] == "other"
    assert np.array_equal(table.read_block(1)[20:], table.read_block(1)[[0, 3]])
    assert table.digests[20] == table.digests[0]
    # New content under the same name is another image.
    shutil.copy(samples[1].path, samples[0].path)
    changed = extract(samples[:1], encoder.encoder, _open_store(tmp_path, encoder))
    assert np.array_equal(changed.read_block(0)[0], table.read_block(0)[1])


def test_a_perturbation_is_part_of_the_key(
    samples: list[Sample], tmp_path: Path, counting: Counting
) -> None:
    encoder = counting()
    store = _open_store(tmp_path, encoder)
    plain = extract(samples, encoder.encoder, store)
    for perturbation in (Perturbation("blur", 15), Perturbation("crop", 20)):
        encoder.images = 0
        table = extract(samples, encoder.encoder, store, perturbations=[perturbation] * 20)
        assert encoder.images == 20
        assert not set(table.keys) & set(plain.keys)
        assert table.digests == plain.digests
        expected = np.stack([_expected(encoder, s.path, perturbation) for s in samples])
        np.testing.assert_allclose(table.read_block(0), expected, atol=1e-6)
        assert not np.allclose(table.read_block(0), plain.read_block(0))
    encoder.images = 0
    mixed: list[Perturbation | None] = [None, Perturbation("blur", 15)] * 10
    table = extract(samples, encoder.encoder, store, perturbations=mixed)
    assert encoder.images == 0
    assert table.keys[::2] == plain.keys[::2]


@pytest.mark.parametrize("fail_at", [1, 4, 9, 20])
def test_an_interrupted_extraction_is_resumed(
    samples: list[Sample], tmp_path: Path, counting: Counting, fail_at: int
) -> None:
    broken = counting(fail_at=fail_at)
    with pytest.raises(KeyboardInterrupt):
        extract(samples, broken.encoder, _open_store(tmp_path, broken), batch_size=2)
    done = 2 * ((fail_at - 1) // 2)
    encoder = counting()
    store = _open_store(tmp_path, encoder)
    assert len(store) == done
    table = extract(samples, encoder.encoder, store, batch_size=2)
    assert encoder.images == 20 - done
    expected = np.stack([_expected(encoder, s.path) for s in samples])
    np.testing.assert_allclose(table.read_block(0), expected, atol=1e-6)


def test_rows_are_written_during_extraction(
    samples: list[Sample], tmp_path: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "FLUSH_ROWS", 6)
    encoder = counting()
    store = _open_store(tmp_path, encoder)
    segment_counts: list[int] = []

    def progress(items: Any, *, description: str, total: int) -> Any:
        for item in items:
            if description == "Extracting":
                segment_counts.append(len(list(store.folder.glob("*.safetensors"))))
            yield item

    extract(samples, encoder.encoder, store, batch_size=2, progress=progress)
    assert segment_counts == [0] * 4 + [1] * 6 + [2] * 6 + [3] * 4
    assert len(list(store.folder.glob("*.safetensors"))) == 4
    assert len(_open_store(tmp_path, counting())) == 20


def test_decoding_stops_after_an_interruption(
    image_folder: Callable[..., Path],
    tmp_path: Path,
    counting: Counting,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = image_folder({"real": 120}, size=(8, 8))
    samples = [Sample(p, "real") for p in list_images(folder)]
    read: list[str] = []
    lock = threading.Lock()

    def reading(data: bytes, name: str) -> DecodedFile:
        with lock:
            read.append(name)
        image = Image.open(name).convert("RGB")
        return DecodedFile(data, image, image)

    monkeypatch.setattr(extract_module, "decode_file", reading)
    encoder = counting(fail_at=1)
    with pytest.raises(KeyboardInterrupt):
        extract(samples, encoder.encoder, _open_store(tmp_path, encoder), batch_size=4)
    # At most 4 batches are decoded ahead.
    assert len(read) <= 20


def test_unreadable_files_are_skipped_with_reasons(
    samples: list[Sample], tmp_path: Path, counting: Counting
) -> None:
    for name in ("text.png", "same.png"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "cut.png").write_bytes(samples[0].path.read_bytes()[:-200])
    (tmp_path / "empty.png").touch()
    bad = ("text.png", "same.png", "cut.png", "empty.png", "gone.png")
    mixed = [*(Sample(tmp_path / name, "real") for name in bad), *samples]
    encoder = counting()
    table = extract(mixed, encoder.encoder, _open_store(tmp_path, encoder), batch_size=4)
    assert table.samples == tuple(samples)
    assert encoder.images == 20
    assert len(table.skipped) == 5
    for name, reason in zip(
        bad,
        ("not an image", "not an image", "can't be decoded", "is empty", "no such file"),
        strict=True,
    ):
        (message,) = (s for s in table.skipped if s.startswith(f"{tmp_path / name}: "))
        assert reason in message
        assert message.count(str(tmp_path)) == 1
    np.testing.assert_allclose(
        table.read_block(0)[4], _expected(encoder, samples[4].path), atol=1e-6
    )


def test_no_readable_file_is_an_empty_table(tmp_path: Path, counting: Counting) -> None:
    encoder = counting()
    for samples in ([], [Sample(tmp_path / "gone.png", "real")]):
        table = extract(samples, encoder.encoder, _open_store(tmp_path, encoder))
        assert len(table) == 0
        assert len(table.skipped) == len(samples)
        assert table.read_block(1).shape == (0, 48)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_an_error(
    samples: list[Sample], tmp_path: Path, counting: Counting, value: float
) -> None:
    encoder = counting(value=value, value_at=9)
    with pytest.raises(EncoderError, match=r"block 1 of counting returned NaN.*damaged") as caught:
        extract(samples, encoder.encoder, _open_store(tmp_path, encoder), batch_size=4)
    assert str(samples[9].path) in str(caught.value)
    # Earlier batches are stored.
    assert len(_open_store(tmp_path, counting())) == 8


def test_low_precision_is_a_reason_for_features_that_are_not_finite(counting: Counting) -> None:
    encoder = replace(counting(value=float("inf"), value_at=0).encoder, dtype="bfloat16")
    with pytest.raises(EncoderError, match="dtype='float32'"):
        encode_images([np.zeros((8, 8, 3), np.uint8)], encoder)


def test_a_full_disk_keeps_stored_features(
    samples: list[Sample], tmp_path: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract_module, "FLUSH_ROWS", 4)
    original = store_module.save_file
    written: list[Path] = []

    def fill_disk(tensors: Any, path: Path) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        original(tensors, path)

    encoder = counting()
    store = _open_store(tmp_path, encoder)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "save_file", fill_disk)
        with pytest.raises(StoreError, match="No space left on device"):
            extract(samples, encoder.encoder, store, batch_size=4)
    again = counting()
    assert len(_open_store(tmp_path, again)) == 8
    extract(samples, again.encoder, _open_store(tmp_path, again), batch_size=4)
    assert again.images == 12


def test_features_stored_by_another_process_are_not_recomputed(
    samples: list[Sample], tmp_path: Path, counting: Counting
) -> None:
    encoder, other = counting(), counting()
    store = _open_store(tmp_path, encoder)
    extract(samples[:15], other.encoder, _open_store(tmp_path, other))
    extract(samples, encoder.encoder, store)
    assert encoder.images == 5


def test_a_damaged_segment_loses_only_its_rows(
    samples: list[Sample], tmp_path: Path, counting: Counting
) -> None:
    encoder = counting()
    store = _open_store(tmp_path, encoder)
    extract(samples[:12], encoder.encoder, store)
    (first,) = store.folder.glob("*.safetensors")
    whole = extract(samples, encoder.encoder, store)
    first.write_bytes(first.read_bytes()[:-10])
    again = counting()
    repaired = extract(samples, again.encoder, _open_store(tmp_path, again))
    assert again.images == 12
    assert repaired.keys == whole.keys
    expected = np.stack([_expected(encoder, s.path) for s in samples])
    np.testing.assert_allclose(repaired.read_block(0), expected, atol=1e-6)


def test_take_and_add_keep_rows_together(
    samples: list[Sample], tmp_path: Path, counting: Counting
) -> None:
    encoder = counting()
    table = extract(samples, encoder.encoder, _open_store(tmp_path, encoder))
    some = table.take(np.array([5, 2, 2]))
    assert some.samples == (samples[5], samples[2], samples[2])
    assert np.array_equal(some.read_block(0), table.read_block(0)[[5, 2, 2]])
    both = some + table
    assert len(both) == 23
    assert both.origins.tolist() == [*some.origins, *table.origins]
    assert np.array_equal(both.read_block(1)[3:], table.read_block(1))
    assert both.digests == some.digests + table.digests
