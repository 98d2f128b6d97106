"""Model that is bundled with whichgen; ``make starter`` trains it."""

from __future__ import annotations

from pathlib import Path

#: Folder of the built-in model.
BUILTIN_MODEL = Path(__file__).parent / "builtin"
