"""Fuzz the readers of provenance evidence in image files."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import IFDRational

from tools.fuzz.case_limits import enforce_limits, require
from tools.fuzz.fixtures import encode_image, make_image
from tools.fuzz.targets.images import fix_checksums, lower_pixel_limit
from whichgen.errors import ImageError
from whichgen.evidence.agreement import compare_with_prediction
from whichgen.evidence.collect import MAX_FINDINGS, Evidence, collect
from whichgen.evidence.content_credentials.manifest_client import start_process
from whichgen.evidence.metadata.text_fields import interpret_text
from whichgen.evidence.metadata.xmp import read_xmp
from whichgen.evidence.summary import summarize_evidence

#: An image with a signed manifest. It is stored as a file, because signing needs a key.
_SIGNED = Path(__file__).parents[1] / "signed.jpg"

#: First bytes of a case that is the text of a field, or an XMP packet, not an image file.
TEXT, XMP = b"TEXT", b"XMPP"

_PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    b'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="GIMP" '
    b'e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia">'
    b"<photoshop:Credit>Made with Google AI</photoshop:Credit>"
    b'<xmp:History xmlns:s="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"><rdf:Seq>'
    b'<rdf:li s:action="edited" s:softwareAgent="Adobe Firefly"/></rdf:Seq></xmp:History>'
    b"</rdf:Description></rdf:RDF>"
    b"</x:xmpmeta>"
)
_TEXTS = (
    "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8, Version: v1.9",
    '{"1": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20}}}',
    '{"nodes": [{"type": "CheckpointLoader", "widgets_values": ["x.safetensors"]}], "links": []}',
    '{"sui_image_params": {"model": "x", "seed": 1}}',
    '{"app_version": "3", "model_weights": "x", "image": {"width": 8, "height": 8}}',
    "a cat Job ID: 01234567-89ab-cdef-0123-456789abcdef",
    "Made with Google AI",
    '{"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "model": ["3", 0]}}, '
    '"2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a"}}, '
    '"3": {"class_type": "UNETLoader", "inputs": {"unet_name": "x.gguf"}}}',
    '{"nodes": [{"id": 1, "type": "KSampler", "inputs": [{"name": "positive", "link": 5}]}, '
    '{"id": 2, "type": "CLIPTextEncode", "widgets_values": ["a"]}], "links": [[5, 2, 0, 1, 0]], '
    '"definitions": {"subgraphs": [{"id": "s", "nodes": [], "links": []}]}}',
    '{"prompt": "{\\"1\\": 2}", "AIGC": {"Label": "1", "ContentProducer": "x"}}',
    "Model: x; Include in Image: a; Seed: 1; Steps: 2",
    '"a cat" -s 50 -S 7 -W 8 -H 8 -C 7.5 -A k_lms',
)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model], exif[Base.Software] = "Canon", "5D", "GIMP 2"
    exif[Base.ImageDescription] = "Made with Google AI"
    inner = exif.get_ifd(IFD.Exif)
    inner[Base.UserComment] = b"UNICODE\0" + "Steps: 2, Seed: 1".encode("utf-16")
    inner[Base.FNumber], inner[Base.ExposureTime] = IFDRational(0, 0), IFDRational(1, 0)
    inner[Base.ISOSpeedRatings], inner[Base.DateTimeOriginal] = 100, "2020:01:01 00:00:00"
    exif.get_ifd(IFD.GPSInfo)[1] = "N"
    return exif


def seeds() -> list[bytes]:
    """Return image files with each kind of metadata, texts of fields, and an XMP packet."""
    options: dict[str, Any] = {"exif": _exif().tobytes(), "xmp": _PACKET}
    images = [encode_image(make_image(), kind, **options) for kind in ("JPEG", "WEBP", "AVIF")]
    images.append(encode_image(make_image(), "TIFF", exif=_exif().tobytes()))
    images.append(encode_image(make_image(), "JPEG", comment=_TEXTS[0].encode(), progressive=True))
    hidden = make_image().convert("RGBA").resize((64, 64))
    bits = "".join(f"{byte:08b}" for byte in b"stealth_pnginfo\0\0\0\x40Steps: 1")
    alpha = [254 | int(bit) for bit in bits.ljust(64 * 64, "1")]
    column_wise = Image.frombytes("L", (64, 64), bytes(alpha)).transpose(Image.Transpose.TRANSPOSE)
    hidden.putalpha(column_wise)
    images.append(encode_image(hidden, "PNG"))
    colors = np.full((64, 64, 3), 254, np.uint8)
    row = np.unpackbits(np.frombuffer(b"stealth_rgbinfo\0\0\0\x40Steps: 1", np.uint8))
    colors.reshape(-1)[: row.size] |= row
    images.append(encode_image(Image.fromarray(colors.transpose(1, 0, 2).copy()), "PNG"))
    for compressed in (False, True):
        info = PngImagePlugin.PngInfo()
        for i, text in enumerate(_TEXTS):
            info.add_text(f"Software{i}", text, zip=compressed)
        info.add_itxt("XML:com.adobe.xmp", _PACKET.decode(), zip=compressed)
        images.append(encode_image(make_image(), "PNG", pnginfo=info, exif=_exif().tobytes()))
    iptc = b"".join(
        b"\x1c\x02" + bytes([n]) + len(v).to_bytes(2, "big") + v
        for n, v in ((40, b"x"), (65, b"Midjourney"), (120, b"Job ID: 1"))
    )
    block = b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc + b"\0" * (len(iptc) % 2)
    segment = b"Photoshop 3.0\0" + block
    jpeg = encode_image(make_image(), "JPEG")
    images.append(
        jpeg[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]
    )
    images.append(_SIGNED.read_bytes())
    return [*images, *(TEXT + text.encode() for text in _TEXTS), XMP + _PACKET]


def check(data: bytes) -> None:
    """Check that the evidence has valid texts (:func:`_check_evidence`) and uses no network."""
    if data.startswith(TEXT):
        with enforce_limits():
            text = data[len(TEXT) :].decode("utf-8", errors="surrogateescape")
            for field in ("prompt", "Software"):
                _check_evidence(Evidence(tuple(interpret_text("text", field, text))))
        return
    if data.startswith(XMP):
        with enforce_limits():
            try:
                _check_evidence(read_xmp(data[len(XMP) :]))
            except (SyntaxError, ValueError, LookupError):
                return  # collect reports these errors in a note
        return
    start_process()  # start the parser of manifests here, because a case must not start programs
    with lower_pixel_limit(), enforce_limits():
        for content in (data, fix_checksums(data)) if data.startswith(b"\x89PNG") else (data,):
            try:
                evidence = collect(content)
            except ImageError:
                continue
            _check_evidence(evidence)
            for origin in ("real", "Midjourney", "unknown"):
                agreement = compare_with_prediction(evidence, origin, "diffusion")
                require(agreement.agrees is None or bool(agreement.sentence), "no sentence")


def _check_evidence(evidence: Evidence) -> None:
    """Check that each text is one printable line of at most 300 characters."""
    require(len(evidence.findings) <= MAX_FINDINGS, "too many findings")
    values = [value for f in evidence.as_dict()["findings"] for value in f.values()]
    texts = [value for value in values if isinstance(value, str)]
    summary = summarize_evidence(evidence)
    states = any(f.indicates != "neutral" for f in evidence.findings)
    require(states == bool(summary.strength), "a summary without the evidence")
    for text in (*texts, *evidence.notes):
        require(len(text) <= 300, "a text of more than 300 characters")
        control_characters = [c for c in text if unicodedata.category(c)[0] == "C"]
        require(not control_characters, f"unprintable {control_characters[:3]!r}")
    json.dumps(evidence.as_dict()).encode()
