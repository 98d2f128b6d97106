"""Compare the names of generators, which have many spellings and versions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from whichgen.errors import DataError
from whichgen.io.text_tables import parse_pairs
from whichgen.io.untrusted_files import read_text_file

#: Names of companies and research groups that may precede the name of a generator.
_MAKERS = (
    *("openai", "google", "googledeepmind", "adobe", "stabilityai", "blackforestlabs", "bfl"),
    *("baidu", "bytedance", "alibaba", "tencent", "microsoft", "nvidia", "xai", "meta", "briaai"),
    *("tongyi", "runwayml", "compvis"),
)
_WORD = re.compile(r"[^\W\d_]+|\d+")

#: Maximum number of characters of a name that are compared.
_MAX_NAME = 200


def normalize_name(name: str) -> str:
    """Return the normalized spelling of a generator name, without the name of its maker.

    Letters are converted to lower case. Spaces and punctuation are replaced by a period between two
    numbers (``SD-1-5`` becomes ``sd1.5``) and removed elsewhere. A trailing ``.0`` of a version is
    removed: ``OpenAI gpt-image-2`` and ``GPT image 2.0`` become ``gptimage2``. Only the first 200
    characters of the name are used.
    """
    text = unicodedata.normalize("NFKC", name[:_MAX_NAME]).casefold()
    words = _WORD.findall(text)
    parts: list[str] = []
    for i, word in enumerate(words):
        if word == "0" and parts and parts[-1][-1].isdigit() and not _is_number(words, i + 1):
            continue  # version 2.0 is the same as version 2
        is_between = word.isdecimal() and bool(parts) and parts[-1][-1].isdigit()
        parts.append(f".{word}" if is_between else word)
    key = "".join(parts)
    makers = [m for m in _MAKERS if key.startswith(m) and len(key) > len(m)]
    product = key[len(max(makers, key=len, default="")) :]
    # "Meta AI" is the name of a generator, so the maker is not removed.
    return key if product == "ai" else product


def parse_generator_table(text: str, file: str, columns: tuple[str, str]) -> dict[str, str]:
    """Parse a table with two columns: generator names and values.

    Names are compared without case, spaces, punctuation and the name of the maker
    (:func:`normalize_name`). A name that ends with an asterisk matches
    all names that begin with the preceding characters.

    Parameters
    ----------
    text
        Content of the table.
    file
        Name of the table for error messages. If it ends with ``.csv``, commas are preferred as
        delimiters.
    columns
        Names of the columns, for error messages and to recognize a header.

    Returns
    -------
    dict
        Maps the key of each name (:func:`make_key`) to the value in the second column.

    Raises
    ------
    DataError
        A line is invalid, or a name has two different values.
    """
    table: dict[str, str] = {}
    for number, name, value in parse_pairs(text, file, columns):
        key = make_key(name)
        if not key:
            raise DataError(
                f"{file}, line {number}: the name {name[:120]!r} has no letters or digits. "
                "Correct or remove the line."
            )
        if table.setdefault(key, value) != value:
            raise DataError(
                f"{file}, line {number}: {name[:120]} has more than one {columns[1]}: "
                f"{table[key][:120]} and {value[:120]}. Remove one of the lines."
            )
    return table


def read_generator_table(file: Path, kind: str, columns: tuple[str, str]) -> dict[str, str]:
    """Read a table of generator names and values from a user-provided file.

    Parameters
    ----------
    file
        The table (see :func:`parse_generator_table`).
    kind, columns
        Content of the table, such as ``families``, and names of its two columns.

    Returns
    -------
    dict
        See :func:`parse_generator_table`.

    Raises
    ------
    DataError
        The file is unreadable or has no entries, a line is invalid, or a name has two different
        values.
    """
    table = parse_generator_table(read_text_file(file, f"{kind} file"), str(file), columns)
    if not table:
        raise DataError(
            f"{kind} file {file} has no entries. Write one {'<TAB>'.join(columns)} per line."
        )
    return table


@cache
def load_generator_table(package: str, file: str, columns: tuple[str, str]) -> Mapping[str, str]:
    """Load a table of generator names and values that is bundled with whichgen.

    Parameters
    ----------
    package, file
        Package that contains the table, such as ``whichgen.data.origins``, and name of its file.
    columns
        Names of the columns.

    Returns
    -------
    Mapping
        See :func:`parse_generator_table`.
    """
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    return parse_generator_table(text, file, columns)


def make_key(name: str) -> str:
    """Return the key of a name in a table.

    The key is the normalized name (:func:`normalize_name`), followed by an asterisk if the name
    ends with one: the key of ``FLUX.1 dev`` is ``flux1dev``, and the key of ``SDXL*`` is ``sdxl*``.
    The key of a name without letters and digits is empty.
    """
    key = normalize_name(name)
    return key + "*" if key and name.endswith("*") else key


def look_up_name(name: str, table: Mapping[str, str]) -> str:
    """Return the value of a name in a table, or an empty string if no key matches.

    Parameters
    ----------
    name
        Name of a generator.
    table
        Maps keys (:func:`make_key`) to values. A key without an asterisk takes precedence over keys
        with an asterisk, and a longer key over a shorter key.
    """
    key = normalize_name(name)
    if key in table:
        return table[key]
    prefixes = [p for p in table if p.endswith("*") and key.startswith(p[:-1])]
    return table[max(prefixes, key=len)] if prefixes else ""


def _is_number(words: list[str], index: int) -> bool:
    return index < len(words) and words[index].isdecimal()
