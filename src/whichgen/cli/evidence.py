"""``whichgen evidence``: inspect provenance evidence in image files."""

from __future__ import annotations

from whichgen.cli.command import command
from whichgen.cli.evidence_flags import EvidenceFiles
from whichgen.cli.evidence_output import show_evidence_of_files
from whichgen.cli.shared_options import AsJson, Images


@command
def evidence(images: Images, files: EvidenceFiles, as_json: AsJson = False) -> None:
    """Inspect provenance evidence: Content Credentials, metadata, watermarks, JPEG tables.

    Requires no model or network access. Missing metadata proves nothing; metadata can be forged.
    """
    show_evidence_of_files(images, files.read(), as_json=as_json)
