"""Program of the child process that parses C2PA manifests.

The parser is native code that reads untrusted files. On Linux, the process limits its own memory
and can't open or write files. The parent process limits the time
(:mod:`whichgen.evidence.content_credentials.manifest_client`). This file imports nothing from
whichgen, so that the process starts quickly.

The process reads requests from standard input and writes responses to standard output. Each of them
consists of a length in four bytes (big-endian) and JSON of this length. A request has the keys
``mime``, ``settings`` (JSON for the C2PA library) and ``bytes`` (length of the image file, which
follows the JSON). A response has the key ``error`` (error message of the C2PA library), the key
``failure`` (other reason why the manifest store can't be read), or the keys ``store`` (manifest
store) and ``exclusions`` (start and length of each part of the file that is excluded from the
content hash). The list ``exclusions`` is empty unless the library reports additional exclusions or
a mismatch of the hash.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any, BinaryIO

#: Limits of the process: virtual memory in bytes, and number of files that the process may open.
_MEMORY_BYTES = 2 << 30
_FILES = 0

#: Maximum length of a response in bytes.
_MAX_RESPONSE = 4_000_000


def _limit_resources() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        resource.RLIMIT_AS: _MEMORY_BYTES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _FILES,
    }
    for name, value in limits.items():
        try:
            resource.setrlimit(name, (value, value))
        except (OSError, ValueError):  # a lower limit is in force, or the limit is not supported
            continue


def _create_response(
    c2pa: Any, contexts: dict[str, Any], request: dict[str, Any], data: bytes
) -> dict[str, Any]:
    """Parse the manifest store of the image file ``data``, and return the response.

    The module docstring describes the keys of the response. ``contexts`` caches the context of c2pa
    for the settings of the last request.
    """
    settings = str(request["settings"])
    if settings not in contexts:
        contexts.clear()
        contexts[settings] = c2pa.Context.from_dict(json.loads(settings))
    with c2pa.Reader(str(request["mime"]), io.BytesIO(data), context=contexts[settings]) as reader:
        text = reader.json()
        store = json.loads(text)
        exclusions = []
        if "additionalExclusionsPresent" in text or "dataHash.mismatch" in text:
            exclusions = _list_exclusions(json.loads(reader.detailed_json()), store)
    return {"store": store, "exclusions": exclusions}


def _list_exclusions(detailed_store: dict[str, Any], store: dict[str, Any]) -> list[list[int]]:
    active = detailed_store["manifests"][store["active_manifest"]]
    return [
        [int(exclusion["start"]), int(exclusion["length"])]
        for label, assertion in active["assertion_store"].items()
        if label.startswith("c2pa.hash.data")
        for exclusion in assertion.get("exclusions") or ()
    ]


def _write(stream: BinaryIO, response: dict[str, Any]) -> None:
    body = json.dumps(response).encode()
    if len(body) > _MAX_RESPONSE:
        body = json.dumps({"failure": "manifest store too large"}).encode()
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()


def main() -> None:
    """Answer requests until standard input ends.

    If the C2PA library can't be loaded, write one response with the key ``failure``, and return.

    Raises
    ------
    MemoryError
        A manifest store can't be parsed within the memory limit.
    """
    source, target = sys.stdin.buffer, sys.stdout.buffer
    try:
        import c2pa
    except (ImportError, OSError) as error:
        _write(target, {"failure": f"c2pa can't be loaded ({error})"})
        return
    contexts: dict[str, Any] = {}
    _limit_resources()
    while head := source.read(4):
        request = json.loads(source.read(int.from_bytes(head, "big")))
        data = source.read(request["bytes"])
        try:
            response = _create_response(c2pa, contexts, request, data)
        except MemoryError:
            raise  # the parent process reports a crash and starts a new process
        except Exception as error:  # the library raises errors of many types for hostile stores
            response = {"error": f"{type(error).__name__}: {error}"[:300]}
        _write(target, response)


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])  # packages as in the parent process
    main()
