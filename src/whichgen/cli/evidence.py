"""``whichgen evidence``: inspect provenance evidence in image files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import exit_on_unreadable, say, show_json, show_path, show_table
from whichgen.cli.options import AsJson, Images, find_images
from whichgen.cli.standard_input import restore_dash
from whichgen.errors import ImageError

if TYPE_CHECKING:
    from whichgen.evidence.options import EvidenceOptions


@dataclass(frozen=True)
class EvidenceFiles:
    """Options for files that the collection of evidence reads."""

    panel: ClassVar = "Evidence"

    trust_list: Annotated[
        Path | None,
        Option(
            metavar="FILE", help="Certificates (PEM) of trusted signers of Content Credentials."
        ),
    ] = None
    aliases: Annotated[
        Path | None,
        Option("--aliases", metavar="FILE", help="Names of generators: lines of name<TAB>origin."),
    ] = None

    def read(self) -> EvidenceOptions:
        """Read the files."""
        from whichgen.evidence.aliases import read_aliases
        from whichgen.evidence.options import EvidenceOptions
        from whichgen.evidence.trust_list import read_trust_list

        return EvidenceOptions(
            read_trust_list(self.trust_list) if self.trust_list else "",
            read_aliases(self.aliases) if self.aliases else None,
        )


@dataclass(frozen=True)
class AnswerEvidence(EvidenceFiles):
    """Options for the evidence that is reported with a model's answers."""

    evidence: Annotated[
        bool, Option("--evidence/--no-evidence", help="Report provenance evidence in the files.")
    ] = True

    def options(self) -> EvidenceOptions | None:
        """Read the files, or return ``None`` for ``--no-evidence``."""
        return self.read() if self.evidence else None


@command
def evidence(images: Images, files: EvidenceFiles, as_json: AsJson = False) -> None:
    """Inspect provenance evidence: Content Credentials, metadata, JPEG tables.

    Requires no model or network access. Missing metadata proves nothing; metadata can be forged.
    """
    from whichgen.data.images.reading import read_bytes
    from whichgen.evidence.collect import CAVEAT, Evidence, collect
    from whichgen.evidence.summary import summarize_evidence

    options = files.read()
    rows: list[dict[str, Any]] = []
    for path in find_images(images):
        name = restore_dash(str(path))
        file_evidence, reason = Evidence(), ""
        try:
            file_evidence = collect(read_bytes(path), name, **vars(options))
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
    dictionaries), ``notes`` (list of texts) and ``error`` (text; empty if the file is readable).
    The error is not printed.
    """
    image = show_path(row["image"])
    if not row["findings"] and not row["error"] and not row["notes"]:
        say(f"{image}: no provenance metadata found.")
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
        title=": ".join(filter(None, (image, row["evidence"]))),
    )
    for note in row["notes"]:
        say(f"note: {image}: {note}")


def _format_generator(generator: str, origin: str) -> str:
    """Return the name in the metadata, followed by its origin if that is another name."""
    from whichgen.data.origins.generator_names import normalize_name

    is_same = not origin or normalize_name(generator) == normalize_name(origin)
    return generator if is_same else f"{generator} ({origin})"
