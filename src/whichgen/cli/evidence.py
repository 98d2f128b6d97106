"""``whichgen evidence``: inspect provenance evidence in image files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import exit_on_unreadable, say, show_json, show_table
from whichgen.cli.options import AsJson, Images, find_images
from whichgen.errors import ImageError

TrustList = Annotated[
    Path | None,
    Option(metavar="FILE", help="Certificates (PEM) of trusted signers of Content Credentials."),
]
AliasesFile = Annotated[
    Path | None,
    Option("--aliases", metavar="FILE", help="Names of generators: lines of name<TAB>origin."),
]


@command
def evidence(
    images: Images,
    trust_list: TrustList = None,
    aliases: AliasesFile = None,
    as_json: AsJson = False,
) -> None:
    """Inspect provenance evidence: Content Credentials, metadata, JPEG tables.

    Requires no model or network access. Missing metadata proves nothing; metadata can be forged.
    """
    from whichgen.data.reading import read_bytes
    from whichgen.evidence.aliases import read_aliases
    from whichgen.evidence.collect import CAVEAT, collect
    from whichgen.evidence.trust_list import read_trust_list

    anchors = read_trust_list(trust_list) if trust_list else ""
    names = read_aliases(aliases) if aliases else None
    rows: list[dict[str, Any]] = []
    for path in find_images(images):
        row: dict[str, Any] = {"image": str(path), "findings": [], "notes": [], "error": ""}
        rows.append(row)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's on damaged metadata; see the notes
                data = read_bytes(path)
                found = collect(data, str(path), trust_anchors=anchors, aliases=names)
                row |= found.as_dict()
        except ImageError as error:
            row["error"] = str(error)
        if not as_json:
            show_evidence(row)
    if as_json:
        show_json(rows)
    say(f"note: {CAVEAT}")
    exit_on_unreadable([row["error"] for row in rows if row["error"]], len(rows))


def show_evidence(row: Mapping[str, Any]) -> None:
    """Print the provenance evidence found in one file.

    ``row`` has the keys ``image`` (path), ``findings`` (list of dictionaries), ``notes`` (list of
    texts) and ``error`` (text; empty if the file is readable). The error is not printed.
    """
    if not row["findings"] and not row["error"] and not row["notes"]:
        say(f"{row['image']}: no provenance metadata found.")
    show_table(
        [
            {
                "source": finding["kind"],
                "indicates": finding["indicates"],
                "strength": "" if finding["indicates"] == "neutral" else finding["strength"],
                "generator": _format_generator(finding["generator"], finding["origin"]),
                "finding": "; ".join(filter(None, (finding["title"], finding["detail"]))),
            }
            for finding in row["findings"]
        ],
        title=row["image"],
    )
    for note in row["notes"]:
        say(f"note: {row['image']}: {note}")


def _format_generator(generator: str, origin: str) -> str:
    """Return the name in the metadata, followed by its origin if that is another name."""
    from whichgen.evidence.aliases import normalize_name

    is_same = not origin or normalize_name(generator) == normalize_name(origin)
    return generator if is_same else f"{generator} ({origin})"
