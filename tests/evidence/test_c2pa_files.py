"""Content Credentials of real programs, in the files of the folder ``../shared``."""

from __future__ import annotations

import hashlib
import io
import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import c2pa
import pytest

from whichgen.evidence.collect import Finding, collect
from whichgen.evidence.content_credentials.manifest_client import read_manifest_store

INTACT = "signature and content intact; signer not checked against a trust list"
EXPIRED = "certificate expired, no trusted time stamp"
MALFORMED = "not in the specified format"


@dataclass(frozen=True)
class Expected:
    """What the credentials of a file must give: status, indications, generators."""

    status: tuple[str, ...]
    indicates: frozenset[str] = frozenset({"synthetic"})
    generators: frozenset[str] = frozenset()


def generated(name: str, *status: str) -> Expected:
    return Expected((INTACT, *status), generators=frozenset({name}))


FILES = {
    "metadata/chatgpt_2025_a.png": generated("GPT-4o", EXPIRED, MALFORMED),
    "metadata/chatgpt_2025_b.png": generated("GPT-4o", EXPIRED, MALFORMED),
    "metadata/gpt_image_1_a_real.webp": generated("GPT-4o", EXPIRED, MALFORMED),
    "metadata/gpt_image_1_b_real.png": generated("GPT-4o", EXPIRED, MALFORMED),
    "metadata/openai_2026_a.png": generated("gpt-image 2.0"),
    "metadata/openai_2026_b.png": generated("gpt-image 2.0"),
    "metadata/openai_2026_c.png": generated("gpt-image 2.0"),
    "metadata/gpt_image_2_a_real.jpg": generated("gpt-image 2.0"),
    "metadata/gpt_image_2_b_real.png": generated("gpt-image pre-2.0"),
    "metadata/dalle_3_a_real.webp": generated("DALL·E"),
    "metadata/dalle_3_bing_a_real.jpg": generated("Image Creator from Designer"),
    "metadata/dalle_3_bing_b_real.jpg": generated("Image Creator from Designer"),
    "metadata/adobe_firefly_a_real.jpg": generated("Adobe Firefly"),
    "metadata/nikon_c2pa.jpeg": Expected((INTACT, EXPIRED), frozenset({"camera"})),
    "metadata/truepic.jpg": Expected(
        (INTACT, "metadata such as EXIF is not signed"), frozenset({"camera"})
    ),
    "metadata/c2pa_C.jpg": Expected((INTACT,), frozenset({"edited"})),
    "metadata/c2pa_CA.jpg": Expected((INTACT,), frozenset({"edited"})),
    "metadata/c2pa_CICA.jpg": Expected((INTACT,), frozenset({"edited"})),
    "metadata/c2pa_XCI.jpg": Expected(("not valid: content changed after signing",), frozenset()),
    "metadata/c2pa_E-dat-CA.jpg": Expected(
        ("not valid: content changed after signing",), frozenset()
    ),
    "metadata/c2pa_E-sig-CA.jpg": Expected(("not valid: manifest damaged or forged",), frozenset()),
    "cases/adobe_opened_params.jpg": generated("Some 3rd-party model"),
    "cases/pixel_camera.jpg": Expected((INTACT,), frozenset({"camera"})),
}


def credentials(path: Path, trust_anchors: str = "") -> list[Finding]:
    found = collect(path.read_bytes(), trust_anchors=trust_anchors).findings
    return [finding for finding in found if finding.kind == "credentials"]


@pytest.mark.parametrize("name", FILES)
def test_credentials_of_real_files(name: str, shared: Path) -> None:
    expected = FILES[name]
    signature, *statements = credentials(shared / name)
    for words in expected.status:
        assert words in signature.title
    if not any(words in (EXPIRED, MALFORMED) for words in expected.status):
        assert EXPIRED not in signature.title
        assert MALFORMED not in signature.title
    assert signature.indicates == "neutral"
    assert {f.indicates for f in statements} - {"neutral"} == expected.indicates
    assert {f.generator for f in statements} - {""} == expected.generators
    # Nobody is called a forger, and no photograph altered, because of a certificate.
    assert ("not valid" in signature.title) == (expected.indicates == frozenset())


def test_signers_and_programs_are_named(shared: Path) -> None:
    signature, statement = credentials(shared / "metadata/dalle_3_bing_b_real.jpg")
    assert "signed by Microsoft Corporation;" in signature.detail
    assert "claim generator Microsoft Responsible AI Image Provenance 1.0" in signature.detail
    assert "stated by Microsoft Corporation (not verified)" in statement.detail


def test_authority_in_a_real_chain_can_be_trusted(shared: Path) -> None:
    path = shared / "metadata/openai_2026_b.png"
    anchor = next(pem for name, pem in _iterate_certificates(path) if "C2PA ICA R1 2025" in name)
    signature, statement = credentials(path, anchor)
    assert "signer on the trust list" in signature.title
    assert statement.detail.endswith("(trusted)")
    signature, statement = credentials(shared / "metadata/dalle_3_bing_b_real.jpg", anchor)
    assert "signer not on the trust list" in signature.title
    assert statement.detail.endswith("(not verified)")


def _iterate_certificates(path: Path) -> list[tuple[str, str]]:
    """Subject and PEM of the certificates in a file."""
    from cryptography import x509

    data, result = path.read_bytes(), []
    for match in re.finditer(rb"\x30\x82", data):
        start = match.start()
        der = data[start : start + 4 + int.from_bytes(data[start + 2 : start + 4])]
        try:
            subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        except ValueError:
            continue
        body = b64encode(der).decode()
        pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
        result.append((subject, pem))
    return result


def test_truepic_photograph_is_unchanged_by_our_own_computation(shared: Path) -> None:
    """The library reports a mismatch, because the bytes before the manifest are excluded, too.

    C2PA 1.2, section 13.1: the hash is over the file without the exclusion ranges.
    """
    data = (shared / "metadata/truepic.jpg").read_bytes()
    store = read_manifest_store(data, "image/jpeg")
    failures = store.store["validation_results"]["activeManifest"]["failure"]
    assert "assertion.dataHash.mismatch" in [failure["code"] for failure in failures]
    (start, length), *others = store.exclusions
    assert (start, others) == (0, [])
    with c2pa.Context.from_dict({}) as context:
        reader = c2pa.Reader("image/jpeg", io.BytesIO(data), context=context)
        detailed = reader.detailed_json()
    digest = b64encode(hashlib.sha256(data[length:]).digest()).decode()
    assert f'"{digest}"' in detailed
    # Excluded: the start of the file, EXIF, and the segments of the manifest.
    assert data[length : length + 2] == b"\xff\xdb"
    assert [data[at : at + 2] for at in (0, 2)] == [b"\xff\xd8", b"\xff\xe1"]


def test_truepic_photograph_with_other_pixels_is_changed(shared: Path) -> None:
    path = shared / "metadata/truepic.jpg"
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    signature = next(f for f in collect(bytes(data)).findings if f.kind == "credentials")
    assert "content changed after signing" in signature.title
