"""Map generator names in metadata to origins, because many generators have several names.

For example, "gpt-image 2.0", "gpt_image_2" and "OpenAI gpt-image-2" are names of one origin. The
built-in table is the file ``generator_aliases.tsv`` in this folder; users can add names with a file
in the same format.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from whichgen.data.origins.generator_names import (
    load_generator_table,
    look_up_name,
    read_generator_table,
)

#: Columns of the table.
_COLUMNS = ("name", "origin")


def read_aliases(file: Path) -> dict[str, str]:
    """Read generator names and their origins from a user-provided file.

    Parameters
    ----------
    file
        TSV or CSV file with a name and its origin on each line. A header with the columns ``name``
        and ``origin`` is optional. Names are compared without case, spaces, punctuation and the
        name of the maker (:func:`~whichgen.data.origins.generator_names.normalize_name`). A name
        that ends with an asterisk matches all names that begin with the text before the asterisk.

    Returns
    -------
    dict
        Maps the key of each name (:func:`whichgen.data.origins.generator_names.make_key`) to its
        origin.

    Raises
    ------
    DataError
        The file is unreadable or has no entries, a line is invalid, or a name has two different
        origins.
    """
    return read_generator_table(file, "aliases", _COLUMNS)


def resolve_origin(name: str, aliases: Mapping[str, str] | None = None) -> str:
    """Return the origin of a generator name, or an empty string if the name is not known.

    Parameters
    ----------
    name
        Name of a generator or a checkpoint in metadata.
    aliases
        Additional names from :func:`read_aliases`, which take precedence over the built-in table;
        ``None`` to use only the built-in table.
    """
    table = load_generator_table("whichgen.evidence", "generator_aliases.tsv", _COLUMNS)
    return look_up_name(name, aliases or {}) or look_up_name(name, table)
