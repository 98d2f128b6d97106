"""ManifestStatus of a C2PA manifest: whether it is intact, and whether its signer is trusted.

Integrity and trust are two things. An intact manifest states what its signer signed; a trust list
tells whether the signer is known. A certificate that has expired, is not on a trust list or is of
an unlisted type does not mean that the image was changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from whichgen.evidence.text_limits import clean

#: Maximum number of codes in a text.
_MAX_CODES = 5

#: Checks that must succeed: the signature, and one of the hashes of the content.
_SIGNATURE = "claimSignature.validated"
_CONTENT = re.compile(r"assertion\.(data|boxes|bmff|collection|multiAsset)Hash\.(match|mismatch)$")

# Failures that leave integrity untouched: the certificate and its time, and the form of assertions
# and claims whose hashes and signature match. All other failures mean a broken manifest.
_CERTIFICATE = re.compile(
    r"signingCredential\.|timeStamp\.|timeOfSigning\.|claimSignature\.outside"
)
_FORM = re.compile(r"(claim|assertion|ingredient|manifest)(\.\w+)*\.malformed$|assertion\.action\.")


#: The only one of :attr:`ManifestStatus.cautions` if only the content does not match.
CONTENT_CHANGED = "content changed after signing"


@dataclass(frozen=True)
class ManifestStatus:
    """Integrity of a manifest and trust in its signer.

    Parameters
    ----------
    intact
        Whether the signature and all hashes match, so that the manifest states what was signed.
    trusted
        Whether the signer is on the trust list. Always false if the manifest is not intact.
    summary
        Description for reports.
    cautions
        The most important parts of the description, for a summary in one sentence.
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
        Codes of the checks of this manifest.
    is_active
        Whether this is the active manifest, which must match the content of the file. The content
        of ingredients is not available.
    has_trust_list
        Whether signers were checked against a trust list.
    is_metadata_excluded
        Whether the content hash leaves out metadata, such as EXIF.
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
        words = CONTENT_CHANGED
        if changed != broken or (is_active and _SIGNATURE not in succeeded):
            words = "manifest damaged or forged"
        return ManifestStatus(False, False, f"not valid: {words} ({_list_codes(broken)})", (words,))
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
    """Return the status of an ingredient's manifest, given that of the manifest that names it.

    An ingredient is at most as intact and as trusted as the latter.
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
