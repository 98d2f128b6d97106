"""Read a trust list: PEM certificates of trusted authorities for C2PA signers."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from pathlib import Path

from whichgen.errors import DataError
from whichgen.io.untrusted_files import read_regular_file

#: Maximum size of a trust list in bytes. The trust list of the C2PA has about 100 kB.
_MAX_BYTES = 4 * 2**20

_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"
)


def read_trust_list(path: Path) -> str:
    """Read the certificates of a PEM file and return them as PEM; other text is omitted.

    Raises
    ------
    DataError
        The file can't be read, is too large, contains no certificate, or a certificate is damaged.
    """
    try:
        content = read_regular_file(path, _MAX_BYTES)
    except OSError as error:
        raise DataError(
            f"{path}: can't be read ({error.strerror}). Pass a readable PEM file of at most 4 MiB."
        ) from None
    bodies = _CERTIFICATE.findall(content.decode("latin-1"))
    if not bodies:
        raise DataError(f"{path}: no certificate found; pass a file of PEM certificates")
    for number, body in enumerate(bodies, start=1):
        if not _is_sequence(body):
            raise DataError(f"{path}: certificate {number} is damaged; replace or remove it")
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{body.strip()}\n-----END CERTIFICATE-----\n"
        for body in bodies
    )


def _is_sequence(body: str) -> bool:
    """Return whether a PEM body is a single DER sequence with a correct length."""
    try:
        der = b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(der) < 4 or der[0] != 0x30 or not 0x81 <= der[1] <= 0x83:
        return False
    octets = der[1] - 0x80
    return len(der) == 2 + octets + int.from_bytes(der[2 : 2 + octets], "big")
