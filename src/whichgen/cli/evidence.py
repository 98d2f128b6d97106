"""``whichgen evidence``: what does the file itself say of where the image is from?"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichgen.cli.attribute import find_images
from whichgen.cli.console import fail, guarded, say, show_table
from whichgen.errors import ImageError

if TYPE_CHECKING:
    from whichgen.evidence.finding import Evidence


@guarded
def evidence(
    images: Annotated[
        list[Path], typer.Argument(help="Image files, folders of them, or lists: @FILE.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Show what files say of their origin: credentials, metadata, JPEG tables.

    No model and no network is used. The absence of metadata proves nothing; it can be forged.
    """
    from whichgen.data.reading import read_bytes
    from whichgen.evidence.collect import CAVEAT, collect

    rows: list[dict[str, Any]] = []
    for path in find_images(images):
        row: dict[str, Any] = {"image": str(path), "findings": [], "notes": [], "error": ""}
        try:
            with warnings.catch_warnings():
                # Pillow's, on damaged metadata: what could not be read is among the notes.
                warnings.simplefilter("ignore")
                found = collect(read_bytes(path), str(path))
        except ImageError as error:
            row["error"] = str(error)
        else:
            row |= found.as_dict()
            if not as_json:
                _show(str(path), found)
        rows.append(row)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    say(f"note: {CAVEAT}")
    unread = [row["error"] for row in rows if row["error"]]
    if unread:
        fail(f"{len(unread)} of {len(rows)} images can't be read:\n" + "\n".join(unread[:20]))
        raise typer.Exit(1)


def _show(name: str, found: Evidence) -> None:
    if not found.findings:
        say(f"{name}: the file says nothing of its origin.")
    show_table(
        [
            {
                "found in": finding.kind,
                "says": finding.says,
                "what": finding.title,
                "in full": finding.detail,
                "generator": finding.generator,
            }
            for finding in found.findings
        ],
        title=name,
        whole=("found in", "says"),
    )
    for note in found.notes:
        say(f"note: {name}: {note}")
