"""Output of ``whichgen evidence``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgen.cli.console import escape_path, say, show_json, show_table
from whichgen.cli.error_exits import exit_on_unreadable
from whichgen.cli.image_arguments import find_images
from whichgen.cli.image_from_stdin import restore_dash
from whichgen.errors import ImageError

if TYPE_CHECKING:
    from whichgen.evidence.evidence_options import EvidenceOptions


def show_evidence_of_files(
    images: Sequence[Path], options: EvidenceOptions | None = None, *, as_json: bool = False
) -> None:
    """Print the provenance evidence in image files: a table per file, or JSON.

    Parameters
    ----------
    images
        Arguments of the command (see :func:`~whichgen.cli.image_arguments.find_images`).
    options
        Trust list and additional names of generators; by default, no trust list and only the
        built-in names.
    as_json
        Print JSON instead of tables.

    Raises
    ------
    DataError
        An argument is invalid (see :func:`~whichgen.cli.image_arguments.find_images`).
    SystemExit
        A file can't be read (exit status 1). The evidence in the readable files is printed first.
    OSError
        Standard input can't be copied to a temporary file.

    Warns
    -----
    WhichgenWarning
        See :func:`~whichgen.cli.image_arguments.find_images`.
    """
    from whichgen.data.images.decoding import read_bytes
    from whichgen.evidence.collect import CAVEAT, Evidence, collect
    from whichgen.evidence.summary import summarize_evidence

    settings = vars(options) if options else {}
    rows: list[dict[str, Any]] = []
    for path in find_images(images):
        name = restore_dash(str(path))
        file_evidence, reason = Evidence(), ""
        try:
            file_evidence = collect(read_bytes(path), name, **settings)
        except ImageError as error:
            reason = restore_dash(str(error))
        columns = summarize_evidence(file_evidence).as_columns()
        row = {"image": name, **columns, **file_evidence.as_dict(), "error": reason}
        rows.append(row)
        if not as_json:
            show_evidence(row)
    if as_json:
        show_json(rows)
    say(f"note: {CAVEAT}")
    exit_on_unreadable([row["error"] for row in rows if row["error"]], len(rows))


def show_evidence(row: Mapping[str, Any]) -> None:
    """Print the provenance evidence found in one file.

    ``row`` has the keys ``image`` (path), ``evidence`` (summary), ``findings`` (list of
    dictionaries with the fields of :class:`~whichgen.evidence.finding.Finding`), ``notes`` (list of
    texts) and ``error`` (text; empty if the file is readable). The error is not printed.
    """
    image = escape_path(row["image"])
    if not row["findings"] and not row["error"] and not row["notes"]:
        say(f"{image}: no provenance metadata found.")
    show_table(
        [
            {
                "source": finding["kind"],
                "indicates": finding["indicates"],
                "strength": finding["strength"],
                "generator": _format_generator(finding["generator"], finding["origin"]),
                "finding": "; ".join(filter(None, (finding["title"], finding["detail"]))),
            }
            for finding in row["findings"]
        ],
        title=": ".join(filter(None, (image, row["evidence"]))),
    )
    for note in row["notes"]:
        say(f"note: {image}: {note}")


def _format_generator(generator: str, origin: str) -> str:
    """Return the generator name from the metadata, followed by the origin if it differs."""
    from whichgen.data.origins.generator_names import normalize_name

    is_same = not origin or normalize_name(generator) == normalize_name(origin)
    return generator if is_same else f"{generator} ({origin})"
