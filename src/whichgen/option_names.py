"""Names of options in messages, in the spelling of the command line or of Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Set while a command runs. It is an environment variable, because worker processes inherit it.
_COMMAND_LINE_VARIABLE = "WHICHGEN_COMMAND_LINE"


@contextmanager
def use_command_line_names() -> Iterator[None]:
    """Spell options as on the command line in the ``with`` block."""
    previous_value = os.environ.get(_COMMAND_LINE_VARIABLE)
    os.environ[_COMMAND_LINE_VARIABLE] = "1"
    try:
        yield
    finally:
        if previous_value is None:
            del os.environ[_COMMAND_LINE_VARIABLE]


def name_option(option: str, python: str = "") -> str:
    """Return the name of an option for a message.

    The name is ``option`` in the block of :func:`use_command_line_names`, otherwise ``python``.

    Parameters
    ----------
    option
        The option as on the command line, with or without a value, such as ``--device cpu``.
    python
        The same setting in Python. The default is the option in Python's spelling in backticks,
        with the value as a string: ``device='cpu'``.
    """
    if _COMMAND_LINE_VARIABLE in os.environ:
        return option
    name, _, value = option.removeprefix("--").partition(" ")
    name = name.replace("-", "_")
    return python or (f"`{name}={value!r}`" if value else f"`{name}`")
