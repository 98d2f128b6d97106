"""Read C2PA Content Credentials: signed manifests that state how an image was made.

A valid signature proves that the manifest and the image have not changed since they were signed. It
does not prove the identity of the signer: anyone can create a certificate, and whichgen includes no
trust list.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from whichgen.evidence.bounded import clean, parse_json
from whichgen.evidence.finding import Evidence, Finding, Indication
from whichgen.evidence.generators import find_generator
from whichgen.evidence.sources import parse_source_type

#: Start of a manifest store in every format: a JUMBF description box of C2PA's type.
_STORE = b"jumd" + bytes.fromhex("6332706100110010800000aa00389b71")

#: No network access: manifests may name remote manifests and OCSP servers.
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": []},
}

#: Maximum number of manifests per history, actions per manifest, and reasons.
_MAX_MANIFESTS = 10
_MAX_ACTIONS = 50
_MAX_REASONS = 5

# Actions that do not change the picture. Others without a source type are edits.
_NO_EDITS = frozenset(
    f"c2pa.{name}"
    for name in (
        *("created", "opened", "converted", "transcoded", "repackaged", "published", "resized"),
        *("watermarked", "watermarked.bound", "watermarked.unbound", "unknown"),
    )
)


def has_manifest(data: bytes) -> bool:
    """Return whether the content of a file includes a C2PA manifest store."""
    return _STORE in data


def read_credentials(data: bytes, mime: str) -> Evidence:
    """Extract provenance evidence from Content Credentials.

    If the file has no manifest store, there are no findings. If the extra ``evidence`` is not
    installed or the manifest store can't be read, the only finding is the presence of Content
    Credentials.

    Parameters
    ----------
    data
        Content of the image file.
    mime
        MIME type of the file, such as ``image/jpeg``.
    """
    if not has_manifest(data):
        return Evidence()
    title = "Content Credentials (C2PA) present"
    try:
        import c2pa
    except (ImportError, OSError):  # not installed, or its native library does not load
        note = "Content Credentials are not verified; install whichgen[evidence] to verify them"
        return Evidence((Finding("credentials", f"{title}, not verified"),), (note,))
    try:
        with (
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Reader(mime, io.BytesIO(data), context=context) as reader,
        ):
            store = parse_json(reader.json())
    except c2pa.C2paError as error:
        return Evidence((Finding("credentials", f"{title}, unreadable", str(error)),))
    if not isinstance(store, dict):
        return Evidence((Finding("credentials", f"{title}, too large to read"),))
    failures = [code for code in _list_failures(store) if code != "signingCredential.untrusted"]
    findings = [_report_signature(store, failures)]
    for manifest in _iterate_manifests(store):
        findings += _report_actions(manifest, is_valid=not failures)
    return Evidence(tuple(findings))


def _report_signature(store: dict[str, Any], failures: list[str]) -> Finding:
    """Report the validity of the signature and details of the active manifest.

    The details are the signer, the software, the number of ingredients and the time of signing.
    ``failures`` are the codes of the checks that failed; the signature is valid if there are none.
    """
    manifest = _dict(_dict(store.get("manifests")).get(str(store.get("active_manifest"))))
    signature_info = _dict(manifest.get("signature_info"))
    details = {
        "signed by": " / ".join(
            str(signature_info[key]) for key in ("common_name", "issuer") if signature_info.get(key)
        ),
        "claim generator": _format_names(manifest.get("claim_generator_info"))
        or str(manifest.get("claim_generator") or ""),
        "ingredients": str(len(_list(manifest.get("ingredients")))),
        "time": str(signature_info.get("time") or ""),
    }
    detail = "; ".join(f"{name} {clean(text, 80)}" for name, text in details.items() if text)
    indication: Indication = "neutral"
    if failures:
        state = f"not valid ({', '.join(failures[:_MAX_REASONS])})"
        # The image differs from the signed one, which a damaged manifest alone would not show.
        if any("Hash.mismatch" in code and "hashedURI" not in code for code in failures):
            state += "; the image was changed after it was signed"
            indication = "edited"
    elif store.get("validation_state") == "Trusted":
        state = "signature intact; signer on a trust list"
    else:
        state = "signature intact; signer not checked against a trust list"
    return Finding("credentials", f"Content Credentials (C2PA): {state}", detail, indication)


def _report_actions(manifest: dict[str, Any], *, is_valid: bool) -> Iterator[Finding]:
    """Yield a finding for each action with a source type, and one finding for all edits.

    Edits are actions without a source type that change the image. All findings are ``neutral`` if
    ``is_valid`` is false.
    """
    edits = []
    for action in _list_actions(manifest):
        name = clean(str(action.get("action") or "action"), 60)
        agent = _format_names(action.get("softwareAgent"))
        source = action.get("digitalSourceType")
        if not isinstance(source, str):
            edits += [] if name in _NO_EDITS else [name]
            continue
        code, indication, meaning = parse_source_type(source)
        known_generator = find_generator(" ".join((agent, str(action.get("description") or ""))))
        generator = ""
        if indication == "synthetic":
            generator = known_generator.name if known_generator else agent
        detail = "; ".join(part for part in (meaning, agent and f"by {agent}") if part)
        if not is_valid:
            indication, generator = "neutral", ""
        yield Finding("credentials", f"{name}: {code}", detail, indication, generator)
    if edits:
        names = ", ".join(dict.fromkeys(edits))
        yield Finding("credentials", "edits", names, "edited" if is_valid else "neutral")


def _iterate_manifests(store: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the active manifest, then the manifest of its parent image, and so on.

    Exactly :data:`_MAX_MANIFESTS` dictionaries are yielded; those after the last manifest are
    empty.
    """
    manifests = dict(_dict(store.get("manifests")))
    label = store.get("active_manifest")
    for _ in range(_MAX_MANIFESTS):
        manifest = _dict(manifests.pop(str(label), None))  # pop: labels may form a circle
        yield manifest
        ingredients = map(_dict, _list(manifest.get("ingredients")))
        parent = next((i for i in ingredients if i.get("relationship") == "parentOf"), {})
        label = parent.get("active_manifest")


def _list_actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    actions = []
    for assertion in map(_dict, _list(manifest.get("assertions"))):
        if str(assertion.get("label")).startswith("c2pa.actions"):
            actions += _list(_dict(assertion.get("data")).get("actions"))
    return [action for action in actions[:_MAX_ACTIONS] if isinstance(action, dict)]


def _list_failures(store: dict[str, Any]) -> list[str]:
    results = _dict(_dict(store.get("validation_results")).get("activeManifest"))
    codes = [_dict(failure).get("code") for failure in _list(results.get("failure"))]
    if store.get("validation_state") == "Invalid" and not codes:
        codes = ["no reason given"]
    return list(dict.fromkeys(str(code) for code in codes))


def _format_names(agents: Any) -> str:
    """Format program names as one string, separated by commas.

    ``agents`` is a program or a list of programs, of which the first three are used. A program is a
    string or a dictionary with ``name`` and ``version``.
    """
    names = []
    for agent in (_list(agents) or [agents])[:3]:
        parts = [agent, *(_dict(agent).get(key) for key in ("name", "version"))]
        names.append(" ".join(part for part in parts if isinstance(part, str)))
    return ", ".join(text for text in names if text)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
