"""The version of whichgen: the one that `pyproject.toml` states."""

from importlib.metadata import version

__version__ = version("whichgen")
