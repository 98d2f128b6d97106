"""Files made to break their reader: bombs, damage, lies about sizes, and any bytes at all."""

from __future__ import annotations

import json
import time
import tracemalloc
import unicodedata
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import IFDRational

from whichgen.errors import ImageError
from whichgen.evidence.collect import MAX_FINDINGS, Evidence, collect
from whichgen.evidence.finding import Finding
from whichgen.evidence.metadata.text_fields import interpret_text
from whichgen.evidence.metadata.xmp import parse_xmp
from whichgen.evidence.untrusted_text import clean, parse_json

from .conftest import SOURCE, Sign, encode, png, xmp

#: Inputs of a node in a graph.
NAMES = ("positive", "negative", "model", "latent_image", "guider", "text")


def check(evidence: Evidence) -> None:
    """What every piece of evidence promises, whatever the file."""
    assert len(evidence.findings) <= MAX_FINDINGS
    for finding in evidence.findings:
        assert finding.indicates in ("synthetic", "camera", "edited", "neutral")
        assert finding.kind in ("credentials", "watermark", "xmp", "iptc", "exif", "text", "jpeg")
        strengths = ("",) if finding.indicates == "neutral" else ("strong", "weak")
        assert finding.strength in strengths
    values = [value for f in evidence.as_dict()["findings"] for value in f.values()]
    for text in (*(value for value in values if isinstance(value, str)), *evidence.notes):
        assert len(text) <= 300
        assert all(unicodedata.category(c)[0] != "C" for c in text)
    json.dumps(evidence.as_dict()).encode()


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    plain = encode()
    body = kind + content
    chunk = len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return plain[:33] + chunk + plain[33:]


@pytest.mark.parametrize("kind", ["zTXt", "iTXt"])
def test_compressed_text_bomb_is_read_as_far_as_the_limit(kind: str) -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)
    head = b"Comment\0\0" if kind == "zTXt" else b"Comment\0\1\0\0\0"
    data = with_chunk(kind.encode(), head + bomb)
    tracemalloc.start()
    try:
        assert "is damaged or too long" in collect(data).notes[0]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_entities_are_not_expanded() -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "lol">{entities}]>'.encode()
    packet = bomb + xmp("", "<photoshop:Credit>&e9;</photoshop:Credit>").split(b"?>", 1)[1]
    start = time.process_time()
    evidence = collect(encode("WEBP", xmp=packet))
    assert time.process_time() - start < 2
    assert evidence.findings == ()
    (note,) = evidence.notes
    assert note == "XMP can't be read (document type declarations are not allowed)"
    outside = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
    assert collect(encode("WEBP", xmp=outside)).notes == (note,)


def test_nested_properties_are_read_in_bounded_time() -> None:
    depth = 20_000
    nested = "<photoshop:Credit>x" * depth + "</photoshop:Credit>" * depth
    start = time.process_time()
    properties = parse_xmp(xmp("", nested))
    assert time.process_time() - start < 2
    assert len(properties) <= 30


def test_xmp_too_long_is_not_parsed() -> None:
    evidence = collect(encode("WEBP", xmp=xmp("", " " * 2_000_001)))
    assert "too large" in evidence.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"a":' * 70 + "1" + "}" * 70,
        '{"seed": ' + "9" * 5000 + "}",
        '{"a": "' + "x" * 2_000_001 + '"}',
        "{",
    ],
)
def test_hostile_json_is_none(text: str) -> None:
    assert parse_json(text) is None
    assert [f.indicates for f in interpret_text("text", "prompt", text)] == ["neutral"]


def test_shallow_json_is_read() -> None:
    assert parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


def test_control_and_direction_characters_are_removed_and_lines_joined() -> None:
    assert clean("a\x1b[31m\u202egnp.exe\u200b\n\n b\x00c") == "a[31mgnp.exe bc"
    assert clean("x" * 300) == "x" * 300
    assert clean("x" * 301) == "x" * 299 + "…"
    assert clean(" " * 5000 + "late") == "…"


def test_findings_and_fields_are_limited_and_omissions_noted() -> None:
    evidence = collect(png({f"Source {i}": f"Made with Midjourney {i}" for i in range(120)}))
    assert len(evidence.findings) == MAX_FINDINGS
    assert "metadata after the first 100 text fields was not read" in evidence.notes
    assert "50 more findings omitted" in evidence.notes
    check(evidence)


def test_meaningless_texts_do_not_hide_a_statement() -> None:
    texts = {f"Note {i}": f"number {i}" for i in range(80)} | {"Software": "NovelAI"}
    evidence = collect(png(texts))
    assert evidence.findings[0].generator == "NovelAI"
    assert len(evidence.findings) == MAX_FINDINGS


def test_unreadable_image_raises_image_error() -> None:
    for data in (b"", b"GIF89a", encode()[:20], b"\xff\xd8\xff"):
        with pytest.raises(ImageError, match=r"^a\.png: "):
            collect(data, "a.png")


def test_only_evidence_has_a_strength() -> None:
    neutral, camera = Finding("jpeg", "tables"), Finding("xmp", "camera", indicates="camera")
    assert (neutral.strength, camera.strength) == ("", "strong")
    assert replace(neutral, indicates="synthetic", strength="weak").strength == "weak"


def test_failing_reader_adds_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Image.Image) -> Evidence:
        raise RuntimeError("out of\norder")

    monkeypatch.setattr("whichgen.evidence.read_metadata.read_exif", broken)
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "NovelAI")
    exif = Image.Exif()
    exif[Base.Make] = "Canon"
    evidence = collect(encode(pnginfo=info, exif=exif))
    assert evidence.notes == ("EXIF can't be read (out of order)",)
    assert [f.generator for f in evidence.findings] == ["NovelAI"]


@given(st.binary(max_size=400))
def test_any_bytes_are_evidence_or_an_image_error(data: bytes) -> None:
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1", b"RIFF\0\0\0\0WEBP"):
        try:
            check(collect(start + data))
        except ImageError:
            continue


@pytest.fixture(scope="module")
def rich(sign: Sign) -> dict[str, bytes]:
    """Files with all kinds of metadata at once."""
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = "A", "B"
    exif[Base.ImageDescription] = "Made with Google AI"
    exif.get_ifd(IFD.Exif)[Base.UserComment] = b"UNICODE\0" + "Steps: 2, Seed: 1".encode("utf-16")
    exif.get_ifd(IFD.GPSInfo)[1] = "N"
    packet = xmp(f'Iptc4xmpExt:DigitalSourceType="{SOURCE}digitalCapture" xmp:CreatorTool="GIMP"')
    options: dict[str, Any] = {"exif": exif.tobytes(), "xmp": packet}
    action = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE}digitalCapture"}
    text = png({"prompt": '{"1": {"class_type": "K", "inputs": {"seed": 1}}}', "Software": "GIMP"})
    return {
        "jpeg": sign(encode("JPEG", **options), "image/jpeg", actions=[action]),
        "webp": sign(encode("WEBP", **options), "image/webp", actions=[action]),
        "png": sign(text, "image/png", actions=[action]),
        "tiff": encode("TIFF", exif=exif.tobytes()),
    }


@settings(max_examples=200)
@given(
    kind=st.sampled_from(["jpeg", "webp", "png", "tiff"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
    mend=st.booleans(),
)
def test_damaged_metadata_raises_only_image_errors(
    rich: dict[str, bytes], kind: str, changes: list[tuple[float, bytes]], mend: bool
) -> None:
    data = bytearray(rich[kind])
    for place, new in changes:
        at = int(place * len(data))
        data[at : at + len(new)] = new
    variant = fix_checksums(bytes(data)) if mend and kind == "png" else bytes(data)
    try:
        check(collect(variant))
    except ImageError:
        return


def fix_checksums(data: bytes) -> bytes:
    """A PNG with right checksums, so that damage gets past them."""
    process, at = data[:8], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        body = data[at + 4 : at + 8 + size]
        process += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4)
        at += 12 + size
    return process


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("class_type", "inputs", "nodes", "links", "type", "widgets_values", "model"),
                    *("image", "sui_image_params", "app_version", "model_weights", "seed", "c"),
                    *("uc", "sampler", "scale", "width", "height", "prompt", "positive_prompt"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@settings(max_examples=300)
@given(value=_JSON, field=st.text(max_size=80))
def test_any_json_is_interpreted_or_skipped(value: Any, field: str) -> None:
    for shaped in (value, {"1": value}, {"nodes": [value], "links": []}):
        check(Evidence(tuple(interpret_text("text", field, json.dumps(shaped)))))


@given(
    text=st.text(max_size=300), before=st.sampled_from(["", "Steps: 1, ", "Job ID: ", "made by "])
)
def test_any_text_is_interpreted_or_skipped(text: str, before: str) -> None:
    for field in ("Software", "Comment"):
        check(Evidence(tuple(interpret_text("exif", field, before + text))))


@pytest.mark.parametrize(
    "value",
    [IFDRational(0, 0), IFDRational(1, 0), IFDRational(-1, 2**31 - 1), (1, 2, 3), b"\xff" * 5000],
    ids=["0/0", "1/0", "tiny", "several", "bytes"],
)
@pytest.mark.filterwarnings("ignore")
def test_non_numeric_settings_are_omitted(value: Any) -> None:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = "A", "B"
    inner = exif.get_ifd(IFD.Exif)
    for tag in (Base.FNumber, Base.ExposureTime, Base.FocalLength, Base.ISOSpeedRatings):
        inner[tag] = value
    data = encode("JPEG", exif=exif.tobytes())
    evidence = collect(data)
    check(evidence)
    assert [f.title for f in evidence.findings if f.indicates == "camera"] == ["camera: A B"]


@pytest.mark.parametrize(
    "packet",
    [
        xmp("", "<a>" * 200_000),
        xmp("", "<a>" * 80_000 + "</a>" * 80_000),
        xmp("", "".join(f'<a b{i}="x"/>' for i in range(100_000))),
        xmp(" ".join(f'a{i}=""' for i in range(150_000))),
        b"\xfe\xff" + "<x/>".encode("utf-16-be") * 1000,
        b"<?xml version='1.0' encoding='x-user-defined'?><x/>",
    ],
    ids=["open", "deep", "wide", "attributes", "utf-16", "encoding"],
)
def test_xmp_of_any_shape_is_read_or_noted_in_bounded_time(packet: bytes) -> None:
    start = time.process_time()
    check(collect(encode("WEBP", xmp=packet)))
    assert time.process_time() - start < 3


def test_many_compressed_fields_are_read_up_to_a_total() -> None:
    text = b"Comment\0\0" + zlib.compress(b"x" * 1_900_000, 9)
    body = b"zTXt" + text
    chunk = len(text).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    plain = encode()
    start = time.process_time()
    evidence = collect(plain[:33] + 400 * chunk + plain[33:])
    assert time.process_time() - start < 10
    assert len(evidence.findings) <= 6
    assert any(note.startswith("metadata after the first") for note in evidence.notes)


def test_notes_on_damage_are_limited() -> None:
    plain = encode()
    names = [bytes([97 + i // 26, 65 + i % 26]) for i in range(500)]
    chunks = b"".join(b"\0\0\0\0ab" + name + bytes(4) for name in names)
    assert len(collect(plain[:33] + chunks + plain[33:]).notes) <= 20


def test_graph_of_many_links_is_read_in_bounded_time() -> None:
    nodes = {
        str(i): {
            "class_type": "KSampler",
            "inputs": {name: [str((i * 7 + j) % 5000), j] for j, name in enumerate(NAMES)},
        }
        for i in range(6000)
    }
    start = time.process_time()
    (finding,) = interpret_text("text", "prompt", json.dumps(nodes))
    assert time.process_time() - start < 3
    assert finding.generator == "ComfyUI"
