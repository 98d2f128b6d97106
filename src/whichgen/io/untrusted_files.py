"""Read untrusted files safely: only regular files of limited size, never pipes or devices."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path

from whichgen.errors import DataError

#: Maximum size in bytes of a text file: about ten times the size of a million annotation lines.
MAX_TEXT_BYTES = 2**30

#: Number of bytes that are examined to find the encoding of a text file.
_SAMPLE_BYTES = 1000

#: Minimum fraction of zeros among the high bytes of text in UTF-16 without a byte-order mark. Latin
#: letters and punctuation have a high byte of zero; names of files may contain other letters.
_ZERO_SHARE = 0.6

#: First bytes of a ZIP archive, such as an Excel workbook.
_ZIP = b"PK\x03\x04"


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file; symbolic links are followed.

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
    except ValueError:  # a NUL, or a character that the file system can't encode
        raise OSError(errno.EINVAL, "invalid file name", str(path)) from None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes / 2**20:g} MiB", str(path))
        return stream.read(status.st_size)  # ignore data that another process appends meanwhile


def read_text_file(
    path: Path, description: str, hint: str = "", *, has_file_names: bool = False
) -> str:
    """Read an untrusted text file of at most :data:`MAX_TEXT_BYTES` bytes.

    The encoding is UTF-8 or UTF-16, with or without a byte-order mark, which is removed.

    Parameters
    ----------
    path
        Path of the file.
    description
        Kind of file for error messages, such as ``annotation file``.
    hint
        Instruction that is appended to the error message if the file does not exist.
    has_file_names
        Whether the text contains file names, which may contain bytes that are not UTF-8. If the
        file contains no NUL byte, such bytes become surrogates, as in the paths that Python
        returns.

    Raises
    ------
    DataError
        The file is missing, unreadable or too large, is a ZIP archive or workbook, or is neither
        UTF-8 nor UTF-16 text.
    """
    try:
        content = read_regular_file(path, MAX_TEXT_BYTES)
        if content.startswith(_ZIP):
            raise DataError(
                f"{description} {path} is a workbook or an archive, not UTF-8 text. Save its "
                "content as UTF-8 text; in a spreadsheet program, choose CSV UTF-8."
            )
        any_bytes = has_file_names and b"\0" not in content
        text = content.decode(_find_encoding(content), "surrogateescape" if any_bytes else "strict")
    except FileNotFoundError:
        raise DataError(f"{description} {path} does not exist. {hint}".rstrip()) from None
    except OSError as error:
        advice = "Specify a regular file that you may read"
        if error.errno == errno.EFBIG:
            advice = "Use a smaller file"
        raise DataError(
            f"{description} {path} can't be read ({error.strerror}). {advice}."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{description} {path} is not UTF-8 text ({error}). Save it with UTF-8 encoding."
        ) from None
    return text


def _find_encoding(content: bytes) -> str:
    """Return the name of the encoding of a text, for :meth:`bytes.decode`."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # In most text in UTF-16, every other byte is zero.
    start = content[:_SAMPLE_BYTES]
    for encoding, high, low in (
        ("utf-16-le", start[1::2], start[::2]),
        ("utf-16-be", start[::2], start[1::2]),
    ):
        if high and high.count(0) >= _ZERO_SHARE * len(high) and 0 not in low:
            return encoding
    return "utf-8-sig"
