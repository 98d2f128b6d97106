"""Read C2PA Content Credentials: signed manifests that state how an image was made.

A valid signature proves that the manifest and the image have not changed since they were signed. It
does not prove the identity of the signer, because anyone can create a certificate. Only a trust
list can confirm the identity; whichgen can read such a list but does not include one. The
statements of an intact manifest are reported together with its status; whether they are true is not
checked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from whichgen.evidence.content_credentials.manifest_client import (
    MalformedError,
    ManifestError,
    MisplacedError,
    is_installed,
    read_manifest_store,
    start_process,
)
from whichgen.evidence.content_credentials.manifest_history import Manifest, list_manifests
from whichgen.evidence.content_credentials.manifest_signer import format_signer, name_signer
from whichgen.evidence.content_credentials.manifest_statements import (
    ManifestStatement,
    format_claim_generator,
    interpret_claim_generator,
    list_statements,
)
from whichgen.evidence.content_credentials.manifest_status import CONTENT_CHANGED
from whichgen.evidence.finding import Evidence, Finding, Indication
from whichgen.evidence.metadata.digital_source_types import parse_source_type
from whichgen.evidence.untrusted_text import as_dict, as_list, clean

#: Start of a manifest store in every format: a JUMBF description box of C2PA's type.
_STORE = b"jumd" + bytes.fromhex("6332706100110010800000aa00389b71")

_TITLE = "Content Credentials (C2PA)"


def has_manifest(data: bytes) -> bool:
    """Return whether the content of a file includes a C2PA manifest store."""
    return _STORE in data


def prepare_parser(data: bytes) -> None:
    """Start the child process that parses manifests if the file has a manifest.

    The process loads the C2PA library while the caller reads other parts of the file. Nothing
    happens if the library is not installed or the process can't be started.
    """
    if has_manifest(data) and is_installed():
        with contextlib.suppress(OSError):  # read_credentials reports the error
            start_process()


def read_credentials(data: bytes, mime: str, trust_anchors: str = "") -> Evidence:
    """Extract provenance evidence from Content Credentials.

    Parameters
    ----------
    data
        Content of the image file.
    mime
        MIME type of the file, such as ``image/jpeg``.
    trust_anchors
        Certificates of trusted authorities in PEM (see
        :func:`~whichgen.evidence.content_credentials.trust_list.read_trust_list`); empty if there
        is no trust list.

    Returns
    -------
    Evidence
        The status of the active manifest, then the statements of the manifests of
        :func:`~whichgen.evidence.content_credentials.manifest_history.list_manifests`. Manifests of
        parts of the image contribute only statements about generated content. If no statement is
        about the origin, a generator that wrote the active manifest is weak evidence. If the extra
        ``evidence`` is not installed or the manifest store can't be read, the only finding says so.
        Empty if the file has no manifest store.

    Raises
    ------
    OSError
        The child process that parses manifests can't be started.
    """
    if not has_manifest(data):
        return Evidence()
    if not is_installed():
        note = "Content Credentials are not verified; install whichgen[evidence] to verify them"
        title = f"{_TITLE} present, not verified"
        return Evidence((Finding("credentials", title, statement=title),), (note,))
    try:
        store = read_manifest_store(data, mime, trust_anchors)
    except ManifestError as error:
        states: dict[type[ManifestError], str] = {
            MalformedError: "not valid: malformed, can't be read",
            MisplacedError: "not read, because they are in an unexpected place in the file",
        }
        title = f"{_TITLE}: {states.get(type(error), 'not checked')}"
        return Evidence((Finding("credentials", title, str(error), statement=title),))
    manifests = list_manifests(store, data, has_trust_list=bool(trust_anchors))
    statements = [
        (statement, manifest)
        for manifest in manifests
        for statement in list_statements(manifest.content)
        if manifest.role == "whole" or statement.indicates == "synthetic"
    ]
    if all(statement.indicates == "neutral" for statement, _ in statements):
        statements += [(s, manifests[0]) for s in interpret_claim_generator(manifests[0].content)]
    findings = [_report_statement(statement, manifest) for statement, manifest in statements]
    lacks_statements = all(finding.indicates == "neutral" for finding in findings)
    return Evidence((_report_signature(manifests[0], lacks_statements=lacks_statements), *findings))


def _report_signature(active: Manifest, *, lacks_statements: bool) -> Finding:
    """Create a finding about the active manifest: status, signer, program, ingredients and time.

    ``lacks_statements`` means that no intact manifest contains a statement about the origin.
    """
    info = as_dict(active.content.get("signature_info"))
    details = {
        "signed by": format_signer(active.content),
        "claim generator": format_claim_generator(active.content),
        "ingredients": str(len(as_list(active.content.get("ingredients")))),
        "time": clean(str(info.get("time") or ""), 80),
    }
    detail = "; ".join(f"{name} {text}" for name, text in details.items() if text)
    title = f"{_TITLE}: {active.status.summary}"
    return Finding(
        "credentials", title, detail, statement=_phrase_signature(active, lacks_statements)
    )


def _phrase_signature(active: Manifest, lacks_statements: bool) -> str:
    """Describe the active manifest in a phrase.

    The phrase is empty if the manifest is intact and statements are described instead.
    """
    (signer,) = _list_signers(active)
    cautions = ", ".join(active.status.cautions)
    if active.status.intact:
        phrase = f"Content Credentials signed by {signer} do not state an origin ({cautions})"
        return phrase if lacks_statements else ""
    if cautions == CONTENT_CHANGED:
        cautions += ", possibly only because the file was saved again"
    return f"Content Credentials signed by {signer} are not valid and do not count: {cautions}"


def _list_signers(
    manifest: Manifest, format_name: Callable[[dict[str, Any]], str] = name_signer
) -> list[str]:
    """Return the distinct signers of a manifest and of its outer manifests, in this order."""
    contents = (manifest.content, *manifest.outer_contents)
    return list(dict.fromkeys(format_name(content) or "an unnamed signer" for content in contents))


def _report_statement(statement: ManifestStatement, manifest: Manifest) -> Finding:
    """Create a finding from a statement; ``neutral`` if the manifest is not intact."""
    signer, *outer_signers = _list_signers(manifest, format_signer)
    trust = "trusted" if manifest.status.trusted else "not verified"
    indication: Indication = statement.indicates
    title, generator = statement.title, statement.generator
    if manifest.role == "part":
        title, indication = f"component, {title}", "edited"
    if not manifest.status.intact:
        indication, generator, trust = "neutral", "", "not valid"
    if indication != "synthetic":
        generator = ""
    source = f"stated by {signer} ({trust})"
    if outer_signers:  # only the outer signers state that this manifest belongs to the image
        source += f"; attached by {', '.join(outer_signers)}"
    return Finding(
        kind="credentials",
        title=title,
        detail=f"{statement.detail}; {source}" if statement.detail else source,
        indicates=indication,
        generator=generator,
        strength=statement.strength,
        statement="" if indication == "neutral" else _phrase_statement(statement, manifest),
        trusted=manifest.status.trusted,
    )


def _phrase_statement(statement: ManifestStatement, manifest: Manifest) -> str:
    """Describe a statement in a phrase: signer, claim, and status in parentheses."""
    means = f"with {statement.generator}" if statement.generator else "by AI"
    subject = statement.title.rpartition(": ")[2]
    if manifest.role == "part":
        claim = f"contains a part generated {means}"
    elif statement.strength == "weak":
        claim = f"names {statement.generator}, but states no source type"
    elif statement.indicates == "synthetic":
        claim = f"generated {means}"
    elif parse_source_type(subject)[1] == "synthetic":
        claim = f"an existing image, changed {means}"
    elif statement.title == "edits":
        claim = f"edited ({statement.detail})"
    else:  # a source type or a camera
        claim = statement.detail.partition(";")[0] or subject
    signer, *outer_signers = _list_signers(manifest)
    if outer_signers:
        signer += f", attached by {', '.join(outer_signers)}"
    cautions = ", ".join(manifest.status.cautions)
    return f"Content Credentials signed by {signer}: {claim} ({cautions})"
