"""List and read files on the local disk, in an S3-compatible store or on the Hugging Face hub.

URLs of the form ``s3://bucket/prefix`` use the standard AWS credentials: the environment variables
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the folder ``~/.aws``, or the IAM role of the machine.
The environment variable AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL selects another S3-compatible
store. URLs of the form ``hf://datasets/owner/name/folder`` of private datasets require the
environment variable HF_TOKEN or a login with ``hf auth login``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.fs as pafs

from whichgen.errors import DataError, get_first_line
from whichgen.io.folder_listing import (
    DescribeOthers,
    is_system_path,
    list_files,
    select_paths,
    warn_skipped_paths,
)
from whichgen.io.untrusted_files import read_regular_file

#: Advice for each URL scheme if the store can't be listed.
_ADVICE = {
    "s3": "Check the URL, the network and your AWS credentials. Set AWS_ENDPOINT_URL for other "
    "S3-compatible stores.",
    "hf": "Check the URL and the network. If the dataset is private, set HF_TOKEN or log in with "
    "`hf auth login`.",
}


@dataclass(frozen=True)
class Storage:
    """The local disk or a remote store.

    A storage can be pickled to send it to cluster workers.

    Parameters
    ----------
    scheme
        ``s3``, ``hf``, or empty for the local disk.
    endpoint, region
        Endpoint URL and region of an S3-compatible store; empty for the AWS defaults.
    root
        Base folder of relative local paths.
    """

    scheme: str = ""
    endpoint: str = ""
    region: str = ""
    root: str = ""

    def get_url(self, path: str) -> str:
        """Return the URL of a file, or its path if the file is on the local disk."""
        return f"{self.scheme}://{path}" if self.scheme else path

    def list_files(
        self, path: str, suffixes: Collection[str], describe_others: DescribeOthers
    ) -> list[str] | None:
        """List the files in a folder and its subfolders that have one of the suffixes.

        Hidden and system files are omitted. If ``path`` is a file, only this file is listed, and
        its suffix does not matter.

        Parameters
        ----------
        path
            A folder or a file of this store.
        suffixes
            Lowercase suffixes with their dots; the comparison is case-insensitive.
        describe_others
            Function that returns the part of the warning about the files that have none of the
            suffixes.

        Returns
        -------
        list of str, or None
            Paths in natural order; ``None`` if ``path`` does not exist.

        Raises
        ------
        DataError
            The URL is invalid, or the remote store can't be reached or denies access.

        Warns
        -----
        WhichgenWarning
            Paths in a local folder are skipped (:func:`~whichgen.io.folder_listing.list_files`), or
            ``describe_others`` returns a description.
        """
        if not self.scheme:
            local = Path(self.root) / path
            if local.is_dir():
                files = list_files(local, suffixes, describe_others)
                return [str(Path(path) / file.relative_to(local)) for file in files]
            return [path] if local.exists() else None
        try:
            filesystem = _connect(self)
            info = filesystem.get_file_info(path)
            if info.type != pafs.FileType.Directory:
                return [path] if info.type == pafs.FileType.File else None
            entries = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
        except Exception as error:  # errors of the hub's HTTP library are not OSErrors
            location = f" at {self.endpoint}" if self.endpoint else ""
            raise DataError(
                f"{self.get_url(path)}{location} can't be listed ({get_first_line(error)}). "
                f"{_ADVICE[self.scheme]}"
            ) from None
        names = {
            PurePosixPath(entry.path).relative_to(path): entry.path
            for entry in entries
            if entry.type == pafs.FileType.File
        }
        others = [p for p in names if p.suffix.lower() not in suffixes and not is_system_path(p)]
        warn_skipped_paths(self.get_url(path), (), describe_others(others) if others else "")
        return [names[name] for name in select_paths(names, suffixes)]

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return the content of a file.

        Parameters
        ----------
        path
            Path of the file in this store.
        max_bytes
            Maximum file size in bytes.

        Raises
        ------
        OSError
            The file is missing, unreadable, too large or not a regular file, its URL is invalid, or
            the store can't be reached.
        """
        if not self.scheme:
            return read_regular_file(Path(self.root) / path, max_bytes)
        with _convert_errors(path), self.open(path) as stream:
            data: bytes = stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes / 2**20:g} MiB", path)
        return data

    def open(self, path: str) -> Any:
        """Open the file ``path`` of this store in binary mode, and return a seekable stream.

        Raises
        ------
        OSError
            The file is missing or unreadable, its URL is invalid, or the store can't be reached.
        """
        if not self.scheme:
            return (Path(self.root) / path).open("rb")
        with _convert_errors(path):
            return _connect(self).open_input_file(path)


def parse_url(url: str) -> tuple[Storage, str]:
    """Return the storage of a URL or local path, and the path within this storage.

    Relative local paths refer to the current working directory. The endpoint and region of an
    S3-compatible store are read from the AWS environment variables.

    Parameters
    ----------
    url
        ``s3://BUCKET/PREFIX``, ``hf://datasets/OWNER/NAME`` or a local path.

    Raises
    ------
    DataError
        The scheme of the URL is neither ``s3`` nor ``hf``, or the path after it is empty.
    """
    scheme, colon, path = url.partition("://")
    if not colon:
        return Storage(root=str(Path.cwd())), url
    path = path.strip("/")
    if scheme not in _ADVICE or not path:
        raise DataError(
            f"URL {url} is invalid. Use s3://BUCKET/PREFIX, hf://datasets/OWNER/NAME or a local "
            "path."
        )
    if scheme == "hf":
        return Storage("hf"), path
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
    return Storage("s3", endpoint, region), path


@contextmanager
def _convert_errors(path: str) -> Iterator[None]:
    """Convert all errors that a remote store raises for a file to :class:`OSError`."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # huggingface_hub raises ValueError and its HTTP library's errors
        raise OSError(errno.EIO, get_first_line(error), path) from None


@lru_cache
def _connect(storage: Storage) -> Any:
    """Return the pyarrow file system of a remote store, cached per process."""
    if storage.scheme == "s3":
        endpoint, region = storage.endpoint or None, storage.region or None
        return pafs.S3FileSystem(endpoint_override=endpoint, region=region)
    from huggingface_hub import HfFileSystem

    return pafs.PyFileSystem(pafs.FSSpecHandler(HfFileSystem()))
