"""Compare names of generators: one generator is spelled in many ways, and has many versions."""

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


def parse_name_table(text: str, file: str, columns: tuple[str, str]) -> dict[str, str]:
    """Parse a table of two columns, names of generators and what they stand for.

    A name stands for itself in any spelling (:func:`normalize_name`) or, if it ends with an
    asterisk, for all names that begin with it.

    Parameters
    ----------
    text
        Content of the table.
    file, columns
        Names of the table and of its columns, for error messages.

    Returns
    -------
    dict
        Maps the key of each name (:func:`make_key`) to the value in the second column.

    Raises
    ------
    DataError
        A line is invalid, or a name has two values.
    """
    table: dict[str, str] = {}
    for number, name, value in read_pairs(text, file, columns):
        key = make_key(name)
        if not key:
            raise DataError(
                f"{file}, line {number}: the name {name[:120]!r} has no letter and no digit. "
                "Correct or remove it."
            )
        if table.setdefault(key, value) != value:
            raise DataError(
                f"{file}, line {number}: {name[:120]} stands for both {table[key][:120]} and "
                f"{value[:120]}. Remove one line."
            )
    return table


def read_name_table(file: Path, kind: str, columns: tuple[str, str]) -> dict[str, str]:
    """Read a table of names that a user wrote.

    Parameters
    ----------
    file
        The table (see :func:`parse_name_table`).
    kind, columns
        What the table lists, such as ``families``, and the names of its columns, for messages.

    Raises
    ------
    DataError
        The file is unreadable or empty, a line is invalid, or a name has two values.
    """
    table = parse_name_table(read_text_file(file, f"{kind} file"), str(file), columns)
    if not table:
        raise DataError(f"{kind} file {file} is empty. Write one {'<TAB>'.join(columns)} per line.")
    return table


@cache
def load_name_table(package: str, file: str, columns: tuple[str, str]) -> Mapping[str, str]:
    """Load a table of names that ships with a package of whichgen."""
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    return parse_name_table(text, file, columns)


def make_key(name: str) -> str:
    """Return the key of a name in a table: ``FLUX.1 dev`` → ``flux1dev``, ``SDXL*`` → ``sdxl*``.

    The key of a name without letters and digits is empty.
    """
    key = normalize_name(name)
    return key + "*" if key and name.endswith("*") else key


def look_up_name(name: str, table: Mapping[str, str]) -> str:
    """Return the value of a name in a table, or an empty string if it is not in the table.

    Parameters
    ----------
    name
        Name of a generator.
    table
        Maps keys (:func:`make_key`) to values. Of several matching keys, the one without an
        asterisk or else the longest one counts.
    """
    key = normalize_name(name)
    if key in table:
        return table[key]
    prefixes = [p for p in table if p.endswith("*") and key.startswith(p[:-1])]
    return table[max(prefixes, key=len)] if prefixes else ""


def _is_number(words: list[str], index: int) -> bool:
    return index < len(words) and words[index].isdecimal()
