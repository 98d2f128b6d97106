"""Manifests written as vendors write them, signed with a certificate of our own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from whichgen.errors import DataError
from whichgen.evidence.collect import Finding, collect
from whichgen.evidence.content_credentials.trust_list import read_trust_list

from .conftest import SOURCE, Sign, encode, findings, make_certificate, picture

TRAINED = f"{SOURCE}trainedAlgorithmicMedia"
GENERATED = {
    "action": "c2pa.created",
    "softwareAgent": {"name": "GPT-4o"},
    "digitalSourceType": TRAINED,
}
CAPTURED = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE}computationalCapture"}

Authority = tuple[ec.EllipticCurvePrivateKey, bytes]


def origins(found: list[Finding]) -> list[tuple[str, str]]:
    """What the findings indicate, and the generators that they name."""
    return [(f.indicates, f.generator) for f in found if f.indicates != "neutral"]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (  # OpenAI
            {
                "action": "c2pa.created",
                "softwareAgent": {"name": "gpt-image", "version": "2.0"},
                "digitalSourceType": TRAINED,
            },
            ("synthetic", "gpt-image 2.0"),
        ),
        (  # Google
            {
                "action": "c2pa.created",
                "description": "Created by Google Generative AI.",
                "digitalSourceType": TRAINED,
            },
            ("synthetic", "Google AI"),
        ),
        (  # Microsoft in 2024
            {
                "action": "c2pa.created",
                "softwareAgent": "Image Creator from Designer",
                "description": "AI Generated Image",
            },
            ("synthetic", "Image Creator from Designer"),
        ),
        (  # nobody but the program that wrote the manifest is named
            {"action": "c2pa.created", "digitalSourceType": TRAINED},
            ("synthetic", "Toy Works 7"),
        ),
        (  # Adobe, a model of another company
            {
                "action": "c2pa.created",
                "softwareAgent": "Adobe Photoshop 27",
                "parameters": {
                    "com.adobe.digitalSourceType": TRAINED,
                    "com.adobe.details": "Gemini 2.5",
                },
            },
            ("synthetic", "Gemini 2.5"),
        ),
    ],
)
def test_generator_is_named_as_the_manifest_names_it(
    action: dict[str, Any], expected: tuple[str, str], sign: Sign
) -> None:
    data = sign(encode("JPEG"), "image/jpeg", actions=[action])
    assert origins(findings(data, "credentials")) == [expected]


def test_program_of_an_action_may_be_given_by_its_number(sign: Sign) -> None:
    action = {"action": "c2pa.created", "softwareAgentIndex": 1, "digitalSourceType": TRAINED}
    data = {"actions": [action], "softwareAgents": [{"name": "A"}, {"name": "B", "version": "2"}]}
    definition = {"assertions": [{"label": "c2pa.actions.v2", "data": data}]}
    signed = sign(encode("JPEG"), "image/jpeg", manifest=definition)
    assert origins(findings(signed, "credentials")) == [("synthetic", "B 2")]


@pytest.mark.parametrize(
    ("label", "data", "expected"),
    [
        (
            "com.adobe.generative-ai",
            {"description": "AI Generated Image", "version": "2"},
            [("synthetic", "Adobe Firefly")],
        ),
        ("stds.exif", {"EXIF:Make": "Google", "EXIF:Model": "Pixel 5"}, [("camera", "")]),
        ("stds.exif", {"exif:FNumber": "4"}, []),
        ("cawg.metadata", {"Iptc4xmpExt:DigitalSourceType": TRAINED}, [("synthetic", "")]),
    ],
)
def test_other_assertions_that_state_an_origin(
    label: str, data: dict[str, Any], expected: list[tuple[str, str]], sign: Sign
) -> None:
    data = {"@context": {"exif": "http://ns.adobe.com/exif/1.0/"}, **data}
    created = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE}digitalCreation"}
    assertions = [
        {"label": "c2pa.actions", "data": {"actions": [created]}},
        {"label": label, "data": data, "kind": "Json"},
    ]
    signed = sign(encode("JPEG"), "image/jpeg", manifest={"assertions": assertions})
    assert origins(findings(signed, "credentials")) == expected


def test_edit_by_a_generator_does_not_make_a_photograph_synthetic(sign: Sign) -> None:
    photograph = sign(encode("JPEG"), "image/jpeg", actions=[CAPTURED])
    fill = {"action": "c2pa.edited", "softwareAgent": "Firefly", "digitalSourceType": TRAINED}
    edited = sign(photograph, "image/jpeg", actions=[fill], edit=True)
    assert set(origins(findings(edited, "credentials"))) == {("edited", ""), ("camera", "")}


def test_generator_in_a_camera_edits_a_photograph(sign: Sign) -> None:
    fill = {"action": "c2pa.edited", "softwareAgent": "Eraser", "digitalSourceType": TRAINED}
    edited = sign(encode("JPEG"), "image/jpeg", actions=[CAPTURED, fill])
    assert origins(findings(edited, "credentials")) == [("camera", ""), ("edited", "")]


def test_signer_who_attached_a_manifest_is_named(shared: Path, sign: Sign) -> None:
    """Anybody can name an image of OpenAI as the parent of a photograph."""
    generated = (shared / "metadata" / "gpt_image_2_a_real.jpg").read_bytes()
    entry = {"title": "image.jpg", "relationship": "parentOf"}
    signed = sign(encode("JPEG"), "image/jpeg", ingredients=[(entry, generated)])
    statement = next(f for f in findings(signed, "credentials") if f.indicates == "synthetic")
    assert statement.detail.endswith("(not verified); attached by Signer / Test Works")


def test_resigned_image_keeps_its_origin(sign: Sign) -> None:
    """As ChatGPT signs: no action, and the generated image as the only component."""
    generated = sign(encode("JPEG"), "image/jpeg", actions=[GENERATED])
    entry = {"title": "image.jpg", "relationship": "componentOf"}
    signed = sign(encode("JPEG"), "image/jpeg", ingredients=[(entry, generated)])
    assert origins(findings(signed, "credentials")) == [("synthetic", "GPT-4o")]


@pytest.mark.parametrize(
    ("relationship", "expected"),
    [("componentOf", [("edited", "")]), ("inputTo", [])],
)
def test_ingredient_is_not_the_whole_image(
    relationship: str, expected: list[tuple[str, str]], sign: Sign
) -> None:
    generated = sign(encode("JPEG"), "image/jpeg", actions=[GENERATED])
    created = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE}digitalCreation"}
    signed = sign(
        encode("JPEG"),
        "image/jpeg",
        actions=[created],
        ingredients=[({"title": "image.jpg", "relationship": relationship}, generated)],
    )
    assert origins(findings(signed, "credentials")) == expected


def test_claim_generator_alone_is_weak_evidence(sign: Sign) -> None:
    converted = {"action": "c2pa.converted"}
    definition = {"claim_generator_info": [{"name": "ChatGPT"}]}
    signed = sign(encode("JPEG"), "image/jpeg", actions=[converted], manifest=definition)
    (finding,) = (f for f in findings(signed, "credentials") if f.indicates == "synthetic")
    assert finding.strength == "weak"
    definition = {"claim_generator_info": [{"name": "Adobe Photoshop"}]}
    signed = sign(encode("JPEG"), "image/jpeg", actions=[converted], manifest=definition)
    assert origins(findings(signed, "credentials")) == []


def test_program_of_an_action_alone_is_weak_evidence(sign: Sign) -> None:
    created = {"action": "c2pa.created", "softwareAgent": "Bing Image Creator"}
    signed = sign(encode("JPEG"), "image/jpeg", actions=[created])
    (finding,) = (f for f in findings(signed, "credentials") if f.indicates == "synthetic")
    assert (finding.generator, finding.strength) == ("Bing Image Creator", "weak")
    created = {"action": "c2pa.created", "softwareAgent": "Adobe Photoshop 26"}
    signed = sign(encode("JPEG"), "image/jpeg", actions=[created])
    assert origins(findings(signed, "credentials")) == []


def test_statements_of_a_tampered_ingredient_do_not_count(sign: Sign) -> None:
    generated = sign(encode("JPEG"), "image/jpeg", actions=[GENERATED])
    lie = generated.replace(b"trainedAlgorithmicMedia", b"digitalCapture".ljust(23, b"x"))
    entry = {"title": "image.jpg", "relationship": "parentOf"}
    opened = {"action": "c2pa.opened"}
    signed = sign(encode("JPEG"), "image/jpeg", actions=[opened], ingredients=[(entry, lie)])
    signature, *statements = findings(signed, "credentials")
    assert "signature and content intact" in signature.title
    assert any("(not valid)" in statement.detail for statement in statements)
    assert origins(statements) == []


def test_manifest_moved_to_another_picture_states_nothing(sign: Sign) -> None:
    generated = sign(encode("JPEG"), "image/jpeg", actions=[GENERATED])
    start = generated.index(b"\xff\xeb")
    end = start + 2 + int.from_bytes(generated[start + 2 : start + 4])
    file = io.BytesIO()
    picture(3).save(file, "JPEG")
    moved = file.getvalue()[:2] + generated[start:end] + file.getvalue()[2:]
    signature, *statements = findings(moved, "credentials")
    assert "content changed after signing" in signature.title
    assert origins(statements) == []


def test_trust_list_tells_known_signers_from_others(
    sign: Sign, authority: Authority, tmp_path: Path
) -> None:
    data = sign(encode("JPEG"), "image/jpeg", actions=[GENERATED])
    path = tmp_path / "anchors.pem"
    path.write_bytes(b"# our authority\n" + authority[1])
    own = collect(data, trust_anchors=read_trust_list(path)).findings
    assert own[0].title.endswith("signature and content intact; signer on the trust list")
    assert own[1].detail.endswith("stated by Signer / Test Works (trusted)")
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(make_certificate(key, "Other", key, "Other"))
    others = collect(data, trust_anchors=read_trust_list(path)).findings
    assert others[0].title.endswith("signature and content intact; signer not on the trust list")
    assert origins(list(others)) == origins(list(own)) == [("synthetic", "GPT-4o")]


def test_changed_content_is_not_trusted(sign: Sign, authority: Authority) -> None:
    data = bytearray(sign(encode("JPEG"), "image/jpeg", actions=[GENERATED]))
    data[-20] ^= 1
    signature, statement, *_ = collect(bytes(data), trust_anchors=authority[1].decode()).findings
    assert "content changed after signing" in signature.title
    assert statement.detail.endswith("(not valid)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no certificate found"),
        (b"-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n", "no certificate found"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "certificate 1 is"),
        (b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "no certificate found"),
    ],
)
def test_damaged_trust_list_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "anchors.pem"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_trust_list(path)


def test_missing_trust_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Pass a readable PEM file"):
        read_trust_list(tmp_path / "none.pem")
