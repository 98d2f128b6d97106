"""Reading from S3-compatible stores (moto) and from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow.fs as pafs
import pytest
from moto.server import ThreadedMotoServer

import whichgen.io.remote as remote_module
from whichgen.data.shards.find_shards import find_shards
from whichgen.errors import DataError, ImageError
from whichgen.io.remote import Storage, parse_url

Pack = Callable[..., Path]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The URL of an S3-compatible server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(
    address: str, tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> pafs.FileSystem:
    """A bucket ``many`` with images, a tar and a Parquet file; sets the credentials."""
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    store = pafs.S3FileSystem(endpoint_override=address, allow_bucket_creation=True)
    store.create_dir("many")
    tar = pack(tmp_path / "x.tar", {"0.png": b"in tar"})
    rows = pack(tmp_path / "x.parquet", {str(i): b"row %d" % i for i in range(5)})
    for path, data in {
        "set/10.png": b"ten",
        "set/9 ü#?.png": b"nine",
        "set/.hidden/1.png": b"hidden",
        "set/notes.txt": b"no image",
        "set/x.tar": tar.read_bytes(),
        "set/x.parquet": rows.read_bytes(),
        "other/1.png": b"other",
    }.items():
        with store.open_output_stream(f"many/{path}") as stream:
            stream.write(data)
    return store


def test_prefix_is_listed_like_a_folder(bucket: pafs.FileSystem) -> None:
    contents = {
        item.name: item.load() for shard in find_shards(["s3://many/set"]) for item in shard.read()
    }
    assert contents == {
        "s3://many/set/9 ü#?.png": b"nine",
        "s3://many/set/10.png": b"ten",
        "s3://many/set/x.tar/0.png": b"in tar",
        **{f"s3://many/set/x.parquet/{i}": b"row %d" % i for i in range(5)},
    }
    assert next(iter(contents)) == "s3://many/set/9 ü#?.png"
    (shard,) = find_shards(["s3://many/other/1.png"])
    assert shard.n_images == 1


def test_missing_objects_are_errors(bucket: pafs.FileSystem) -> None:
    with pytest.raises(DataError, match=r"s3://many/none does not exist"):
        find_shards(["s3://many/none"])
    (shard,) = find_shards(["s3://many/other/1.png"])
    (item,) = shard.read()
    bucket.delete_file("many/other/1.png")
    with pytest.raises(ImageError, match=r"s3://many/other/1.png: no such file"):
        item.load()


def test_large_object_is_not_read_to_its_end(bucket: pafs.FileSystem) -> None:
    storage, path = parse_url("s3://many/set/9 ü#?.png")
    with pytest.raises(OSError, match="larger than"):
        storage.read(path, 3)
    assert storage.read("many/set/10.png", 3) == b"ten"


def test_unreachable_store_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    class Unreachable:
        def get_file_info(self, path: str) -> None:
            raise OSError("connection refused")

    monkeypatch.setattr(remote_module, "_connect", lambda _: Unreachable())
    with pytest.raises(DataError, match=r"at http://127.0.0.1:9 can't be listed.*AWS_ENDPOINT_URL"):
        find_shards(["s3://many/set"])


def test_parse_url() -> None:
    local = Storage(root=str(Path.cwd()))
    assert parse_url("my images/x.png") == (local, "my images/x.png")
    storage, path = parse_url("hf://datasets/owner/name/data/")
    assert (storage, path) == (Storage("hf"), "datasets/owner/name/data")
    assert storage.get_url(path) == "hf://datasets/owner/name/data"


def test_hub_is_read_through_its_fsspec_file_system(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The Hub is unreachable in tests: another fsspec file system, of a folder, replaces it.
    pack(tmp_path / "datasets/o/n/data/0.parquet", {str(i): b"%d" % i for i in range(4)})
    (tmp_path / "datasets/o/n/README.md").write_text("no image")
    filesystem = fsspec.filesystem("dir", path=str(tmp_path), fs=fsspec.filesystem("file"))
    monkeypatch.setattr("huggingface_hub.HfFileSystem", lambda: filesystem)
    remote_module._connect.cache_clear()
    contents = {
        item.name: item.load()
        for shard in find_shards(["hf://datasets/o/n"])
        for item in shard.read()
    }
    remote_module._connect.cache_clear()
    assert contents == {f"hf://datasets/o/n/data/0.parquet/{i}": b"%d" % i for i in range(4)}


def test_hub_url_without_a_dataset_is_one_message() -> None:
    with pytest.raises(DataError, match=r"hf://datasets/owner can't be listed.*Check the URL"):
        find_shards(["hf://datasets/owner"])
    with pytest.raises(OSError, match="namespace/name"):
        Storage("hf").read("datasets/owner", 10)


def test_unreachable_hub_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class HttpError(Exception):  # like those of httpx, which are not OSErrors
        pass

    class Unreachable:
        def get_file_info(self, _: str) -> None:
            raise HttpError("no route to host")

        open_input_file = get_file_info

    monkeypatch.setattr(remote_module, "_connect", lambda _: Unreachable())
    with pytest.raises(DataError, match=r"hf://datasets/o/n can't be listed \(no route to host\)"):
        find_shards(["hf://datasets/o/n"])
    with pytest.raises(OSError, match="no route to host"):
        Storage("hf").read("datasets/o/n/a.png", 10)
