"""Where files lie: this machine's disk, an S3-compatible store, the Hugging Face hub.

``s3://bucket/prefix`` takes its credentials from where all programs look for them
(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ``~/.aws``, the machine's role); AWS_ENDPOINT_URL
names another store than Amazon's. ``hf://datasets/owner/name/folder`` takes HF_TOKEN, where a data
set is not public.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from whichgen.data.dataset import list_files, natural_key
from whichgen.data.reading import read_bytes
from whichgen.errors import DataError, ImageError

#: Larger image files are refused unread: what is read is held in memory, several at a time.
MAX_BYTES = 256 << 20

S3, HUB = "s3", "hf"


@dataclass(frozen=True)
class Place:
    """A file system.

    Parameters
    ----------
    scheme
        ``s3``, ``hf``, or nothing: this machine's disk.
    endpoint, region
        Of an S3-compatible store; empty: Amazon's own, and the region that the environment says.
    root
        Of this machine's disk: the folder from which paths go, as workers have one of their own.
    """

    scheme: str = ""
    endpoint: str = ""
    region: str = ""
    root: str = ""

    def address(self, path: str) -> str:
        """What a file is called outside."""
        return f"{self.scheme}://{path}" if self.scheme else path

    def files(self, path: str, suffixes: Collection[str]) -> list[str] | None:
        """The file, or all files of these suffixes below the folder; ``None``: there is neither.

        Raises
        ------
        DataError
            The place can't be reached, or does not let us in.
        """
        if not self.scheme:
            here = self._here(path)
            if here.is_dir():
                found = list_files(here, suffixes)
                return [str(Path(path) / file.relative_to(here)) for file in found]
            return [path] if here.exists() else None
        with self._reached(path):
            filesystem = _open(self)
            info = filesystem.get_file_info(path)
            if info.type == pafs.FileType.NotFound:
                return None
            if info.type == pafs.FileType.File:
                return [path]
            below = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
        start = path.rstrip("/").count("/") + 1
        names = [
            file.path.split("/")
            for file in below
            if file.type == pafs.FileType.File and f".{file.extension.lower()}" in suffixes
        ]
        shown = [n for n in names if not any(part.startswith(".") for part in n[start:])]
        return ["/".join(n) for n in sorted(shown, key=lambda n: [natural_key(p) for p in n])]

    def read(self, path: str) -> bytes:
        """A whole image file, or :class:`~whichgen.errors.ImageError`."""
        name = self.address(path)
        if not self.scheme:
            file = self._here(path)
            if file.is_file():
                check_file_size(file.stat().st_size, name)
            return read_bytes(file, name)
        try:
            with _open(self).open_input_stream(path) as stream:
                data: bytes = stream.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise ImageError(f"{name}: no such file") from None
        except OSError as error:
            raise ImageError(f"{name}: can't be read ({error})") from None
        check_file_size(len(data), name)
        return data

    def open(self, path: str, *, anywhere: bool = False) -> Any:
        """A file to read from its beginning on, or ``anywhere``; OSError if it can't be."""
        if not self.scheme:
            return self._here(path).open("rb")
        filesystem = _open(self)
        return filesystem.open_input_file(path) if anywhere else filesystem.open_input_stream(path)

    def _here(self, path: str) -> Path:
        return Path(self.root) / path

    @contextmanager
    def _reached(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f" at {self.endpoint}" if self.endpoint else ""
            need = (
                "Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws or the "
                "machine's role, the address of another store than Amazon's from AWS_ENDPOINT_URL."
                if self.scheme == S3
                else "A data set that is not public needs HF_TOKEN."
            )
            raise DataError(
                f"{self.address(path)}{where} can't be listed ({error}). {need}"
            ) from None


def parse_url(address: str) -> tuple[Place, str]:
    """``s3://bucket/prefix`` → its place, and the path in it; without a scheme: a path here."""
    scheme, colon, path = address.partition("://")
    if not colon:
        return Place(root=str(Path.cwd())), address
    if scheme not in (S3, HUB):
        raise DataError(f"{address}: of addresses, s3://… and hf://… can be read.")
    path = path.strip("/")
    if not path:
        raise DataError(f"{address} names no {'bucket' if scheme == S3 else 'data set'}.")
    if scheme == HUB:
        return Place(HUB), path
    environment = os.environ
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION", "")
    return Place(S3, endpoint, region), path


def check_file_size(size: int, name: str) -> None:
    """:class:`~whichgen.errors.ImageError` where a file is larger than :data:`MAX_BYTES`."""
    if size > MAX_BYTES:
        raise ImageError(f"{name}: {size} bytes or more, over the limit of {MAX_BYTES >> 20} MiB")


@lru_cache
def _open(place: Place) -> Any:
    """The file system; made in the process that reads, as none can be sent to another."""
    if place.scheme == S3:
        options = {"endpoint_override": place.endpoint, "region": place.region}
        return pafs.S3FileSystem(**{name: value for name, value in options.items() if value})
    from huggingface_hub import HfFileSystem

    return pafs.PyFileSystem(pafs.FSSpecHandler(HfFileSystem()))
