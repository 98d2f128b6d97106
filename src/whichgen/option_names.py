"""Names of options in messages: as the interface in use, command line or Python, spells them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# An environment variable, because worker processes inherit it.
_VARIABLE = "WHICHGEN_COMMAND_LINE"


@contextmanager
def command_line_names() -> Iterator[None]:
    """In the ``with`` block, spell options as on the command line."""
    previous = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if previous is None:
            del os.environ[_VARIABLE]


def name_option(option: str, python: str = "") -> str:
    """Return the name of an option for a message.

    Parameters
    ----------
    option
        The option as on the command line, with or without a value: ``--device cpu``.
    python
        The same setting in Python; by default, the option in Python's spelling, ``device='cpu'``,
        in backticks.
    """
    if _VARIABLE in os.environ:
        return option
    name, _, value = option.removeprefix("--").partition(" ")
    name = name.replace("-", "_")
    return python or (f"`{name}={value!r}`" if value else f"`{name}`")
