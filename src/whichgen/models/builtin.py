"""Folder of the model that is installed with whichgen, trained by ``make starter``."""

from __future__ import annotations

from pathlib import Path

#: Path of this folder.
BUILTIN_MODEL = Path(__file__).parent / "builtin"
