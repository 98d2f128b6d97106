"""``whichgen serve`` in a separate process."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from PIL import Image

from .conftest import Site, whichgen


@contextmanager
def serving(*arguments: object, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a service; yield its address and process."""
    program = "import sys; from whichgen.cli.app import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr
    try:
        message = ""
        for line in process.stderr:
            message += line
            if address := re.search(r"http://\S+/", line):
                yield address.group(), process
                break
        else:
            pytest.fail(f"it did not start: {message}")
    finally:
        process.kill()
        process.wait()


def get(address: str, **headers: str) -> dict[str, object]:
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        value: dict[str, object] = json.load(answer)
    return value


def test_serve_prints_its_address_and_stops_on_ctrl_c(site: Site) -> None:
    with serving("-m", site.run, "--port", 0, "--device", "cpu", WHICHGEN_API_KEY="secret") as (
        address,
        process,
    ):
        assert get(address + "health")["status"] == "ok"
        model = get(address + "model", **{"X-API-Key": "secret"})
        assert model["origins"] == ["real", "gan", "vae"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(address + "model")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr and "Stopped." in process.stderr.read()


def test_port_in_use_is_reported(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = whichgen("serve", "-m", site.run, "--port", port, "--device", "cpu")
    assert result.code == 1
    assert f"can't listen on 127.0.0.1:{port}" in result.message
    assert "--port" in result.message


def test_a_missing_extra_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = whichgen("serve", "-m", site.run)
    assert result.code == 1
    assert (
        "uvicorn is not installed. Install it with: pip install 'whichgen[serve]'" in result.message
    )


def test_limits_must_be_positive(site: Site) -> None:
    assert whichgen("serve", "-m", site.run, "--queue-size", 0).code == 2
    result = whichgen("serve", "-m", site.folder / "nothing", "--port", 0)
    assert result.code == 1 and "no model found" in result.message


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_accepted_requests_are_answered_on_shutdown(site: Site, stop: signal.Signals) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1500, 1500), "green").save(buffer, "JPEG")
    with serving("-m", site.run, "--port", 0, "--device", "cpu", "--batch-size", 1) as (
        address,
        process,
    ):

        def post_images(number: int) -> int:
            # Appended bytes make each file different.
            files = [
                ("images", ("a.jpg", buffer.getvalue() + bytes([number, i]))) for i in range(8)
            ]
            return httpx.post(address + "attribute", files=files, timeout=60).status_code

        def count_accepted() -> float:
            """Count queued and answered images; one more can be in progress."""
            metrics = httpx.get(address + "metrics").text
            names = "whichgen_waiting_images|whichgen_batch_images_sum"
            return sum(float(n) for n in re.findall(rf"^(?:{names}) (\S+)$", metrics, re.MULTILINE))

        with ThreadPoolExecutor(12) as pool:
            requests = [pool.submit(post_images, i) for i in range(12)]
            # Wait until all are accepted: shutdown closes connections without a request.
            until = time.monotonic() + 60
            while count_accepted() < 8 * 12 - 1:
                assert time.monotonic() < until
                time.sleep(0.01)
            process.send_signal(stop)
            assert [one.result() for one in requests] == [200] * 12
        assert process.wait(30) == 0
        assert process.stderr and "Stopped." in process.stderr.read()
