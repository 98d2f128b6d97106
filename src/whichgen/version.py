"""The version, in one place; `pyproject.toml` reads it here.

Not from the installed metadata: to look that up is a fifth of the time that ``--help`` takes.
"""

__version__ = "0.2.0"
