"""Status of a C2PA manifest: whether it is intact, and whether its signer is trusted.

Integrity and trust are independent. An intact manifest has not changed since it was signed. A
signer is trusted if its certificate is on the trust list. A certificate that has expired, is not on
the trust list or has an unlisted type does not mean that the image was changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from whichgen.evidence.text_limits import clean

#: Maximum number of codes in a text.
_MAX_CODES = 5

#: Checks that must succeed: the signature and at least one hash of the content.
_SIGNATURE = "claimSignature.validated"
_CONTENT = re.compile(r"assertion\.(data|boxes|bmff|collection|multiAsset)Hash\.(match|mismatch)$")

# Failures that do not affect integrity: those of the certificate and its time, and malformed
# assertions and claims whose hashes and signature match. Any other failure breaks the manifest.
_CERTIFICATE = re.compile(
    r"signingCredential\.|timeStamp\.|timeOfSigning\.|claimSignature\.outside"
)
_FORM = re.compile(r"(claim|assertion|ingredient|manifest)(\.\w+)*\.malformed$|assertion\.action\.")

#: The only entry of :attr:`ManifestStatus.cautions` if the only failure is the content hash.
CONTENT_CHANGED = "content changed after signing"


@dataclass(frozen=True)
class ManifestStatus:
    """Integrity of a manifest and trust in its signer.

    Parameters
    ----------
    intact
        Whether the signature and all hashes match.
    trusted
        Whether the signer is on the trust list. Always false if the manifest is not intact.
    summary
        Description for reports.
    cautions
        Most important parts of ``summary``, for a one-sentence summary.
    """

    intact: bool
    trusted: bool
    summary: str
    cautions: tuple[str, ...]


def assess_manifest(
    successes: Iterable[str],
    failures: Iterable[str],
    *,
    is_active: bool,
    has_trust_list: bool,
    is_metadata_excluded: bool = False,
) -> ManifestStatus:
    """Determine the status of a manifest from the validation codes of the C2PA library.

    Parameters
    ----------
    successes, failures
        Codes of the checks of this manifest that succeeded and failed.
    is_active
        Whether this is the active manifest, which must match the content of the file. An
        ingredient's manifest can't be compared, because the content of the ingredient is missing.
    has_trust_list
        Whether signers were checked against a trust list.
    is_metadata_excluded
        Whether the content hash excludes metadata, such as EXIF.
    """
    succeeded, failed = set(successes), list(dict.fromkeys(failures))
    certificate = [code for code in failed if _CERTIFICATE.match(code)]
    form = [code for code in failed if _FORM.match(code)]
    broken = [code for code in failed if code not in certificate and code not in form]
    changed = [code for code in broken if _CONTENT.match(code)]
    if is_active and not broken:
        if _SIGNATURE not in succeeded:
            broken.append(f"no {_SIGNATURE}")
        if not any(_CONTENT.match(code) for code in succeeded):
            broken.append("no content hash")
    if broken:
        problem = CONTENT_CHANGED
        if changed != broken or (is_active and _SIGNATURE not in succeeded):
            problem = "manifest damaged or forged"
        summary = f"not valid: {problem} ({_list_codes(broken)})"
        return ManifestStatus(False, False, summary, (problem,))
    is_trusted = "signingCredential.trusted" in succeeded
    caution = "signer not verified"
    trust = "signer not checked against a trust list"
    if "signingCredential.ocsp.revoked" in certificate:
        is_trusted = False
        caution = trust = "certificate revoked"
    elif is_trusted or has_trust_list:
        caution = trust = f"signer {'' if is_trusted else 'not '}on the trust list"
    parts = ["signature and content intact" if is_active else "signature intact", trust]
    cautions = [caution]
    if {"signingCredential.expired", "claimSignature.outsideValidity"} & set(certificate):
        is_trusted = False
        cautions.append("certificate expired")
        parts.append("certificate expired, no trusted time stamp")
    if "signingCredential.invalid" in certificate:
        parts.append("certificate of an unlisted type")
    if form:
        parts.append(f"malformed by the letter of the specification ({_list_codes(form)})")
    if is_metadata_excluded:
        parts.append("metadata such as EXIF is not signed")
    return ManifestStatus(True, is_trusted, "; ".join(parts), tuple(cautions))


def limit_status(status: ManifestStatus, outer: ManifestStatus) -> ManifestStatus:
    """Limit the status of an ingredient's manifest by the status of the outer manifest.

    The outer manifest refers to the ingredient. The ingredient's manifest is intact only if both
    are, and trusted only if both are.
    """
    cautions = status.cautions
    if status.trusted and not outer.trusted:
        cautions = outer.cautions
    elif not outer.trusted:
        cautions = tuple(dict.fromkeys((*outer.cautions, *status.cautions)))
    return ManifestStatus(
        status.intact and outer.intact,
        status.trusted and outer.trusted,
        status.summary,
        cautions,
    )


def _list_codes(codes: list[str]) -> str:
    return ", ".join(clean(code, 60) for code in codes[:_MAX_CODES])
