"""EXIF, XMP and IPTC: cameras, generators, edits, places, and what is no evidence."""

from __future__ import annotations

import struct
import sys
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from whichgen.evidence.collect import collect
from whichgen.evidence.containers.jpeg_blocks import find_jpeg_blocks
from whichgen.evidence.metadata.exif import decode_user_comment

from .conftest import SOURCE, encode, findings, xmp

KINDS = ("JPEG", "PNG", "WEBP")


def exif(fields: dict[int, Any], inner: dict[int, Any] | None = None) -> bytes:
    tags = Image.Exif()
    for tag, value in fields.items():
        tags[tag] = value
    tags.get_ifd(IFD.Exif).update(inner or {})
    return tags.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_camera_settings_and_gps_presence_are_reported(kind: str) -> None:
    tags = Image.Exif()
    tags[Base.Make], tags[Base.Model], tags[Base.Software] = "Fuji", "X-T9", "Ver 1.02"
    settings = {
        Base.ExposureTime: IFDRational(1, 250),
        Base.FNumber: IFDRational(28, 10),
        Base.ISOSpeedRatings: 400,
        Base.LensModel: "XF 35 mm",
        Base.DateTimeOriginal: "2024:05:06 07:08:09",
    }
    tags.get_ifd(IFD.Exif).update(settings)
    tags.get_ifd(IFD.GPSInfo).update({1: "N", 2: (51.0, 30.0, 12.345)})
    metadata_findings = findings(encode(kind, exif=tags.tobytes()), "exif")
    (camera,) = [f for f in metadata_findings if f.indicates == "camera"]
    assert camera.title == "camera: Fuji X-T9"
    assert camera.detail == "lens XF 35 mm, f/2.8, 0.004 s, ISO 400, 2024:05:06 07:08:09"
    assert [f.detail for f in metadata_findings if f.title == "Software"] == ["Ver 1.02"]
    assert any("GPS" in f.title for f in metadata_findings)
    assert not any("51" in f.title + f.detail or "12.3" in f.detail for f in metadata_findings)


def test_gps_version_without_coordinates_is_not_reported() -> None:
    tags = Image.Exif()
    tags[Base.Make] = "A"
    tags.get_ifd(IFD.GPSInfo)[GPS.GPSVersionID] = b"\2\3\0\0"
    assert not any("GPS" in f.title for f in findings(encode("JPEG", exif=tags.tobytes()), "exif"))


def test_damaged_setting_does_not_hide_camera() -> None:
    data = encode(
        "JPEG", exif=exif({Base.Make: "A", Base.Model: "B"}, {Base.FNumber: IFDRational(0, 0)})
    )
    assert [f.title for f in findings(data, "exif")] == ["camera: A B"]


@pytest.mark.parametrize(
    ("fields", "indication", "generator"),
    [
        ({Base.Software: "Adobe Firefly"}, "synthetic", "Adobe Firefly"),
        ({Base.Software: "NovelAI"}, "synthetic", "NovelAI"),
        ({Base.Software: "Adobe Photoshop 25.1 (Windows)"}, "edited", ""),
        ({Base.Make: "Midjourney", Base.Model: "v6"}, "synthetic", "Midjourney"),
        ({Base.ImageDescription: "Made with Google AI"}, "synthetic", "Google AI"),
        ({Base.ImageDescription: "Created by DALL·E 3"}, "synthetic", "DALL·E"),
        ({Base.ImageDescription: "A poster of Midjourney at the fair"}, "neutral", ""),
        ({Base.Software: "Firmware of PowerShot SD1000"}, "neutral", ""),
        ({Base.Make: "SIGMA", Base.Model: "SIGMA SD1 Merrill"}, "camera", ""),
        ({Base.Make: "Canon", Base.Model: "PowerShot SD1000"}, "camera", ""),
    ],
)
def test_generator_names_count_only_in_program_and_maker_fields(
    fields: dict[int, Any], indication: str, generator: str
) -> None:
    if Base.ImageDescription in fields and "·" in fields[Base.ImageDescription]:
        fields = {Base.ImageDescription: fields[Base.ImageDescription].encode()}
    metadata_findings = findings(encode("JPEG", exif=exif(fields)), "exif")
    assert (metadata_findings[0].indicates, metadata_findings[0].generator) == (
        indication,
        generator,
    )
    assert "camera" not in {f.indicates for f in metadata_findings} - {indication}


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "Ünï: 5".encode("utf-16-le"),
        b"UNICODE\0" + "Ünï: 5".encode("utf-16-be"),
        b"ASCII\0\0\0" + "Ünï: 5".encode(),
        bytes(8) + "Ünï: 5".encode(),
        b"UNICODE\0" + "Ünï: 5".encode("utf-16"),
        b"UNICODE\0" + "Ünï: 5".encode() + bytes(3),
    ],
)
def test_user_comment_is_decoded_in_each_encoding(comment: bytes) -> None:
    assert decode_user_comment(comment).rstrip("\0") == "Ünï: 5"


@pytest.mark.parametrize("encoding", ["iso2022_jp", "shift_jis"])
def test_japanese_user_comment_is_decoded(encoding: str) -> None:
    assert decode_user_comment(b"JIS\0\0\0\0\0" + "狐: 5".encode(encoding)) == "狐: 5"


def test_parameters_in_a_user_comment_and_graphs_in_make() -> None:
    text = "a cat\nSteps: 20, Sampler: Euler a, Seed: 7, Size: 512x512, Model: toy_v3"
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    (finding,) = findings(encode("JPEG", exif=exif({}, {Base.UserComment: comment})), "exif")
    assert (finding.indicates, finding.generator) == ("synthetic", "toy_v3")
    assert "sampler Euler a; steps 20; seed 7; size 512x512; prompt a cat" in finding.detail
    graph = 'prompt:{"1": {"class_type": "KSampler", "inputs": {"seed": 9, "steps": 4}}}'
    (finding,) = findings(encode("WEBP", exif=exif({Base.Make: graph})), "exif")
    assert finding.title == "prompt: generation parameters in the format of ComfyUI"
    assert finding.generator == "ComfyUI"


@pytest.mark.parametrize("kind", KINDS)
def test_xmp_reports_source_system_prompt_and_credit(kind: str) -> None:
    packet = xmp(
        'photoshop:Credit="Made with Google AI" xmp:CreatorTool="Draw Things"',
        f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{SOURCE}trainedAlgorithmicMedia"/>'
        "<Iptc4xmpExt:AISystemUsed>Toy Painter 3</Iptc4xmpExt:AISystemUsed>"
        "<Iptc4xmpExt:AIPromptInformation><rdf:Alt><rdf:li>a fox</rdf:li></rdf:Alt>"
        "</Iptc4xmpExt:AIPromptInformation>",
    )
    options: dict[str, Any] = {"xmp": packet}
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        options = {"pnginfo": info}
    metadata_findings = findings(encode(kind, **options), "xmp")
    assert {f.indicates for f in metadata_findings} == {"synthetic"}
    assert {f.generator for f in metadata_findings} == {
        "Google AI",
        "Draw Things",
        "Toy Painter 3",
        "",
    }
    assert "a fox" in [f.detail for f in metadata_findings]
    assert "DigitalSourceType: trainedAlgorithmicMedia" in [f.title for f in metadata_findings]


def test_generative_fill_is_an_edit() -> None:
    packet = xmp(
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE}compositeWithTrainedAlgorithmicMedia" '
        'Iptc4xmpExt:AISystemUsed="Adobe Firefly"'
    )
    metadata_findings = findings(encode("JPEG", xmp=packet), "xmp")
    assert len(metadata_findings) == 2
    assert {f.indicates for f in metadata_findings} == {"edited"}


@pytest.mark.parametrize("camera", [True, False])
def test_google_edit_is_an_edit_only_of_a_photograph(camera: bool) -> None:
    packet = xmp(
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE}compositeWithTrainedAlgorithmicMedia" '
        'photoshop:Credit="Edited with Google AI"'
    )
    fields = {Base.Make: "Google", Base.Model: "Pixel 9"} if camera else {}
    metadata_findings = findings(encode("JPEG", xmp=packet, exif=exif(fields)), "xmp")
    expected = ("edited", "strong") if camera else ("synthetic", "weak")
    assert [(f.indicates, f.strength) for f in metadata_findings] == [expected] * 2
    assert metadata_findings[1].generator == "Google AI"


def test_person_in_credit_is_not_a_generator() -> None:
    metadata_findings = findings(
        encode("JPEG", xmp=xmp('photoshop:Credit="Foto: Maria Dalle"')), "xmp"
    )
    assert {(f.indicates, f.generator) for f in metadata_findings} <= {("neutral", "")}


def test_draw_things_keeps_its_json_in_xmp() -> None:
    comment = '{"c": "a hill", "uc": "", "sampler": "Euler A", "model": "toy_q6.ckpt", "steps": 8}'
    packet = xmp(
        "",
        "<exif:UserComment><rdf:Alt><rdf:li xml:lang='x-default'>"
        f"{comment}</rdf:li></rdf:Alt></exif:UserComment>",
    )
    (finding,) = findings(encode("JPEG", xmp=packet), "xmp")
    assert finding.title == "UserComment: generation parameters in the format of Draw Things"
    assert "steps 8; prompt a hill" in finding.detail
    assert finding.generator == "toy_q6"


def test_without_defusedxml_xmp_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "defusedxml.ElementTree", None)
    evidence = collect(encode("WEBP", xmp=xmp('xmp:CreatorTool="Midjourney"')))
    assert evidence.findings == ()
    assert evidence.notes == ("XMP metadata was not read; install whichgen[evidence] to read it",)


def test_the_older_iptc_block_is_read() -> None:
    def field(number: int, text: bytes) -> bytes:
        return struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text

    job = b"a fox --v 6 Job ID: 0b5e3d2a-1c4f-4b7e-9a3d-2f1e0c9b8a7d"
    block = field(110, b"Made with Google AI") + field(120, job)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(block)) + block
    segment = b"Photoshop 3.0\0" + resource + b"\0" * (len(resource) % 2)
    plain = encode("JPEG")
    data = plain[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    credit, caption = findings(data, "iptc")
    assert (credit.title, credit.generator) == ("Credit names Google AI", "Google AI")
    assert caption.generator == "Midjourney"
    assert "job 0b5e3d2a-1c4f-4b7e-9a3d-2f1e0c9b8a7d; prompt a fox --v 6" in caption.detail


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize(
    ("action", "agent", "indicates", "generator"),
    [
        ("created", "Adobe Firefly", "synthetic", "Adobe Firefly"),
        ("edited", "Adobe Firefly 3", "edited", "Adobe Firefly"),
        ("saved", "Adobe Photoshop 25.0 (Macintosh)", "edited", ""),
        ("saved", "NIKON Transfer 2", "neutral", ""),
    ],
)
def test_editing_history_names_programs(
    form: str, action: str, agent: str, indicates: str, generator: str
) -> None:
    space = 'xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"'
    entry = f'<rdf:li stEvt:action="{action}" stEvt:softwareAgent="{agent}"/>'
    if form == "elements":
        entry = (
            f'<rdf:li rdf:parseType="Resource"><stEvt:action>{action}</stEvt:action>'
            f"<stEvt:softwareAgent>{agent}</stEvt:softwareAgent></rdf:li>"
        )
    # Histories repeat themselves, and must not fill the place of what follows.
    history = f"<xmp:History {space}><rdf:Seq>{entry * 200}</rdf:Seq></xmp:History>"
    credit = "<photoshop:Credit>A. Person</photoshop:Credit>"
    event, other = findings(encode("JPEG", xmp=xmp("", history + credit)), "xmp")
    assert (event.indicates, event.generator) == (indicates, generator)
    assert event.title.startswith(f"History: {action}") and other.title == "Credit"


def test_exif_without_tiff_header_does_not_hide_other_metadata() -> None:
    evidence = collect(
        encode("JPEG", exif=b"Exif\0\0no TIFF header", comment=b"made with Midjourney")
    )
    assert any(f.generator == "Midjourney" for f in evidence.findings)
    assert any(note.startswith("EXIF can't be read") for note in evidence.notes)


def test_too_large_metadata_is_not_reported_as_truncation() -> None:
    resource = b"\xff\xed" + (65535).to_bytes(2) + b"Photoshop 3.0\0".ljust(65533, b"x")
    notes = find_jpeg_blocks(b"\xff\xd8" + 40 * resource + b"\xff\xd9").notes
    assert notes == ("IPTC and extended XMP are too large; any later metadata was not read",)
