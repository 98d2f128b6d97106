"""Extraction by shards: each image once, bitwise identical for any division into shards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import whichgen.features.extraction as extraction_module
import whichgen.features.shard_extraction as shard_module
from conftest import CountingEncoder, noise_image, pack_images, stored_rows
from whichgen.data.dataset import Sample, list_images
from whichgen.data.shards.find_shards import find_shards
from whichgen.encoders.encoder import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError
from whichgen.features.batching import BatchEncoder
from whichgen.features.extraction import extract, write_features
from whichgen.features.image_encoding import EncodedBatch
from whichgen.features.shard_extraction import EncodingJob, KeySet, encode_shard, make_shard_loaders
from whichgen.features.store import FeatureStore
from whichgen.io.prefetch import prefetch

Counting = Callable[..., CountingEncoder]


def run(encoder: Encoder, store: FeatureStore, *sources: object, batch_size: int = 4) -> Any:
    """Extract sources in this process."""
    encode = BatchEncoder(encoder, pad_to=batch_size)
    shards = find_shards([str(source) for source in sources], batch_size=batch_size)
    batches = (
        batch
        for shard in shards
        for batch in encode_shard(shard, encode, batch_size=batch_size, keys_to_skip=store)
    )
    return write_features(batches, store)


@pytest.fixture(scope="module")
def clip(tiny_clip: Path) -> Encoder:
    """A real network, whose sums depend on the batch size."""
    return load_encoder(str(tiny_clip), device="cpu")


def test_files_tar_and_parquet_give_bitwise_the_features_of_extract(
    clip: Encoder, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder({"real": 9, "gan": 8})
    files = list_images(folder)
    expected = FeatureStore(tmp_path / "expected", clip)
    extract([Sample(f, "x") for f in files], clip, expected, batch_size=4)
    contents = {f"{f.parent.name}/{f.name}": f.read_bytes() for f in files[:9]}
    shards = [
        (folder,),
        (pack_images(tmp_path / "a.tar", contents), folder / "gan", folder / "real"),
        (pack_images(tmp_path / "a.parquet", contents), folder / "real", files[0]),
    ]
    for i, sources in enumerate(shards):
        store = FeatureStore(tmp_path / f"{i}", clip)
        summary = run(clip, store, *sources)
        assert (summary.n_added_rows, summary.errors) == (17, {})
        assert stored_rows(tmp_path / f"{i}", clip) == stored_rows(tmp_path / "expected", clip)


@settings(max_examples=15)
@given(st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=1, max_size=5))
def test_any_cut_into_shards_gives_the_same_store(shards: list[list[int]]) -> None:
    # An image may be in several shards, or twice in one shard.
    encoder = CountingEncoder()
    wanted = {i for shard in shards for i in shard}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {}
        for i in range(10):
            files[i] = folder / f"{i}.png"
            noise_image(i, (8, 8)).save(files[i])
        tars = []
        for number, shard in enumerate(shards):
            contents = {f"{j}.png": files[i].read_bytes() for j, i in enumerate(shard)}
            tars.append(pack_images(folder / f"{number}.tar", contents))
        store, other = (FeatureStore(folder / n, encoder.encoder) for n in ("a", "b"))
        summary = run(encoder.encoder, store, *tars, batch_size=3)
        assert (summary.n_images, summary.n_added_rows) == (sum(map(len, shards)), len(wanted))
        extract([Sample(files[i], "x") for i in sorted(wanted)], encoder.encoder, other)
        there, here = (stored_rows(folder / n, encoder.encoder) for n in ("a", "b"))
        assert there == here


def test_an_interrupted_run_is_resumed_and_a_second_run_encodes_nothing(
    image_folder: Callable[..., Path], tmp_path: Path, counting: Counting
) -> None:
    folder = image_folder({"real": 12})
    broken = counting(fail_at=9)
    store = FeatureStore(tmp_path / "s", broken.encoder)
    with pytest.raises(KeyboardInterrupt):
        run(broken.encoder, store, folder)
    assert len(store) == 8
    encoder = counting()
    summary = run(encoder.encoder, FeatureStore(tmp_path / "s", encoder.encoder), folder)
    assert (summary.n_images, summary.n_added_rows, encoder.images) == (12, 4, 4)
    summary = run(encoder.encoder, FeatureStore(tmp_path / "s", encoder.encoder), folder)
    assert (summary.n_images, summary.n_added_rows, encoder.images) == (12, 0, 4)


def test_unreadable_images_are_reported_and_batches_are_cut_by_position(
    image_folder: Callable[..., Path], tmp_path: Path, counting: Counting
) -> None:
    folder = image_folder({"real": 10})
    (folder / "real" / "001.png").write_text("no image")
    (folder / "real" / "004.png").write_bytes(b"")
    encoder = counting()
    (shard,) = find_shards([str(folder)], batch_size=32)
    encode = BatchEncoder(encoder.encoder, pad_to=4)
    batches = list(encode_shard(shard, encode, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [len(batch.positions) for batch in batches] == [3, 3, 2]
    summary = write_features(batches, FeatureStore(tmp_path / "s", encoder.encoder))
    assert (summary.n_images, summary.n_added_rows) == (10, 8)
    assert [str(e).partition(": ")[2] for e in summary.errors.values()] == [
        "a text file, not an image; replace it with the image",
        "the file is empty; replace it",
    ]


def test_rows_are_written_during_extraction_and_once(
    tmp_path: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction_module, "FLUSH_ROWS", 4)
    store = FeatureStore(tmp_path / "s", counting().encoder)

    def batch(first: bytes, second: bytes) -> EncodedBatch:
        blocks = (np.zeros((2, 12), np.float32), np.ones((2, 48), np.float32))
        return EncodedBatch(("1", "2"), (first * 32, second * 32), (0, 1), blocks)

    rows_on_disk: list[int] = []

    def batches() -> Iterator[EncodedBatch]:
        for keys in (b"ab", b"ab", b"cd", b"ab", b"ea"):
            yield batch(keys[:1], keys[1:])
            rows_on_disk.append(len(FeatureStore(tmp_path / "s", counting().encoder)))

    summary = write_features(batches(), store)
    assert (summary.n_images, summary.n_added_rows) == (10, 5)
    assert rows_on_disk == [0, 0, 4, 4, 4]
    assert len(stored_rows(tmp_path / "s", counting().encoder)) == 5


def test_at_most_two_images_per_thread_are_read_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_module, "count_threads", lambda: 2)
    contents = {f"{i}.png": b"%d" % i for i in range(60)}
    (shard,) = find_shards([str(pack_images(tmp_path / "a.tar", contents))])
    read, read_at_load = 0, []

    class CountedShard:
        images = None

        def read(self) -> Iterator[Any]:
            nonlocal read
            for read, item in enumerate(shard.read(), start=1):  # noqa: B007
                yield item

    def load(item: Any) -> tuple[bytes, None]:
        read_at_load.append(read)
        return item.load(), None

    loaders = make_shard_loaders(CountedShard(), load)
    jobs = prefetch(lambda loader: loader[1]()[0], loaders, threads=2, depth=160)
    assert list(jobs) == list(contents.values())
    assert all(count <= i + 2 * 2 + 1 for i, count in enumerate(read_at_load))


@given(st.sets(st.binary(min_size=6, max_size=6)), st.binary(min_size=6, max_size=6))
def test_a_key_set_is_a_set(keys: set[bytes], other: bytes) -> None:
    key_set = KeySet(keys)
    assert len(key_set) == len(keys)
    assert all(key in key_set for key in keys)
    assert (other in key_set) == (other in keys)
    zeros = KeySet([b"a" + bytes(5), bytes(6)])
    assert b"a" + bytes(5) in zeros
    assert bytes(6) in zeros
    assert b"b" + bytes(5) not in zeros


def test_a_worker_with_another_encoder_is_rejected(tiny_clip: Path) -> None:
    job = EncodingJob(str(tiny_clip), "cpu", "float32", "another key", 4)
    with pytest.raises(
        EncoderError, match=r"the weights or preprocessing of .* on a worker differ"
    ):
        job.start()
