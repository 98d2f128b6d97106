"""Folder of the built-in model, which ``make starter`` trains."""

from __future__ import annotations

from pathlib import Path

#: Path of the model folder.
BUILTIN_MODEL = Path(__file__).parent / "builtin"
