"""Small image files with the given metadata, some of them signed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image, PngImagePlugin

from whichgen.evidence.collect import Finding, collect

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"

Sign = Callable[..., bytes]


def picture(seed: int = 0) -> Image.Image:
    """48 × 32 pixels that no JPEG leaves flat."""
    return Image.linear_gradient("L").rotate(37 * seed + 5).resize((48, 32)).convert("RGB")


def encode(kind: str = "PNG", **options: Any) -> bytes:
    """A picture's file, with Pillow's own options."""
    file = io.BytesIO()
    picture().save(file, kind, **options)
    return file.getvalue()


def png(texts: Mapping[str, str], *, compressed: bool = False) -> bytes:
    """A PNG with text fields."""
    info = PngImagePlugin.PngInfo()
    for field, text in texts.items():
        info.add_text(field, text, zip=compressed)
    return encode(pnginfo=info)


def xmp(properties: str = "", elements: str = "") -> bytes:
    """An XMP packet with attributes and elements of one description."""
    spaces = {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "photoshop": "http://ns.adobe.com/photoshop/1.0/",
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "exif": "http://ns.adobe.com/exif/1.0/",
        "dcterms": "http://purl.org/dc/terms/",
    }
    declared = " ".join(f'xmlns:{short}="{uri}"' for short, uri in spaces.items())
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f"<rdf:RDF {declared}><rdf:Description {properties}>{elements}</rdf:Description></rdf:RDF>"
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def findings(data: bytes, kind: str) -> list[Finding]:
    """Return the findings of one kind of metadata."""
    return [finding for finding in collect(data).findings if finding.kind == kind]


def make_certificate(
    key: ec.EllipticCurvePrivateKey, name: str, issuer: ec.EllipticCurvePrivateKey, by: str
) -> bytes:
    """A certificate as C2PA wants them: of an authority, or of a signer that one has issued."""
    now, is_authority = datetime.now(UTC), name == by

    def make_name(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Works")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    usage |= dict.fromkeys(("encipher_only", "decipher_only"), False)
    usage |= {"digital_signature": not is_authority}
    usage |= dict.fromkeys(("key_cert_sign", "crl_sign"), is_authority)
    builder = (
        x509.CertificateBuilder()
        .subject_name(make_name(name))
        .issuer_name(make_name(by))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_authority:
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(issuer_key, critical=False)
        builder = builder.add_extension(purposes, critical=False)
    return builder.sign(issuer, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="session")
def authority() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """Key and certificate (PEM) of the authority of :func:`sign`."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, make_certificate(key, "Authority", key, "Authority")


@pytest.fixture(scope="session")
def sign(authority: tuple[ec.EllipticCurvePrivateKey, bytes]) -> Sign:
    """Signs an image: ``sign(data, "image/png", actions=[…], edit=False, remote="", …)``.

    ``manifest`` has more entries of the manifest definition. ``ingredients`` are pairs of an entry
    of the definition and the content of a JPEG file.
    """
    signer = ec.generate_private_key(ec.SECP256R1())
    chain = make_certificate(signer, "Signer", authority[0], "Authority") + authority[1]
    key = signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign_image(
        data: bytes,
        mime: str,
        *,
        actions: list[dict[str, Any]] | None = None,
        edit: bool = False,
        remote: str = "",
        ingredients: Sequence[tuple[dict[str, Any], bytes]] = (),
        manifest: Mapping[str, Any] = MappingProxyType({}),
    ) -> bytes:
        manifest = {
            "claim_generator_info": [{"name": "Toy Works", "version": "7"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}]
            if actions
            else [],
            **manifest,
        }
        settings = {"verify": {"verify_after_sign": False}}  # vendors break the letter, too
        info = c2pa.C2paSignerInfo(b"es256", chain, key, None)
        result = io.BytesIO()
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Builder(manifest, context) as builder,
        ):
            if edit:
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)  # the image given is its parent
            if remote:
                builder.set_no_embed()
                builder.set_remote_url(remote)
            for entry, content in ingredients:
                builder.add_ingredient(entry, "image/jpeg", io.BytesIO(content))
            builder.sign(c2pa.Signer.from_info(info), mime, io.BytesIO(data), result)
        return result.getvalue()

    return sign_image
