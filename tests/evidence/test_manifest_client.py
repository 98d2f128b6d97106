"""The parser of manifests in its own process: limits, crashes, threads, forks."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from whichgen.evidence.collect import collect
from whichgen.evidence.content_credentials import manifest_client
from whichgen.evidence.content_credentials.manifest_client import (
    ManifestError,
    read_manifest_store,
)

from .conftest import SOURCE, Sign, encode

ACTIONS = [{"action": "c2pa.created", "digitalSourceType": f"{SOURCE}digitalCapture"}]


@pytest.fixture
def signed(sign: Sign) -> bytes:
    return sign(encode("JPEG"), "image/jpeg", actions=ACTIONS)


@pytest.fixture
def stop_idle() -> None:
    """Let the next file start a new process."""
    manifest_client._stop_idle()


def use_worker(monkeypatch: pytest.MonkeyPatch, path: Path, code: str) -> None:
    path.write_text(code, encoding="utf-8")
    monkeypatch.setattr(manifest_client, "_WORKER", path)


def idle_processes() -> list[int]:
    return [process.pid for process in manifest_client._idle[os.getpid()]]


def test_process_is_kept_for_later_files(signed: bytes, stop_idle: None) -> None:
    read_manifest_store(signed, "image/jpeg")
    first = idle_processes()
    with pytest.raises(ManifestError):
        read_manifest_store(encode("JPEG"), "image/jpeg")  # no manifest is no reason to stop
    assert read_manifest_store(signed, "image/jpeg").store["validation_state"] == "Valid"
    assert idle_processes() == first
    assert len(first) == 1


@pytest.mark.usefixtures("stop_idle")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import time; time.sleep(60)", "took more than 1 seconds"),
        ("import os; os.abort()", "crashed"),
        (
            "import sys; sys.stdin.buffer.read(9); sys.stdout.buffer.write(b'\\0\\0\\0\\4{')",
            "crashed",
        ),
        (
            "import sys; sys.stdin.buffer.read(9)\n"
            "while True: sys.stdout.buffer.write(b'\\xff' * 99999)",
            "took more than 1 seconds|crashed",
        ),
    ],
    ids=["hangs", "aborts", "partial", "floods"],
)
def test_failing_process_is_replaced(
    code: str, message: str, signed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        use_worker(patch, tmp_path / "worker.py", code)
        start = time.monotonic()
        with pytest.raises(ManifestError, match=message):
            read_manifest_store(signed, "image/jpeg", timeout=1)
        assert time.monotonic() - start < 5
    assert idle_processes() == []
    assert read_manifest_store(signed, "image/jpeg").store["validation_state"] == "Valid"


def test_only_a_file_with_a_manifest_starts_a_process(
    signed: bytes, stop_idle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert not collect(encode("PNG")).notes
    (note,) = collect(signed).notes
    assert note == "Content Credentials can't be read (Resource temporarily unavailable)"


def test_killed_idle_process_is_replaced(signed: bytes, stop_idle: None) -> None:
    manifest_client.start_process()
    (process,) = manifest_client._idle[os.getpid()]
    process.kill()
    process.wait()
    assert read_manifest_store(signed, "image/jpeg").store["validation_state"] == "Valid"


def test_crash_leaves_a_finding(
    signed: bytes, stop_idle: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(monkeypatch, tmp_path / "worker.py", "import os; os.abort()")
    finding = collect(signed).findings[0]
    assert finding.title.endswith(": not checked")
    assert (finding.detail, finding.indicates) == ("the parser crashed", "neutral")


def test_file_without_parser_is_not_called_malformed(
    signed: bytes, stop_idle: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = signed.index(b"jumd")
    finding = collect(encode("BMP") + signed[start : start + 50]).findings[0]
    assert finding.title.endswith(": not checked")
    manifest_client._stop_idle()
    response = b'{"failure": "c2pa can\'t be loaded (reason)"}'
    answer = len(response).to_bytes(4) + response
    code = f"import sys; sys.stdin.buffer.read(9); sys.stdout.buffer.write({answer!r})"
    use_worker(monkeypatch, tmp_path / "worker.py", code)
    finding = collect(signed).findings[0]
    assert finding.title.endswith(": not checked")
    assert finding.detail == "c2pa can't be loaded (reason)"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_memory_files_and_network_are_limited(
    signed: bytes, stop_idle: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real program, with a library that tries what the real one must not do."""
    library = tmp_path / "c2pa.py"
    library.write_text(
        "import socket\n"
        "class Context:\n"
        "    from_dict = staticmethod(dict)\n"
        "def Reader(mime, stream, context):\n"
        "    attempts = [lambda: bytearray(3 << 30), lambda: open('/etc/passwd'), socket.socket]\n"
        "    names = []\n"
        "    for attempt in attempts:\n"
        "        try: attempt()\n"
        "        except (OSError, MemoryError) as error: names.append(type(error).__name__)\n"
        "    raise ValueError(' '.join(names))\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ManifestError, match="ValueError: MemoryError OSError OSError"):
        read_manifest_store(signed, "image/jpeg")
    manifest_client._stop_idle()


def test_threads_use_processes_of_their_own(signed: bytes, stop_idle: None) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: read_manifest_store(signed, "image/jpeg"), range(24)))
    assert {store.store["validation_state"] for store in stores} == {"Valid"}
    assert len(idle_processes()) <= manifest_client._MAX_IDLE


def _read_state(data: bytes) -> str:
    return str(read_manifest_store(data, "image/jpeg").store["validation_state"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_process_starts_its_own(signed: bytes) -> None:
    assert _read_state(signed) == "Valid"  # the parent has an idle process
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_read_state, [signed] * 6) == ["Valid"] * 6
    assert _read_state(signed) == "Valid"


def test_processes_end_with_their_parent(signed: bytes, tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(signed)
    code = (
        "import os, pathlib, sys\n"
        "from whichgen.evidence.content_credentials import manifest_client as m\n"
        "m.read_manifest_store(pathlib.Path(sys.argv[1]).read_bytes(), 'image/jpeg')\n"
        "print(m._idle[os.getpid()][0].pid)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(image)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    pid = int(result.stdout)
    deadline = time.monotonic() + 5
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
