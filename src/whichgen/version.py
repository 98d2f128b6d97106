"""Version number, which ``pyproject.toml`` reads from this file.

Reading it from the metadata of the installed package would slow down every command.
"""

__version__ = "0.2.0"
