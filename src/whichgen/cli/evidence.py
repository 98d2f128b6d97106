"""``whichgen evidence``: provenance evidence in image files."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from whichgen.cli.command import command
from whichgen.cli.console import exit_on_unreadable, say, show_json, show_table
from whichgen.cli.images import Images, find_images
from whichgen.cli.options import AsJson
from whichgen.errors import ImageError

if TYPE_CHECKING:
    from whichgen.evidence.finding import Evidence


@command
def evidence(images: Images, as_json: AsJson = False) -> None:
    """Inspect provenance evidence: Content Credentials, metadata, JPEG tables.

    Needs no model and no network. Missing metadata proves nothing; metadata can be forged.
    """
    from whichgen.data.reading import read_bytes
    from whichgen.evidence.collect import CAVEAT, collect

    rows: list[dict[str, Any]] = []
    for path in find_images(images):
        row: dict[str, Any] = {"image": str(path), "findings": [], "notes": [], "error": ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, on damaged metadata: see the notes
                result = collect(read_bytes(path), str(path))
        except ImageError as error:
            row["error"] = str(error)
        else:
            row |= result.as_dict()
            if not as_json:
                show_evidence(str(path), result)
        rows.append(row)
    if as_json:
        show_json(rows)
    say(f"note: {CAVEAT}")
    exit_on_unreadable([row["error"] for row in rows if row["error"]], len(rows))


def show_evidence(name: str, evidence: Evidence) -> None:
    """Print the findings in one file."""
    if not evidence.findings:
        say(f"{name}: no provenance evidence found.")
    show_table(
        [
            {
                "source": finding.kind,
                "indicates": finding.indicates,
                "generator": finding.generator,
                "finding": "; ".join(filter(None, (finding.title, finding.detail))),
            }
            for finding in evidence.findings
        ],
        title=name,
    )
    for note in evidence.notes:
        say(f"note: {name}: {note}")
