"""Status of a C2PA manifest: whether it is intact, and whether its signer is trusted.

An intact manifest has not changed since it was signed. The signer of an intact manifest is trusted
if an authority on the trust list issued the signer's certificate, and the certificate was neither
expired nor revoked. A problem with the certificate, such as its expiration, does not mean that the
image was changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from whichgen.evidence.untrusted_text import clean

#: Maximum number of validation codes in a summary.
_MAX_CODES = 5

#: Validation codes of the checks that must succeed for an active manifest: the signature, and a
#: content hash. The pattern also matches the codes of failed checks of a content hash.
_SIGNATURE = "claimSignature.validated"
_CONTENT = re.compile(r"assertion\.(data|boxes|bmff|collection|multiAsset)Hash\.(match|mismatch)$")

# Failures that do not affect integrity: failures of the certificate and its time, and claims,
# assertions and actions that violate the specification. Any other failure breaks the manifest.
_CERTIFICATE = re.compile(
    r"signingCredential\.|timeStamp\.|timeOfSigning\.|claimSignature\.outside"
)
_FORMAT = re.compile(
    r"(claim|assertion|ingredient|manifest)(\.\w+)*\.malformed$|assertion\.action\."
)

#: The only entry of :attr:`ManifestStatus.cautions` if only the content hash does not match.
CONTENT_CHANGED = "content changed after signing"


@dataclass(frozen=True)
class ManifestStatus:
    """Integrity of a manifest and trust in its signer.

    Parameters
    ----------
    intact
        Whether no check of integrity failed. For the active manifest, the successful checks must
        include the signature and a content hash.
    trusted
        Whether an authority on the trust list issued the certificate of the signer, and the
        certificate was neither expired nor revoked. Always false if the manifest is not intact.
    summary
        Description of the status for reports.
    cautions
        Short phrases on integrity and trust for a one-sentence summary, such as ``signer not
        verified``.
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
        Codes of the checks of this manifest that succeeded and failed. ``failures`` may also
        contain descriptions of failures that have no code.
    is_active
        Whether this is the active manifest, which must match the content of the file. The manifest
        of an ingredient can't be compared with the ingredient, which is not in the file.
    has_trust_list
        Whether signers were checked against a trust list.
    is_metadata_excluded
        Whether the content hash excludes metadata, such as EXIF.

    Returns
    -------
    ManifestStatus
        The status of this manifest, without the status of manifests that refer to it.
    """
    success_codes, failure_codes = set(successes), list(dict.fromkeys(failures))
    certificate_errors = [code for code in failure_codes if _CERTIFICATE.match(code)]
    format_errors = [code for code in failure_codes if _FORMAT.match(code)]
    harmless_errors = {*certificate_errors, *format_errors}
    integrity_errors = [code for code in failure_codes if code not in harmless_errors]
    content_errors = [code for code in integrity_errors if _CONTENT.match(code)]
    if is_active and not integrity_errors:
        if _SIGNATURE not in success_codes:
            integrity_errors.append(f"no {_SIGNATURE}")
        if not any(_CONTENT.match(code) for code in success_codes):
            integrity_errors.append("no content hash")
    if integrity_errors:
        problem = CONTENT_CHANGED
        if content_errors != integrity_errors or (is_active and _SIGNATURE not in success_codes):
            problem = "manifest damaged or forged"
        summary = f"not valid: {problem} ({_format_codes(integrity_errors)})"
        return ManifestStatus(False, False, summary, (problem,))
    is_trusted = "signingCredential.trusted" in success_codes
    caution = "signer not verified"
    trust = "signer not checked against a trust list"
    if "signingCredential.ocsp.revoked" in certificate_errors:
        is_trusted = False
        caution = trust = "certificate revoked"
    elif is_trusted or has_trust_list:
        caution = trust = f"signer {'' if is_trusted else 'not '}on the trust list"
    parts = ["signature and content intact" if is_active else "signature intact", trust]
    cautions = [caution]
    if {"signingCredential.expired", "claimSignature.outsideValidity"} & set(certificate_errors):
        is_trusted = False
        cautions.append("certificate expired")
        parts.append("certificate expired, no trusted time stamp")
    if "signingCredential.invalid" in certificate_errors:
        parts.append("certificate not valid for C2PA signatures")
    if format_errors:
        parts.append(f"not in the specified format ({_format_codes(format_errors)})")
    if is_metadata_excluded:
        parts.append("metadata such as EXIF is not signed")
    return ManifestStatus(True, is_trusted, "; ".join(parts), tuple(cautions))


def limit_status(status: ManifestStatus, outer: ManifestStatus) -> ManifestStatus:
    """Limit the status of an ingredient's manifest by the status of the outer manifest.

    The outer manifest refers to the ingredient.

    Parameters
    ----------
    status
        Status of the ingredient's manifest.
    outer
        Status of the outer manifest; limited, too, if this is the manifest of an ingredient.

    Returns
    -------
    ManifestStatus
        Intact only if both manifests are intact, and trusted only if both signers are trusted. The
        summary is that of the ingredient's manifest. If the outer signer is not trusted, the
        cautions include those of the outer manifest.
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


def _format_codes(codes: list[str]) -> str:
    return ", ".join(clean(code, 60) for code in codes[:_MAX_CODES])
