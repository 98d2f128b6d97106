"""Read untrusted files without blocking on pipes or devices."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from whichgen.errors import DataError

#: Largest size in bytes of a text file; a million annotation lines take a tenth of it.
MAX_TEXT_BYTES = 2**30


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file; symbolic links are followed.

    Parameters
    ----------
    path
        Path of the file.
    max_bytes
        Maximum file size in bytes; larger files are not read.

    Raises
    ------
    OSError
        The file is missing, unreadable or too large; its name is invalid; or it is a pipe, device
        or folder.
    """
    # Without O_NONBLOCK, opening a pipe that has no writer would block forever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # a NUL, or a character that the file system cannot encode
        raise OSError(errno.EINVAL, "invalid file name", str(path)) from None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes / 2**20:g} MiB", str(path))
        return stream.read(status.st_size)  # ignore what is appended meanwhile


def read_text_file(path: Path, description: str, hint: str = "") -> str:
    """Read an untrusted UTF-8 text file of at most :data:`MAX_TEXT_BYTES` bytes.

    A byte-order mark is removed. UTF-16 with a byte-order mark, as Excel writes it, is read, too.

    Parameters
    ----------
    path
        Path of the file.
    description
        Kind of file for error messages, such as ``annotation file``.
    hint
        Instruction appended to the error message if the file does not exist.

    Raises
    ------
    DataError
        The file is missing, unreadable, too large or not UTF-8.
    """
    try:
        content = read_regular_file(path, MAX_TEXT_BYTES)
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{description} {path} does not exist. {hint}".rstrip()) from None
    except OSError as error:
        raise DataError(
            f"{description} {path} can't be read ({error.strerror}). Check the file."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{description} {path} is not UTF-8 text ({error}). Save it with UTF-8 encoding."
        ) from None


def iterate_pairs(text: str, file: str, columns: tuple[str, str]) -> Iterator[tuple[int, str, str]]:
    """Yield line number and both values of each line ``value<TAB>value`` that is not blank.

    Parameters
    ----------
    text
        Content of the file.
    file, columns
        Names of the file and of the two values, for error messages.

    Raises
    ------
    DataError
        A line lacks the tab or a value.
    """
    first, second = columns
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        left, _, right = (part.strip() for part in line.partition("\t"))
        if not left or not right:
            raise DataError(
                f"{file}, line {number}: expected `{first}<TAB>{second}`, got {line[:120]!r}. "
                f"Separate {first} and {second} by one tab."
            )
        yield number, left, right
