"""Assign generators to families: GAN, diffusion, autoregressive, flow, VAE.

Families are read from a user-supplied file (one ``origin<TAB>family`` per line) or looked up in a
table of well-known generators. A generator that is in neither is its own family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from whichgen.constants import REAL
from whichgen.errors import DataError
from whichgen.io.text_tables import read_pairs
from whichgen.io.untrusted_files import read_text_file

#: Families in the order in which they are tried, with name parts of their generators. A part of at
#: most four letters must be a whole word of the name, except ``gan``, which ends many names.
_FAMILIES: dict[str, tuple[str, ...]] = {
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
    origins: Iterable[str], overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return a dictionary from each origin except ``real`` to its family.

    An origin that is neither in ``overrides`` nor in the table is its own family.

    Parameters
    ----------
    origins
        Names of the origins.
    overrides
        Maps origins to families; takes precedence over the table of well-known generators.
    """
    overrides = overrides or {}
    return {o: overrides.get(o) or _guess_family(o) for o in origins if o != REAL}


def read_families(file: Path) -> dict[str, str]:
    """Read a file of ``origin<TAB>family`` lines and return a dictionary from origins to families.

    Raises
    ------
    DataError
        The file is unreadable or empty, a line is invalid, or an origin occurs twice.
    """
    families: dict[str, str] = {}
    text = read_text_file(file, "families file")
    for number, origin, family in read_pairs(text, str(file), ("origin", "family")):
        if origin in families:
            raise DataError(f"{file}, line {number}: {origin} occurs twice. Remove one line.")
        families[origin] = family
    if not families:
        raise DataError(f"families file {file} is empty. Write one origin<TAB>family per line.")
    return families


def _guess_family(origin: str) -> str:
    words = re.findall(r"[a-z0-9]+", origin.lower())
    name = "".join(words)
    for family, parts in _FAMILIES.items():
        substrings = [part for part in parts if len(part) > 4 or part == "gan"]
        if set(parts) & set(words) or any(part in name for part in substrings):
            return family
    return origin
