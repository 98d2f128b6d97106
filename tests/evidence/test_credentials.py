"""Content Credentials, signed here by a certificate of our own making."""

from __future__ import annotations

import datetime
import io
import json
import sys

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from whichgen.evidence.collect import collect
from whichgen.evidence.contradict import contradictions
from whichgen.evidence.finding import Finding

from .conftest import FileOf

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    is_authority = name == issuer

    def named(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, text),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{text} Ltd"),
            ]
        )

    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not is_authority:
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(use, critical=False)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture(scope="session")
def signer() -> c2pa.Signer:
    """Signs as "Test Camera", whom no trust list has."""
    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = (
        certificate("Test Camera", own, "Test Authority", authority),
        certificate("Test Authority", authority, "Test Authority", authority),
    )
    info = c2pa.C2paSignerInfo(
        alg=b"es256",
        sign_cert=b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain),
        private_key=own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        ta_url=None,
    )
    return c2pa.Signer.from_info(info)


def signed(data: bytes, mime: str, signer: c2pa.Signer, *, source: str, agent: str) -> bytes:
    """The file with a manifest that says how it was created."""
    action = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE + source,
        "softwareAgent": {"name": agent},
    }
    manifest = {
        "claim_generator_info": [{"name": "whichgen's tests", "version": "1"}],
        "format": mime,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    out = io.BytesIO()
    with c2pa.Builder(json.dumps(manifest)) as builder:
        builder.sign(signer, mime, io.BytesIO(data), out)
    return out.getvalue()


def of_credentials(data: bytes) -> list[Finding]:
    return [f for f in collect(data).findings if f.kind == "credentials"]


@pytest.mark.parametrize(("kind", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png")])
def test_a_signed_claim_of_a_generator_is_read(
    file_of: FileOf, signer: c2pa.Signer, kind: str, mime: str
) -> None:
    data = signed(
        file_of(kind), mime, signer, source="trainedAlgorithmicMedia", agent="Adobe Firefly 3"
    )
    signature, created = of_credentials(data)
    assert "signature intact; signer not checked against a trust list" in signature.title
    assert "Test Camera" in signature.detail and "whichgen's tests" in signature.detail
    assert signature.says == "neutral"
    assert created.says == "synthetic" and created.generator == "Adobe Firefly"
    (said,) = contradictions(collect(data), "real", "real")
    assert "synthetic" in said


def test_a_camera_s_claim_contradicts_a_generator(file_of: FileOf, signer: c2pa.Signer) -> None:
    data = signed(
        file_of("JPEG"), "image/jpeg", signer, source="digitalCapture", agent="Test Camera"
    )
    assert [f.says for f in of_credentials(data)] == ["neutral", "camera"]
    assert len(contradictions(collect(data), "stylegan2", "stylegan2")) == 1
    assert contradictions(collect(data), "real", "real") == ()


def test_a_picture_changed_after_signing_speaks_for_nothing(
    file_of: FileOf, signer: c2pa.Signer
) -> None:
    data = bytearray(
        signed(file_of("PNG"), "image/png", signer, source="digitalCapture", agent="Test Camera")
    )
    place = bytes(data).index(b"IDAT") + 200
    data[place] ^= 1
    signature, *claims = of_credentials(bytes(data))
    assert "not valid" in signature.title and "changed after it was signed" in signature.title
    assert signature.says == "edited"
    assert {f.says for f in claims} == {"neutral"}


def test_without_the_library_a_manifest_is_told_unchecked(
    file_of: FileOf, signer: c2pa.Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = signed(
        file_of("JPEG"), "image/jpeg", signer, source="digitalCapture", agent="Test Camera"
    )
    monkeypatch.setitem(sys.modules, "c2pa", None)
    (found,) = of_credentials(data)
    assert "a manifest is there, not checked" in found.title and found.says == "neutral"
    assert any("whichgen[evidence]" in note for note in collect(data).notes)
