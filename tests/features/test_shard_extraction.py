"""A collection in shards: each image's features once, the same bytes however it was cut."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import whichgen.features.shard_extraction as archive_module
from conftest import CountingEncoder, noise_image, pack_images, stored_rows
from whichgen.data.dataset import Sample, list_images
from whichgen.data.shards import find_shards
from whichgen.encoders.base import Encoder
from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError
from whichgen.features.extraction import extract
from whichgen.features.shard_extraction import Encoded, EncodeJob, KeySet, ShardEncoder, keep
from whichgen.features.store import FeatureStore

Counting = Callable[..., CountingEncoder]


def run(encoder: Encoder, store: FeatureStore, *sources: object, batch_size: int = 4) -> Any:
    """The local engine on some sources."""
    work = ShardEncoder(encoder, known=store, batch_size=batch_size, threads=2)
    shards = find_shards([str(source) for source in sources], batch_size=batch_size)
    return keep((part for shard in shards for part in work(shard)), store)


@pytest.fixture(scope="module")
def clip(tiny_clip: Path) -> Encoder:
    """A real network, whose sums depend on the size of a pass."""
    return load_encoder(str(tiny_clip), device="cpu")


def test_files_tar_and_parquet_give_what_extraction_gives_to_the_byte(
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
        kept = run(clip, store, *sources)
        assert (kept.added, kept.failed) == (17, ())
        assert stored_rows(tmp_path / f"{i}", clip) == stored_rows(tmp_path / "expected", clip)


@settings(max_examples=15)
@given(st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=1, max_size=5))
def test_any_cut_into_shards_gives_one_store(shards: list[list[int]]) -> None:
    # An image may be in several shards, or in one of them twice.
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
        kept = run(encoder.encoder, store, *tars, batch_size=3)
        assert (kept.images, kept.added) == (sum(map(len, shards)), len(wanted))
        extract([Sample(files[i], "x") for i in sorted(wanted)], encoder.encoder, other)
        there, here = (stored_rows(folder / n, encoder.encoder) for n in ("a", "b"))
        assert there == here


def test_a_second_run_encodes_nothing_and_goes_on_where_one_stopped(
    image_folder: Callable[..., Path], tmp_path: Path, counting: Counting
) -> None:
    folder = image_folder({"real": 12})
    broken = counting(fail_at=9)
    store = FeatureStore(tmp_path / "s", broken.encoder)
    with pytest.raises(KeyboardInterrupt):
        run(broken.encoder, store, folder)
    assert len(store) == 8
    encoder = counting()
    kept = run(encoder.encoder, FeatureStore(tmp_path / "s", encoder.encoder), folder)
    assert (kept.images, kept.added, encoder.images) == (12, 4, 4)
    kept = run(encoder.encoder, FeatureStore(tmp_path / "s", encoder.encoder), folder)
    assert (kept.images, kept.added, encoder.images) == (12, 0, 4)


def test_unreadable_images_are_told_and_parts_are_cut_by_place(
    image_folder: Callable[..., Path], tmp_path: Path, counting: Counting
) -> None:
    folder = image_folder({"real": 10})
    (folder / "real" / "001.png").write_text("no image")
    (folder / "real" / "004.png").write_bytes(b"")
    encoder = counting()
    (shard,) = find_shards([str(folder)], batch_size=32)
    work = ShardEncoder(encoder.encoder, batch_size=4, threads=2)
    found = list(work(shard))
    assert [part.images for part in found] == [4, 4, 2]
    assert [len(part.keys) for part in found] == [3, 3, 2]
    kept = keep(found, FeatureStore(tmp_path / "s", encoder.encoder))
    assert (kept.images, kept.added) == (10, 8)
    assert [f.partition(": ")[2] for f in kept.failed] == [
        "not an image that can be read",
        "the file is empty",
    ]


def test_rows_are_written_while_it_runs_and_once(
    tmp_path: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "FLUSH_ROWS", 4)
    store = FeatureStore(tmp_path / "s", counting().encoder)
    part = Encoded(
        2,
        (b"a" * 32, b"b" * 32),
        (np.zeros((2, 12), np.float32), np.ones((2, 48), np.float32)),
    )
    other = dataclasses.replace(part, keys=(b"c" * 32, b"d" * 32))
    on_disk: list[int] = []

    def found() -> Iterator[Encoded]:
        for p in (part, part, other, part, dataclasses.replace(part, keys=(b"e" * 32, b"a" * 32))):
            yield p
            on_disk.append(len(FeatureStore(tmp_path / "s", counting().encoder)))

    kept = keep(found(), store)
    assert (kept.images, kept.added) == (10, 5)
    assert on_disk == [0, 0, 4, 4, 4]
    assert len(stored_rows(tmp_path / "s", counting().encoder)) == 5


def test_no_more_contents_are_in_memory_than_threads_need(
    tmp_path: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {f"{i}.png": b"%d" % i for i in range(60)}
    (shard,) = find_shards([str(pack_images(tmp_path / "a.tar", contents))])
    made, most = 0, 0

    def prepare(item: Any) -> int:
        nonlocal most
        most = max(most, made)
        return len(item.load())

    class Watched:
        images = None

        def read(self) -> Iterator[Any]:
            nonlocal made
            for made, item in enumerate(shard.read(), start=1):  # noqa: B007
                yield item

    parts = archive_module.parts(Watched(), prepare, size=40, threads=2)
    assert [len(part) for part in parts] == [40, 20]
    assert most <= 60
    # The first image was prepared when no more than five had been read.
    made, first = 0, []
    list(archive_module.parts(Watched(), lambda _: first.append(made), size=40, threads=2))
    assert first[0] <= 5


@given(st.sets(st.binary(min_size=6, max_size=6)), st.binary(min_size=6, max_size=6))
def test_a_key_set_is_a_set(keys: set[bytes], other: bytes) -> None:
    found = KeySet(keys)
    assert len(found) == len(keys)
    assert all(key in found for key in keys)
    assert (other in found) == (other in keys)
    zeros = KeySet([b"a" + bytes(5), bytes(6)])
    assert b"a" + bytes(5) in zeros
    assert bytes(6) in zeros
    assert b"b" + bytes(5) not in zeros


def test_a_worker_with_another_encoder_is_refused(tiny_clip: Path) -> None:
    job = EncodeJob(str(tiny_clip), "cpu", "float32", "another key", 4)
    with pytest.raises(EncoderError, match=r"another encoder on a worker than here"):
        job.start(1)
