"""Options of commands that report provenance evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from typer import Option

if TYPE_CHECKING:
    from whichgen.evidence.evidence_options import EvidenceOptions


@dataclass(frozen=True)
class EvidenceFiles:
    """Options for files that help to interpret evidence: a trust list and names of generators."""

    panel: ClassVar = "Evidence"

    trust_list: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Trust list (PEM) of certificate authorities for Content Credentials.",
        ),
    ] = None
    aliases: Annotated[
        Path | None,
        Option(metavar="FILE", help="Additional generator names: one name<TAB>origin per line."),
    ] = None

    def read(self) -> EvidenceOptions:
        """Read the trust list and the table of generator names.

        Raises
        ------
        DataError
            A file can't be read or is invalid.
        """
        from whichgen.evidence.content_credentials.trust_list import read_trust_list
        from whichgen.evidence.evidence_options import EvidenceOptions
        from whichgen.evidence.generator_aliases import read_aliases

        return EvidenceOptions(
            read_trust_list(self.trust_list) if self.trust_list else "",
            read_aliases(self.aliases) if self.aliases else None,
        )


@dataclass(frozen=True)
class AnswerEvidence(EvidenceFiles):
    """Options for provenance evidence that is reported with the answers of a model."""

    evidence: Annotated[
        bool,
        Option(
            "--evidence/--no-evidence", help="Report provenance evidence that the files contain."
        ),
    ] = True

    def read_options(self) -> EvidenceOptions | None:
        """Return the result of :meth:`read`, or ``None`` for ``--no-evidence``.

        Raises
        ------
        DataError
            See :meth:`read`.
        """
        return self.read() if self.evidence else None
