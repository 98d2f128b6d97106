"""Read C2PA Content Credentials: signed manifests that state how an image was made.

A valid signature proves that the manifest and the image have not changed since they were signed. It
does not prove the identity of the signer, because anyone can create a certificate. Signers are
identified by a trust list, which whichgen can read but does not include. The statements of an
intact manifest are reported with its status and are not judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from whichgen.evidence.digital_source_types import parse_source_type
from whichgen.evidence.finding import Evidence, Finding, Indication
from whichgen.evidence.hash_coverage import classify_exclusions
from whichgen.evidence.manifest_process import (
    MalformedError,
    ManifestError,
    ManifestStore,
    MisplacedError,
    is_installed,
    read_manifest_store,
    start_process,
)
from whichgen.evidence.manifest_statements import (
    ManifestStatement,
    creates_content,
    format_claim_generator,
    format_signer,
    interpret_claim_generator,
    list_statements,
    name_signer,
)
from whichgen.evidence.manifest_status import (
    CONTENT_CHANGED,
    ManifestStatus,
    assess_manifest,
    limit_status,
)
from whichgen.evidence.text_limits import as_dict, as_list, clean

#: Start of a manifest store in every format: a JUMBF description box of C2PA's type.
_STORE = b"jumd" + bytes.fromhex("6332706100110010800000aa00389b71")

#: Maximum number of manifests read per image.
_MAX_MANIFESTS = 10

_TITLE = "Content Credentials (C2PA)"

#: Whether a manifest describes the whole image or a part of it.
_Role = Literal["whole", "part"]


@dataclass(frozen=True)
class _Manifest:
    """Manifest of an image, of an earlier version of the image, or of a part.

    Parameters
    ----------
    content
        JSON object from the C2PA library.
    status
        Integrity and trust.
    role
        Whether the manifest describes the whole image or a part.
    outer_contents
        Contents of the manifests that contain this manifest as an ingredient, from the active
        manifest inward; empty for the active manifest.
    """

    content: dict[str, Any]
    status: ManifestStatus
    role: _Role
    outer_contents: tuple[dict[str, Any], ...] = ()


def has_manifest(data: bytes) -> bool:
    """Return whether the content of a file includes a C2PA manifest store."""
    return _STORE in data


def prepare_parser(data: bytes) -> None:
    """Start the child process that parses manifests if the file has a manifest.

    The process loads the C2PA library while the caller reads other parts of the file.
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
        :func:`whichgen.evidence.trust_list.read_trust_list`); empty if there is no trust list.

    Returns
    -------
    Evidence
        The status of the active manifest, then the statements of all manifests; empty without a
        manifest store. If the extra ``evidence`` is not installed or the manifest store can't be
        read, the only finding is the presence of Content Credentials.
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
    manifests = _list_manifests(store, data, has_trust_list=bool(trust_anchors))
    statements = [
        (statement, manifest)
        for manifest in manifests
        for statement in list_statements(manifest.content)
        if manifest.role == "whole" or statement.indicates == "synthetic"
    ]
    if all(statement.indicates == "neutral" for statement, _ in statements):
        statements += [(s, manifests[0]) for s in interpret_claim_generator(manifests[0].content)]
    findings = [_report_statement(statement, manifest) for statement, manifest in statements]
    is_silent = all(finding.indicates == "neutral" for finding in findings)
    return Evidence((_report_signature(manifests[0], is_silent=is_silent), *findings))


def _report_signature(active: _Manifest, *, is_silent: bool) -> Finding:
    """Report the status, the signer and the program of the active manifest.

    ``is_silent`` means that the manifests contain no valid statement about the origin.
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
    return Finding("credentials", title, detail, statement=_phrase_signature(active, is_silent))


def _phrase_signature(active: _Manifest, is_silent: bool) -> str:
    """Describe the active manifest in a phrase; empty if its statements are described instead."""
    (signer,) = _list_signers(active)
    cautions = ", ".join(active.status.cautions)
    if active.status.intact:
        phrase = f"Content Credentials signed by {signer} do not state an origin ({cautions})"
        return phrase if is_silent else ""
    if cautions == CONTENT_CHANGED:
        cautions += ", possibly only because the file was saved again"
    return f"Content Credentials signed by {signer} are not valid and do not count: {cautions}"


def _list_signers(
    manifest: _Manifest, format_name: Callable[[dict[str, Any]], str] = name_signer
) -> list[str]:
    """Return the signer of a manifest, followed by the signers of the outer manifests."""
    contents = (manifest.content, *manifest.outer_contents)
    return list(dict.fromkeys(format_name(content) or "an unnamed signer" for content in contents))


def _report_statement(statement: ManifestStatement, manifest: _Manifest) -> Finding:
    """Report what a manifest states; ``neutral`` if the manifest is not intact."""
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


def _phrase_statement(statement: ManifestStatement, manifest: _Manifest) -> str:
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
        claim = f"an existing picture, changed {means}"
    elif statement.title == "edits":
        claim = f"edited ({statement.detail})"
    else:  # a source type or a camera
        claim = statement.detail.partition(";")[0] or subject
    signer, *outer_signers = _list_signers(manifest)
    if outer_signers:
        signer += f", attached by {', '.join(outer_signers)}"
    cautions = ", ".join(manifest.status.cautions)
    return f"Content Credentials signed by {signer}: {claim} ({cautions})"


def _list_manifests(store: ManifestStore, data: bytes, *, has_trust_list: bool) -> list[_Manifest]:
    """List the active manifest and the manifests of the earlier versions and parts of the image."""
    manifests = dict(as_dict(store.store.get("manifests")))
    results = as_dict(store.store.get("validation_results"))
    deltas = [as_dict(delta) for delta in as_list(results.get("ingredientDeltas"))]
    label = str(store.store.get("active_manifest"))
    active = _Manifest(
        as_dict(manifests.pop(label, None)),
        _assess_active(store, data, has_trust_list=has_trust_list),
        "whole",
    )
    history, queue = [active], [(label, active)]
    while queue:
        label, outer = queue.pop(0)
        for ingredient, role in _iterate_history(outer.content):
            inner_label = str(ingredient.get("active_manifest"))
            content = manifests.pop(inner_label, None)  # pop, because labels may form a cycle
            if not isinstance(content, dict) or len(history) >= _MAX_MANIFESTS:
                continue
            uri = f"{label}/c2pa.assertions/{ingredient.get('label')}"
            ingredient_deltas = [
                delta for delta in deltas if str(delta.get("ingredientAssertionURI")).endswith(uri)
            ]
            signed_results = as_dict(ingredient.get("validation_results")).get("activeManifest")
            checks = [
                *(delta.get("validationDeltas") for delta in ingredient_deltas),
                signed_results,
            ]
            status = assess_manifest(
                [code for check in checks for code in _list_result_codes(check, "success")],
                [code for check in checks for code in _list_result_codes(check, "failure")]
                + _list_status_codes(ingredient.get("validation_status")),
                is_active=False,
                has_trust_list=has_trust_list,
            )
            manifest = _Manifest(
                content,
                limit_status(status, outer.status),
                role if outer.role == "whole" else "part",
                (*outer.outer_contents, outer.content),
            )
            history.append(manifest)
            queue.append((inner_label, manifest))
    return history


def _iterate_history(manifest: dict[str, Any]) -> Iterator[tuple[dict[str, Any], _Role]]:
    """Yield the ingredients that are earlier versions or parts of the image.

    Inputs of a generator are skipped. If the only ingredient of a manifest is a component, and no
    action of the manifest creates content, this component counts as an earlier version of the whole
    image, because some generators sign their images again in this way.
    """
    ingredients = [as_dict(ingredient) for ingredient in as_list(manifest.get("ingredients"))]
    is_resigned = len(ingredients) == 1 and not creates_content(manifest)
    for ingredient in ingredients:
        relationship = ingredient.get("relationship")
        if relationship == "parentOf" or (is_resigned and relationship == "componentOf"):
            yield ingredient, "whole"
        elif relationship == "componentOf":
            yield ingredient, "part"


def _assess_active(store: ManifestStore, data: bytes, *, has_trust_list: bool) -> ManifestStatus:
    results = as_dict(as_dict(store.store.get("validation_results")).get("activeManifest"))
    successes, failures = (
        _list_result_codes(results, "success"),
        _list_result_codes(results, "failure"),
    )
    excluded_kind = classify_exclusions(data, store.exclusions) if store.exclusions else "manifest"
    if excluded_kind == "picture":
        failures.append("content hash excludes the picture")
    elif excluded_kind != "unknown" and "assertion.dataHash.match" in successes:
        # The hash matches, and only the manifest or metadata is excluded from it.
        failures = [code for code in failures if code != "assertion.dataHash.mismatch"]
    if store.store.get("validation_state") == "Invalid" and not results:
        failures.append("no reason stated")
    return assess_manifest(
        successes,
        failures,
        is_active=True,
        has_trust_list=has_trust_list,
        is_metadata_excluded=excluded_kind == "metadata",
    )


def _list_result_codes(results: Any, outcome: Literal["success", "failure"]) -> list[str]:
    return _list_status_codes(as_dict(results).get(outcome))


def _list_status_codes(statuses: Any) -> list[str]:
    codes = (as_dict(status).get("code") for status in as_list(statuses))
    return [str(code) for code in codes if isinstance(code, str)]
