"""Check quickly whether the Hugging Face hub can be reached.

Without this check, the hub's client retries each connection five times, which takes half a minute.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

#: Time limit for a connection in seconds, including the address lookup.
CONNECT_SECONDS = 2.0


@contextmanager
def hub_access() -> Iterator[str]:
    """Use only the hub's local cache in a ``with`` block if the hub can't be reached.

    Yields
    ------
    str
        Reason why only the cache is used; empty if the hub can be reached.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield "HF_HUB_OFFLINE is set"
    elif can_connect(constants.ENDPOINT):
        yield ""
    else:
        constants.HF_HUB_OFFLINE = True
        try:
            yield f"no connection to {constants.ENDPOINT} within {CONNECT_SECONDS:g} seconds"
        finally:
            constants.HF_HUB_OFFLINE = False


def can_connect(url: str, seconds: float = CONNECT_SECONDS) -> bool:
    """Return whether the host of a URL accepts a connection within a time limit.

    Parameters
    ----------
    url
        The URL. If a proxy is configured for it, the connection to the proxy is tested instead.
    seconds
        Time limit in seconds, including the address lookup.
    """
    address = urlsplit(url)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.netloc):
        address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    connections = []

    def connect() -> None:
        try:
            port = address.port or (80 if address.scheme == "http" else 443)
            socket.create_connection((str(address.hostname), port), seconds).close()
            connections.append(True)
        except (OSError, ValueError):
            pass  # the host can't be reached, or the address is invalid

    # Use a thread, because the address lookup has no time limit.
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(connections)
