"""Tar and Parquet archives: images in order, and nothing else from hostile archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import whichgen.data.shards.archives as archives_module
from whichgen.data.shards.archives import find_image_column
from whichgen.data.shards.find_shards import Archive, Shard
from whichgen.errors import DataError, ImageError
from whichgen.io.remote import Storage

Pack = Callable[..., Path]


class Memory(Storage):
    """A storage whose files all have the same content."""

    def __init__(self, content: bytes) -> None:
        object.__setattr__(self, "content", content)

    def url(self, path: str) -> str:
        return path

    def open(self, path: str) -> io.BytesIO:
        return io.BytesIO(self.content)  # type: ignore[attr-defined]


def read_items(shard: Shard) -> list[tuple[str, bytes | ImageError]]:
    """The names of a shard's images with their content, or the error of reading it."""
    items: list[tuple[str, bytes | ImageError]] = []
    for item in shard.read():
        try:
            items.append((item.name, item.load()))
        except ImageError as error:
            items.append((item.name, error))
    return items


def members(content: bytes) -> list[tuple[str, bytes | ImageError]]:
    """The images of a tar's content."""
    return read_items(Archive(Memory(content), "a.tar"))


def tar_of(*parts: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar of members as they are given."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member, data in parts:
            member.size = member.size or len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A member's header."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_tar_yields_its_images_in_order(tmp_path: Path, pack: Pack) -> None:
    contents = {f"{i:03d}.{ext}": f"{i}{ext}".encode() for i in range(4) for ext in ("jpg", "json")}
    contents |= {"deep/ü x.PNG": b"png", "._000.jpg": b"of a Mac", "deep/": b"", "none.jpg": b""}
    file = pack(tmp_path / "a.tar", contents)
    items = dict(members(file.read_bytes()))
    assert list(items) == [
        *(f"a.tar/{i:03d}.jpg" for i in range(4)),
        *("a.tar/deep/ü x.PNG", "a.tar/none.jpg"),
    ]
    assert items["a.tar/002.jpg"] == b"2jpg"


def test_repeated_member_names_are_numbered() -> None:
    items = members(tar_of(*((member("x.png"), bytes([65 + i])) for i in range(3))))
    assert items == [("a.tar/x.png", b"A"), ("a.tar/x.png#2", b"B"), ("a.tar/x.png#3", b"C")]


def test_untrusted_member_names_are_only_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.png").write_bytes(b"secret")
    outside = str(tmp_path / "absolute.png")
    content = tar_of(
        (member("../../up.png"), b"up"),
        (member(outside), b"absolute"),
        (member("link.png", tarfile.SYMTYPE, str(tmp_path / "secret.png")), b""),
        (member("hard.png", tarfile.LNKTYPE, "secret.png"), b""),
        (member("device.png", tarfile.CHRTYPE), b""),
        (member("pipe.png", tarfile.FIFOTYPE), b""),
        (member("folder.png", tarfile.DIRTYPE), b""),
        (member("last.png"), b"last"),
    )
    items = members(content)
    assert items == [
        ("a.tar/../../up.png", b"up"),
        (f"a.tar/{outside}", b"absolute"),
        ("a.tar/last.png", b"last"),
    ]
    assert [f.name for f in tmp_path.iterdir()] == ["secret.png"]


def test_oversized_members_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives_module, "MAX_IMAGE_BYTES", 1000)
    items = members(tar_of((member("big.png"), b"x" * 1001), (member("small.png"), b"x" * 1000)))
    assert isinstance(items[0][1], ImageError)
    assert "a.tar/big.png: the image has 1001 bytes; the limit" in str(items[0][1])
    assert items[1] == ("a.tar/small.png", b"x" * 1000)
    # It says that it is a terabyte, and there is nothing behind it.
    claims = member("bomb.png")
    claims.size = 1 << 40
    items = members(claims.tobuf())
    assert [name for name, _ in items] == ["a.tar/bomb.png", "a.tar"]
    assert all(isinstance(error, ImageError) for _, error in items)


def test_oversized_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives_module, "_MAX_HEADER", 2000)
    long = member("x" * 1500 + ".png")
    (name, _), (last, data) = members(tar_of((long, b"1"), (member("y.png"), b"2")))
    assert name == f"a.tar/{long.name}"
    assert (last, data) == ("a.tar/y.png", b"2")
    ((name, error),) = members(tar_of((member("x" * 3000 + ".png"), b"1")))
    assert name == "a.tar"
    assert "can't be read to the end (a tar header has" in str(error)


WHOLE = tar_of(*((member(f"{i}.png"), bytes([i]) * 700) for i in range(4)))


@given(st.integers(0, 4 * 1536))
def test_truncated_tar_gives_complete_members_and_an_error(cut: int) -> None:
    *items, (name, error) = members(WHOLE[:cut])
    assert [data for _, data in items] == [bytes([i]) * 700 for i in range(len(items))]
    # A member is a header and two blocks; its filling need not be there.
    assert len(items) in (cut // 1536, (cut + 324) // 1536)
    assert name == "a.tar"
    assert "can't be read to the end" in str(error)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_damaged_tar_always_reports_an_error(place: int, flip: int) -> None:
    content = bytearray(WHOLE)
    content[place] ^= flip
    items = members(bytes(content))
    ends_badly = isinstance(items[-1][1], ImageError) if items else True
    assert ends_badly or len(items) == 4 or place > 4 * 1536


def parquet(table: pa.Table) -> bytes:
    """The content of a Parquet file."""
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=2)
    return stream.getvalue()


BYTES = pa.binary()
HUB = pa.struct({"bytes": BYTES, "path": pa.string()})


@pytest.mark.parametrize(
    ("fields", "choice", "column"),
    [
        ({"image": HUB, "label": pa.int64()}, "", "image.bytes"),
        ({"picture": BYTES}, "", "picture"),
        ({"picture": pa.large_binary(), "text": pa.string()}, "", "picture"),
        ({"mask": BYTES, "image": BYTES}, "", "image"),
        ({"mask": BYTES, "image": BYTES}, "mask", "mask"),
        ({"a": HUB, "b": BYTES}, "a", "a.bytes"),
    ],
)
def test_image_column_is_detected_or_named(
    fields: dict[str, pa.DataType], choice: str, column: str
) -> None:
    assert find_image_column(pa.schema(fields.items()), "a.parquet", choice) == column


@pytest.mark.parametrize(
    ("fields", "choice", "message"),
    [
        ({"a": BYTES, "b": BYTES}, "", r"several binary columns: a, b\..*column"),
        ({"text": pa.string()}, "", r"has no binary column\. Store"),
        (
            {"a": BYTES, "text": pa.string()},
            "text",
            r"no binary column 'text'. Choose from a\.",
        ),
    ],
)
def test_ambiguous_column_is_an_error(
    fields: dict[str, pa.DataType], choice: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_image_column(pa.schema(fields.items()), "a.parquet", choice)


@pytest.mark.parametrize("column", ["image.bytes", "plain"])
def test_rows_keep_their_numbers_and_unusable_rows_are_errors(
    column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives_module, "MAX_IMAGE_BYTES", 9)
    plain = [b"0", b"1", None, b"", b"4" * 10, b"5"]
    struct = [*({"bytes": data, "path": "x.png"} for data in plain[:2]), None]
    struct += [{"bytes": data, "path": "x.png"} for data in plain[3:]]
    table = pa.table({"plain": pa.array(plain, BYTES), "image": pa.array(struct, HUB)})
    items = read_items(Archive(Memory(parquet(table)), "a", 4, column, (1, 2), 2))
    assert [name for name, _ in items] == ["a/2", "a/3", "a/4", "a/5"]
    assert [str(error) for _, error in items[:2]] == [
        f"a/{row}: the row has no image" for row in (2, 3)
    ]
    assert "the image has 10 bytes; the limit" in str(items[2][1])
    assert items[3][1] == b"5"


def test_damaged_rows_end_with_an_error() -> None:
    content = bytearray(parquet(pa.table({"image": [bytes([i]) * 5000 for i in range(4)]})))
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 4)
    items = read_items(Archive(Memory(bytes(content)), "a", 4, "image", (0, 1)))
    name, error = items[-1]
    assert isinstance(error, ImageError) or name == "a/3"
