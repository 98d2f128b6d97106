"""Without a connection to the hub, downloads fail at once instead of after five retries."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from threading import Event

import pytest
from huggingface_hub import constants

from whichgen.encoders.loading import load_encoder
from whichgen.errors import EncoderError, ModelFileError, WhichgenError
from whichgen.io.hub_access import can_connect, hub_access
from whichgen.models.hub import download_model


@pytest.fixture
def port() -> Iterator[int]:
    """A local port that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """No offline mode and no proxy, whatever the machine has."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("whichgen.io.hub_access.getproxies", dict)


@pytest.mark.parametrize(
    ("load", "error"),
    [
        (lambda: load_encoder("owner/no-such-encoder", device="cpu"), EncoderError),
        (lambda: download_model("owner/no-such-model"), ModelFileError),
    ],
    ids=["encoder", "model"],
)
def test_closed_port_fails_in_less_than_three_seconds(
    monkeypatch: pytest.MonkeyPatch,
    closed_port: int,
    load: Callable[[], None],
    error: type[WhichgenError],
) -> None:
    endpoint = f"http://127.0.0.1:{closed_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with pytest.raises(error):  # imports what it needs
        load()
    start = time.monotonic()
    with pytest.raises(error, match=f"no connection to {endpoint} within 2 seconds"):
        load()
    assert time.monotonic() - start < 3
    assert not constants.HF_HUB_OFFLINE


def test_look_up_of_an_address_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, stop = Event(), Event()

    def wait(*_arguments: object, **_keywords: object) -> None:
        asked.set()
        stop.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    start = time.monotonic()
    assert not can_connect("https://hub.example", seconds=0.2)
    assert time.monotonic() - start < 2
    assert asked.is_set()
    stop.set()


def test_connection_goes_to_the_proxy(
    monkeypatch: pytest.MonkeyPatch, port: int, closed_port: int
) -> None:
    assert can_connect(f"http://127.0.0.1:{port}")
    for proxy in (f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"):
        monkeypatch.setattr("whichgen.io.hub_access.getproxies", lambda p=proxy: {"https": p})
        assert can_connect("https://hub.invalid")
        assert not can_connect(f"http://127.0.0.1:{closed_port}")


def test_reachable_hub_is_used_and_offline_mode_needs_no_connection(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    with hub_access() as offline:
        assert (offline, constants.HF_HUB_OFFLINE) == ("", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with hub_access() as offline:
        assert offline == "HF_HUB_OFFLINE is set"
    assert constants.HF_HUB_OFFLINE
