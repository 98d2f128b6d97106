"""What made a result: every file of results carries this record."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from whichgen.version import __version__

_LIBRARIES = ("numpy", "scikit-learn", "torch", "transformers", "faiss-cpu", "pillow")


def provenance(
    config: Mapping[str, Any],
    *,
    seeds: Mapping[str, int],
    encoder: Mapping[str, Any],
    data_hash: str,
) -> dict[str, Any]:
    """The record kept with a result: config, seeds, encoder, data, versions, machine, UTC time."""
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
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """A 128-bit hex digest of a sequence; each part is framed, so that ("ab",) ≠ ("a", "b")."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
