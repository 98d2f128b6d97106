"""Validation codes of the C2PA library → integrity and trust of a manifest."""

from __future__ import annotations

import pytest

from whichgen.evidence.content_credentials.manifest_status import ManifestStatus, assess_manifest

SIGNED = "claimSignature.validated"
HASHED = "assertion.dataHash.match"
UNTRUSTED = "signingCredential.untrusted"


def assess(*failures: str, successes: tuple[str, ...] = (SIGNED, HASHED)) -> ManifestStatus:
    return assess_manifest(successes, failures, is_active=True, has_trust_list=True)


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        ([UNTRUSTED], "signer not on the trust list"),
        ([UNTRUSTED, "signingCredential.expired"], "certificate expired, no trusted time stamp"),
        ([UNTRUSTED, "claimSignature.outsideValidity"], "certificate expired"),
        ([UNTRUSTED, "signingCredential.invalid"], "certificate not valid for C2PA signatures"),
        ([UNTRUSTED, "claim.malformed"], "not in the specified format (claim.malformed)"),
        ([UNTRUSTED, "assertion.action.malformed"], "(assertion.action.malformed)"),
        ([UNTRUSTED, "assertion.action.ingredientMismatch"], "ingredientMismatch"),
        ([UNTRUSTED, "signingCredential.ocsp.revoked"], "certificate revoked"),
    ],
)
def test_failures_of_trust_and_form_leave_integrity(failures: list[str], words: str) -> None:
    status = assess(*failures)
    assert status.summary.startswith("signature and content intact")
    assert words in status.summary
    assert (status.intact, status.trusted) == (True, False)


@pytest.mark.parametrize(
    "failure",
    [
        "claimSignature.mismatch",
        "claimSignature.missing",
        "assertion.hashedURI.mismatch",
        "assertion.missing",
        "assertion.undeclared",
        "claim.hardBindings.missing",
        "algorithm.unsupported",
        "ingredient.manifest.mismatch",
        "general.error",
        "some.code.of.tomorrow",
    ],
)
def test_other_failures_mean_a_broken_manifest(failure: str) -> None:
    status = assess(UNTRUSTED, failure)
    assert status.summary == f"not valid: manifest damaged or forged ({failure})"
    assert not status.intact


@pytest.mark.parametrize("kind", ["data", "boxes", "bmff"])
def test_content_hash_alone_means_changed_content(kind: str) -> None:
    status = assess(f"assertion.{kind}Hash.mismatch", successes=(SIGNED,))
    assert status.summary.startswith("not valid: content changed after signing")
    forged = assess(f"assertion.{kind}Hash.mismatch", "claimSignature.mismatch", successes=())
    assert forged.summary.startswith("not valid: manifest damaged or forged")


@pytest.mark.parametrize("successes", [(), (SIGNED,), (HASHED,)])
def test_absence_of_failures_is_not_enough(successes: tuple[str, ...]) -> None:
    assert not assess(UNTRUSTED, successes=successes).intact


def test_ingredient_has_no_content_to_check() -> None:
    status = assess_manifest([], [UNTRUSTED], is_active=False, has_trust_list=False)
    assert status.intact
    assert status.summary == "signature intact; signer not checked against a trust list"


def test_trust_needs_the_list_and_a_certificate_that_was_valid() -> None:
    trusted = (SIGNED, HASHED, "signingCredential.trusted")
    assert assess(successes=trusted).trusted
    assert assess("assertion.action.malformed", successes=trusted).trusted
    assert not assess("signingCredential.expired", successes=trusted).trusted
    assert not assess("signingCredential.ocsp.revoked", successes=trusted).trusted
    assert not assess("claimSignature.mismatch", successes=trusted).trusted
