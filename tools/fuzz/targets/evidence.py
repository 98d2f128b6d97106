"""What files say of themselves: metadata → findings and notes, or an :class:`ImageError`."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import IFDRational

from tools.fuzz.targets.images import few_pixels, mended
from tools.fuzz.tiny import encode_image, picture
from tools.fuzz.watch import enforce_limits, require
from whichgen.errors import ImageError
from whichgen.evidence.agreement import compare_with_prediction
from whichgen.evidence.collect import MAX_FINDINGS, Evidence, collect
from whichgen.evidence.manifest_process import start_process
from whichgen.evidence.summary import summarize_evidence
from whichgen.evidence.text_fields import interpret_text
from whichgen.evidence.xmp import read_xmp

#: A picture with a signed manifest, which takes a key to make.
_SIGNED = Path(__file__).parents[1] / "signed.jpg"

#: Before bytes that are one field's text, or an XMP packet, rather than a file.
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
    """Files with every kind of metadata, texts alone, and XMP alone."""
    options: dict[str, Any] = {"exif": _exif().tobytes(), "xmp": _PACKET}
    images = [encode_image(picture(), kind, **options) for kind in ("JPEG", "WEBP", "AVIF")]
    images.append(encode_image(picture(), "TIFF", exif=_exif().tobytes()))
    images.append(encode_image(picture(), "JPEG", comment=_TEXTS[0].encode(), progressive=True))
    hidden = picture().convert("RGBA").resize((64, 64))
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
        images.append(encode_image(picture(), "PNG", pnginfo=info, exif=_exif().tobytes()))
    iptc = b"".join(
        b"\x1c\x02" + bytes([n]) + len(v).to_bytes(2, "big") + v
        for n, v in ((40, b"x"), (65, b"Midjourney"), (120, b"Job ID: 1"))
    )
    block = b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc + b"\0" * (len(iptc) % 2)
    segment = b"Photoshop 3.0\0" + block
    jpeg = encode_image(picture(), "JPEG")
    images.append(
        jpeg[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]
    )
    images.append(_SIGNED.read_bytes())
    return [*images, *(TEXT + text.encode() for text in _TEXTS), XMP + _PACKET]


def check(data: bytes) -> None:
    """Every string is one printable line of at most 300 characters, and nothing is fetched."""
    if data.startswith(TEXT):
        with enforce_limits():
            text = data[len(TEXT) :].decode("utf-8", errors="surrogateescape")
            for field in ("prompt", "Software"):
                _keeps(Evidence(tuple(interpret_text("text", field, text))))
        return
    if data.startswith(XMP):
        with enforce_limits():
            try:
                _keeps(read_xmp(data[len(XMP) :]))
            except (SyntaxError, ValueError, LookupError):
                return  # collect makes a note of it
        return
    start_process()  # the parser of manifests, which no case may start
    with few_pixels(), enforce_limits():
        for content in (data, mended(data)) if data.startswith(b"\x89PNG") else (data,):
            try:
                evidence = collect(content)
            except ImageError:
                continue
            _keeps(evidence)
            for origin in ("real", "Midjourney", "unknown"):
                agreement = compare_with_prediction(evidence, origin, "diffusion")
                require(agreement.agrees is None or bool(agreement.sentence), "no sentence")


def _keeps(evidence: Evidence) -> None:
    require(len(evidence.findings) <= MAX_FINDINGS, "too many findings")
    values = [value for f in evidence.as_dict()["findings"] for value in f.values()]
    texts = [value for value in values if isinstance(value, str)]
    summary = summarize_evidence(evidence)
    states = any(f.indicates != "neutral" for f in evidence.findings)
    require(states == bool(summary.strength), "a summary without the evidence")
    for text in (*texts, *evidence.notes):
        require(len(text) <= 300, "a text of more than 300 characters")
        bad = [c for c in text if unicodedata.category(c)[0] == "C"]
        require(not bad, f"unprintable {bad[:3]!r}")
    json.dumps(evidence.as_dict()).encode()
