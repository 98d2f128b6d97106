"""The version number, read by ``pyproject.toml``.

It is not looked up in the installed metadata, which would add a fifth to the time of ``--help``.
"""

__version__ = "0.2.0"
