"""Content Credentials: manifests that are intact, changed, elsewhere, in a chain, or damaged."""

from __future__ import annotations

import io
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from PIL import Image

from whichgen.evidence.collect import collect
from whichgen.evidence.content_credentials.read_credentials import has_manifest, read_credentials
from whichgen.evidence.metadata.xmp import read_xmp

from .conftest import SOURCE, Sign, encode, findings, picture

KINDS = ("JPEG", "PNG", "WEBP")
MADE = [
    {
        "action": "c2pa.created",
        "softwareAgent": {"name": "GPT-4o", "version": "1"},
        "digitalSourceType": f"{SOURCE}trainedAlgorithmicMedia",
    }
]


@pytest.mark.parametrize("kind", KINDS)
def test_intact_manifest_reports_signer_source_and_generator(kind: str, sign: Sign) -> None:
    data = sign(encode(kind), f"image/{kind.lower()}", actions=MADE)
    assert has_manifest(data)
    signature, action_finding = findings(data, "credentials")
    assert signature.title.endswith(
        "signature and content intact; signer not checked against a trust list"
    )
    assert "signed by Signer / Test Works" in signature.detail
    assert "claim generator Toy Works 7" in signature.detail
    assert "ingredients 0" in signature.detail
    assert signature.indicates == "neutral"
    assert action_finding.title == "c2pa.created: trainedAlgorithmicMedia"
    assert action_finding.detail.endswith("stated by Signer / Test Works (not verified)")
    assert (action_finding.indicates, action_finding.generator) == ("synthetic", "GPT-4o 1")


@pytest.mark.parametrize(
    ("code", "indication"),
    [
        ("digitalCapture", "camera"),
        ("compositeWithTrainedAlgorithmicMedia", "edited"),
        ("digitalArt", "neutral"),
        ("no-such-type", "neutral"),
    ],
)
def test_source_type_determines_the_finding(code: str, indication: str, sign: Sign) -> None:
    action = {"action": "c2pa.created", "softwareAgent": "X", "digitalSourceType": SOURCE + code}
    action_finding = findings(sign(encode(), "image/png", actions=[action]), "credentials")[1]
    assert action_finding.title == f"c2pa.created: {code}"
    assert (action_finding.indicates, action_finding.generator) == (indication, "")


def test_pixels_changed_after_signing_invalidate_claims(sign: Sign) -> None:
    data = bytearray(sign(encode("JPEG"), "image/jpeg", actions=MADE))
    data[-20] ^= 1  # one of the compressed pixels
    signature, action_finding = findings(bytes(data), "credentials")
    assert "content changed after signing (assertion.dataHash.mismatch)" in signature.title
    assert signature.indicates == "neutral"
    assert (action_finding.indicates, action_finding.generator) == ("neutral", "")


def test_claim_changed_after_signing_is_invalid(sign: Sign) -> None:
    data = sign(encode("JPEG"), "image/jpeg", actions=MADE)
    lie = data.replace(b"trainedAlgorithmicMedia", b"digitalCapture".ljust(23, b"x"))
    assert lie != data
    signature, action_finding = findings(lie, "credentials")
    assert "manifest damaged or forged (assertion.hashedURI.mismatch)" in signature.title
    assert {signature.indicates, action_finding.indicates} == {"neutral"}


def test_parent_image_and_edits_are_reported(sign: Sign) -> None:
    first = sign(encode("JPEG"), "image/jpeg", actions=MADE)
    edits = [{"action": "c2pa.color_adjustments"}, {"action": "c2pa.resized"}]
    signature, *actions = findings(
        sign(first, "image/jpeg", actions=edits, edit=True), "credentials"
    )
    assert "ingredients 1" in signature.detail
    assert [(f.title, f.detail.split(";")[0]) for f in actions if f.indicates == "edited"] == [
        ("edits", "c2pa.color_adjustments")
    ]
    assert [f.generator for f in actions if f.indicates == "synthetic"] == ["GPT-4o 1"]


def test_remote_manifest_is_reported_but_not_fetched(sign: Sign) -> None:
    requested_paths: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested_paths.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/manifest"
        data = sign(encode("JPEG"), "image/jpeg", actions=MADE, remote=url)
        all_findings = collect(data).findings
        # Even where an embedded store makes it look there, as these bytes at the end pretend.
        embedded = sign(encode("JPEG"), "image/jpeg", actions=MADE)
        start = embedded.index(b"jumd")
        read_credentials(data + embedded[start : start + 50], "image/jpeg")
        server.shutdown()
    assert [f.detail for f in all_findings if "at a remote URL, not fetched" in f.title] == [url]
    assert requested_paths == []


def test_damaged_manifest_is_neutral(sign: Sign) -> None:
    data = sign(encode("PNG"), "image/png", actions=MADE)
    start = data.index(b"jumd")
    broken = data[: start + 30] + bytes(200) + data[start + 230 :]
    (finding,) = read_credentials(broken, "image/png").findings
    assert finding.title.endswith(": not valid: malformed, can't be read")
    assert finding.indicates == "neutral"


def test_manifest_behind_the_image_is_not_read(sign: Sign) -> None:
    signed = sign(encode("JPEG"), "image/jpeg", actions=MADE)
    start = signed.index(b"\xff\xeb")
    end = start + 2 + int.from_bytes(signed[start + 2 : start + 4])
    (finding,) = findings(encode("JPEG") + signed[start:end], "credentials")
    assert finding.title.endswith(": not read, because they are in an unexpected place in the file")
    assert finding.indicates == "neutral"


def test_missing_library_adds_a_note(sign: Sign, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sign(encode("WEBP"), "image/webp", actions=MADE)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    evidence = collect(data)
    assert [f.title for f in evidence.findings] == [
        "Content Credentials (C2PA) present, not verified"
    ]
    assert any("install whichgen[evidence]" in note for note in evidence.notes)
    assert collect(encode()).notes == ()


def test_multi_picture_file_is_read_as_jpeg(sign: Sign) -> None:
    several = encode("MPO", save_all=True, append_images=[picture(1)])
    with Image.open(io.BytesIO(sign(several, "image/jpeg", actions=MADE))) as image:
        assert image.format == "MPO"
        data = image.fp.getvalue()  # type: ignore[union-attr]
    assert "content intact" in findings(data, "credentials")[0].title
    assert [f.kind for f in collect(data).findings].count("jpeg") == 1


def test_an_image_without_credentials_has_none() -> None:
    assert not has_manifest(encode("JPEG"))
    assert findings(encode("JPEG"), "credentials") == []


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("self#jumbf=/c2pa/adobe:urn:uuid:1", "in this file"),
        ("https://example.org/manifest", "at a remote URL, not fetched"),
    ],
)
def test_place_of_the_manifest_is_stated(reference: str, place: str) -> None:
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{reference}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    (finding,) = read_xmp(xmp.encode()).findings
    assert finding.title == f"Content Credentials {place}"
    assert finding.detail == reference
