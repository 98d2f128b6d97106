"""``whichgen serve``, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .conftest import Site, whichgen


@contextmanager
def serving(*arguments: object, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A running service: its address, and the process."""
    program = "import sys; from whichgen.cli.app import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := re.search(r"http://\S+/", line):
                yield found.group(), process
                break
        else:
            pytest.fail(f"it did not start: {said}")
    finally:
        process.kill()
        process.wait()


def get(address: str, **headers: str) -> dict[str, object]:
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_it_says_where_it_is_answers_and_stops_on_ctrl_c(site: Site) -> None:
    with serving(site.run, "--port", 0, "--device", "cpu", WHICHGEN_API_KEY="secret") as (
        address,
        process,
    ):
        assert get(address + "health")["status"] == "ok"
        described = get(address + "model", **{"X-API-Key": "secret"})
        assert described["origins"] == ["real", "gan", "vae"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(address + "model")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr and "has stopped" in process.stderr.read()


def test_a_port_in_use_is_one_message(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = whichgen("serve", site.run, "--port", port, "--device", "cpu")
    assert done.code == 1
    assert f"127.0.0.1:{port} can't be listened on" in done.message
    assert "--port" in done.message


def test_what_is_not_installed_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = whichgen("serve", site.run)
    assert done.code == 1
    assert "uvicorn is not installed: pip install 'whichgen[serve]'" in done.message


def test_limits_that_allow_nothing_are_refused(site: Site) -> None:
    assert whichgen("serve", site.run, "--queue", 0).code == 2
    done = whichgen("serve", site.folder / "nothing", "--port", 0)
    assert done.code == 1 and "holds no model" in done.message
