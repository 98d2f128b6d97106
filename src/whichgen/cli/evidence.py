"""``whichgen evidence``: what image files say of themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from whichgen.cli.attribute import find_images
from whichgen.cli.console import fail, guarded, say, show_table, track


@guarded
def evidence(
    images: Annotated[
        list[Path], typer.Argument(help="Image files, folders of them, or lists: @FILE.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Read Content Credentials, EXIF, IPTC, and what generators write."""
    from whichgen.data.images import read_bytes
    from whichgen.errors import ImageError
    from whichgen.evidence.collect import CAVEAT, collect

    rows: list[dict[str, Any]] = []
    unread = []
    files = find_images(images)
    for file in track(files, description="Reading files", total=len(files)):
        try:
            found = collect(read_bytes(file), str(file))
        except ImageError as error:
            unread.append(str(error))
            rows.append({"image": str(file), "findings": [], "notes": [], "error": str(error)})
            continue
        rows.append({"image": str(file), **found.as_dict(), "error": ""})
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    else:
        for row in rows:
            _show(row)
        say(f"note: {CAVEAT}")
    if unread:
        fail(f"{len(unread)} of {len(rows)} images can't be read:\n" + "\n".join(unread[:20]))
        raise typer.Exit(1)


def _show(row: dict[str, Any]) -> None:
    if row["error"]:
        return
    columns = ("says", "title", "detail")
    nothing = {"says": "nothing", "title": "no credentials, no generator's metadata", "detail": ""}
    found = [{c: finding[c] for c in columns} for finding in row["findings"]]
    show_table(found or [nothing], title=row["image"])
    for note in row["notes"]:
        say(f"note: {note}")
