"""Collect the metadata of a run for reproducibility, get timestamps, and compute digests."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from whichgen.errors import DataError
from whichgen.version import __version__

#: Libraries whose versions can change results.
_LIBRARIES = ("numpy", "scikit-learn", "torch", "transformers", "faiss-cpu", "pillow")


def collect_run_metadata(
    config: Mapping[str, Any],
    *,
    seeds: Mapping[str, int],
    encoder: Mapping[str, Any],
    data_hash: str,
) -> dict[str, Any]:
    """Collect the metadata of a run: its arguments, software versions, machine and time.

    Parameters
    ----------
    config
        Options of the run.
    seeds
        Random seeds by name.
    encoder
        Description of the encoder (:meth:`whichgen.encoders.encoder.Encoder.describe`).
    data_hash
        Digest of the dataset or of the input images.

    Returns
    -------
    dict
        The parameters by name, and ``whichgen`` (its version), ``libraries`` (name to version),
        ``python`` (its version), ``machine`` (operating system and processor architecture),
        ``command`` (the command line) and ``time`` (:func:`get_timestamp`).

    Raises
    ------
    DataError
        The environment variable ``SOURCE_DATE_EPOCH`` is not a valid time.
    """
    return {
        "config": dict(config),
        "seeds": dict(seeds),
        "encoder": dict(encoder),
        "data_hash": data_hash,
        "whichgen": __version__,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "command": " ".join(sys.argv),
        "time": get_timestamp(),
    }


def get_timestamp() -> str:
    """Return the current UTC time in ISO 8601 format, with a resolution of one second.

    If the environment variable ``SOURCE_DATE_EPOCH`` is set (in Unix seconds), return its time
    instead, for reproducible result files; see
    https://reproducible-builds.org/docs/source-date-epoch/.

    Raises
    ------
    DataError
        ``SOURCE_DATE_EPOCH`` is not a valid time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        time = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
        return time.isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        raise DataError(
            f"SOURCE_DATE_EPOCH {epoch!r} is not a valid time. Set the environment variable to "
            "Unix seconds, such as 1700000000, or unset it."
        ) from None


def hash_parts(parts: Iterable[str | bytes]) -> str:
    """Return the 128-bit BLAKE2b digest of strings or bytes: 32 hexadecimal digits.

    Strings are encoded as UTF-8. They may contain lone surrogates, from file names that are not
    UTF-8. The length of each part is hashed, too, so that ``("ab",)`` and ``("a", "b")`` have
    different digests.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
