"""Which family a generator is of: GAN, diffusion, autoregressive …

A table of well-known generators, which a file of the user's own (``origin<TAB>family`` a line) goes
before. A generator in neither is a family of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from whichgen.errors import DataError

#: Families in the order in which they are tried, each with parts of its generators' names. A part
#: of up to four letters must be a word of the name (but ``gan``, which ends many), or it would be
#: found in others.
_KNOWN: dict[str, tuple[str, ...]] = {
    "diffusion": (
        *("diffusion", "dalle2", "dalle3", "glide", "glid3", "imagen", "midjourney", "wukong"),
        *("kandinsky", "pixart", "flux", "iddpm", "adm", "ddpm", "ddim", "pndm", "ldm", "vqdm"),
        *("sdxl", "sd", "sdv1", "sdv2", "sd1", "sd2", "sd3", "if", "dit"),
    ),
    "autoregressive": (
        *("dalle", "pixelcnn", "vqvae", "vqgan", "taming", "parti", "imagegpt", "cogview"),
        *("llamagen", "craiyon"),
    ),
    "GAN": ("gan",),
    "flow": ("flowmatching", "rectifiedflow", "glow", "realnvp"),
    "VAE": ("vae",),
}


def assign_families(
    origins: Iterable[str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The family of each origin but ``real``: as given, or else as the table has it."""
    own = given or {}
    return {o: own.get(o) or _family(o) for o in origins if o != "real"}


def read_families(file: Path) -> dict[str, str]:
    """Reads a file of ``origin<TAB>family`` lines.

    Raises
    ------
    DataError
        It can't be read, a line is not two names, or an origin is named twice.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"families file {file} can't be read ({error}).") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        origin, _, family = line.partition("\t")
        origin, family = origin.strip(), family.strip()
        if not origin or not family:
            raise DataError(f"{file}, line {number}: expected origin<TAB>family, got {line!r}.")
        if origin in found:
            raise DataError(f"{file}, line {number}: {origin} is there twice.")
        found[origin] = family
    if not found:
        raise DataError(f"{file} names no family. Write origin<TAB>family, one a line.")
    return found


def _family(origin: str) -> str:
    words = re.findall(r"[a-z0-9]+", origin.lower())
    name = "".join(words)
    for family, parts in _KNOWN.items():
        anywhere = [part for part in parts if len(part) > 4 or part == "gan"]
        if set(parts) & set(words) or any(part in name for part in anywhere):
            return family
    return origin
