"""Read the signer of a C2PA manifest."""

from __future__ import annotations

from typing import Any

from whichgen.evidence.untrusted_text import as_dict, clean


def format_signer(manifest: dict[str, Any]) -> str:
    """Return the common name and organization of the signer; empty if neither is stated."""
    info = as_dict(manifest.get("signature_info"))
    names = [clean(str(info[key]), 80) for key in ("common_name", "issuer") if info.get(key)]
    return " / ".join(dict.fromkeys(names))


def name_signer(manifest: dict[str, Any]) -> str:
    """Return the organization of the signer or else the common name; empty if neither is stated."""
    info = as_dict(manifest.get("signature_info"))
    return clean(str(info.get("issuer") or info.get("common_name") or ""), 80)
