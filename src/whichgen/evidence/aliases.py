"""Map the names of generators in metadata to origins, since one generator has many names.

"gpt-image 2.0", "gpt_image_2" and "OpenAI gpt-image-2" are one origin. The table is ``aliases.tsv``
beside this file; users extend it with a file in the same format.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from whichgen.errors import DataError
from whichgen.io.text_tables import read_pairs
from whichgen.io.untrusted_files import read_text_file

#: Makers that may precede the name of a generator.
_MAKERS = (
    *("openai", "google", "googledeepmind", "adobe", "stabilityai", "blackforestlabs", "bfl"),
    *("baidu", "bytedance", "alibaba", "tencent", "microsoft", "nvidia", "xai", "meta", "briaai"),
    *("tongyi", "runwayml", "compvis"),
)
_WORD = re.compile(r"[^\W\d_]+|\d+")

#: Largest number of characters of a name.
_MAX_NAME = 200


def read_aliases(file: Path) -> dict[str, str]:
    """Read a file of ``name<TAB>origin`` lines.

    Parameters
    ----------
    file
        A name stands for itself in any spelling (see :func:`normalize_name`), or for all names that
        begin with it if it ends with an asterisk.

    Returns
    -------
    dict
        Maps each normalized name to its origin.

    Raises
    ------
    DataError
        The file is unreadable or empty, or a line is invalid.
    """
    aliases = parse_aliases(read_text_file(file, "aliases file"), str(file))
    if not aliases:
        raise DataError(f"aliases file {file} is empty. Write one name<TAB>origin per line.")
    return aliases


def parse_aliases(text: str, name: str) -> dict[str, str]:
    """Parse the content of an aliases file; ``name`` is its name in error messages."""
    aliases: dict[str, str] = {}
    for number, alias, origin in read_pairs(text, name, ("name", "origin")):
        key = normalize_name(alias)
        if not key:
            raise DataError(
                f"{name}, line {number}: the name {alias[:120]!r} has no letter and no digit. "
                "Correct or remove it."
            )
        aliases[key + "*" * alias.endswith("*")] = origin
    return aliases


def resolve_origin(name: str, aliases: Mapping[str, str] | None = None) -> str:
    """Return the origin that a generator's name stands for, or an empty string.

    Parameters
    ----------
    name
        Name of a generator or a checkpoint, as in metadata.
    aliases
        More names, from :func:`read_aliases`. They take precedence over the built-in table.
    """
    key = normalize_name(name)
    for table in (aliases or {}, _read_table()):
        if key in table:
            return table[key]
        prefixes = [p for p in table if p.endswith("*") and key.startswith(p[:-1])]
        if prefixes:
            return table[max(prefixes, key=len)]
    return ""


def normalize_name(name: str) -> str:
    """Return a name without its maker and without differences in spelling.

    Letters are lower case; spaces and punctuation are dropped, except between two numbers, and so
    is a trailing ``.0`` of a version: ``OpenAI gpt-image-2`` and ``GPT image 2.0`` → ``gptimage2``.
    """
    text = unicodedata.normalize("NFKC", name[:_MAX_NAME]).casefold()
    words = _WORD.findall(text)
    parts: list[str] = []
    for i, word in enumerate(words):
        if word == "0" and parts and parts[-1][-1].isdigit() and not _is_number(words, i + 1):
            continue  # version 2.0 is version 2
        is_between = word.isdecimal() and bool(parts) and parts[-1][-1].isdigit()
        parts.append(f".{word}" if is_between else word)
    key = "".join(parts)
    maker = next((m for m in _MAKERS if key.startswith(m) and len(key) > len(m)), "")
    # "Meta AI" and "xAI" are names, too.
    rest = key[len(maker) :]
    return key if rest in ("", "ai") else rest


def _is_number(words: list[str], index: int) -> bool:
    return index < len(words) and words[index].isdecimal()


@cache
def _read_table() -> Mapping[str, str]:
    """Return the built-in table."""
    text = files("whichgen.evidence").joinpath("aliases.tsv").read_text(encoding="utf-8")
    return parse_aliases(text, "aliases.tsv")
