"""Assign generators to families: all versions of one product, or all networks of one technique.

The families of products are listed in the file ``families.tsv`` in this folder. For example, FLUX.1
dev and FLUX.1 schnell belong to the family FLUX.1. Users can provide a file of the same format that
takes precedence. Networks that are not products, such as those of research papers, belong to the
family of their technique: GAN, diffusion, autoregressive, flow or VAE. If neither the product nor
the technique is known, the generator is its own family.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from whichgen.constants import REAL
from whichgen.data.origins.generator_names import (
    load_generator_table,
    look_up_name,
    make_key,
    normalize_name,
    read_generator_table,
)

#: Maps each technique to words in the names of its networks. The first technique with a word in the
#: name is chosen. A word of at most four letters must be a separate word of the name; ``gan`` is an
#: exception, because many names end with it.
TECHNIQUES: Mapping[str, tuple[str, ...]] = {
    "diffusion": (
        *("diffusion", "glide", "glid3", "wukong", "iddpm", "adm", "ddpm", "ddim", "pndm", "ldm"),
        *("vqdm", "sd", "if", "dit"),
    ),
    "autoregressive": (
        *("dalle", "pixelcnn", "vqvae", "vqgan", "taming", "parti", "imagegpt", "llamagen"),
    ),
    "GAN": ("gan",),
    "flow": ("flowmatching", "rectifiedflow", "glow", "realnvp"),
    "VAE": ("vae",),
}


def assign_families(
    origins: Iterable[str], overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return a dictionary from each origin except ``real`` to its family.

    The family of an origin is that of ``overrides`` or else of :func:`find_family`. If both lack
    the origin, it is its own family. An origin is also its own family if the product family
    contains no other origin and has the same name in another spelling: the family of ``midjourney``
    is ``midjourney``, but the family of ``flux_1_dev`` is ``FLUX.1``.

    Parameters
    ----------
    origins
        Names of the origins.
    overrides
        Maps names of generators (see :func:`read_families`) to families; takes precedence over the
        table of well-known generators.
    """
    table = {make_key(name): family for name, family in (overrides or {}).items()}
    families = {
        origin: look_up_name(origin, table) or find_family(origin) or origin
        for origin in origins
        if origin != REAL
    }
    sizes = Counter(families.values())
    return {
        origin: origin if _is_respelled(origin, family) and sizes[family] == 1 else family
        for origin, family in families.items()
    }


def find_family(name: str) -> str:
    """Return the family of a generator: its product or its technique.

    Parameters
    ----------
    name
        Name of the generator in any spelling.

    Returns
    -------
    str
        The product family of ``families.tsv`` or, if there is none, a key of :data:`TECHNIQUES`;
        empty if neither is known.
    """
    if family := look_up_name(
        name, load_generator_table("whichgen.data.origins", "families.tsv", ("name", "family"))
    ):
        return family
    words = re.findall(r"[a-z0-9]+", name.lower())
    joined = "".join(words)
    for technique, parts in TECHNIQUES.items():
        substrings = [part for part in parts if len(part) > 4 or part == "gan"]
        if set(parts) & set(words) or any(part in joined for part in substrings):
            return technique
    return ""


def read_families(file: Path) -> dict[str, str]:
    """Read a file of ``origin<TAB>family`` lines.

    Parameters
    ----------
    file
        File of origins and families. Names are compared as in
        :func:`whichgen.data.origins.generator_names.parse_generator_table`. An origin that ends
        with an asterisk matches all names that begin with the preceding characters.

    Returns
    -------
    dict
        Maps the key of each origin (:func:`~whichgen.data.origins.generator_names.make_key`) to its
        family.

    Raises
    ------
    DataError
        The file is unreadable or has no entries, a line is invalid, or an origin has two different
        families.
    """
    return read_generator_table(file, "families", ("origin", "family"))


def _is_respelled(origin: str, family: str) -> bool:
    """Return whether the family is a product whose name is the origin's name in any spelling."""
    return family not in TECHNIQUES and normalize_name(origin) == normalize_name(family)
