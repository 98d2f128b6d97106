"""What a file says of itself, from whole files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from whichgen.errors import ImageError
from whichgen.evidence.collect import MOST_FINDINGS, Evidence, collect
from whichgen.evidence.finding import Finding

from .conftest import FileOf

PARAMETERS = (
    "a lighthouse, oil painting\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 123, Size: 512x512, "
    "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Version: v1.7.0"
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "sampler_name": "euler"}},
    "4": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "sd_xl_base.safetensors"},
    },
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
}
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/{code}"{more}/>
</rdf:RDF></x:xmpmeta>"""


def says(found: Evidence, what: str) -> list[Finding]:
    return [finding for finding in found.findings if finding.says == what]


def png_text(**fields: str) -> PngInfo:
    info = PngInfo()
    for name, text in fields.items():
        info.add_itxt(name, text)
    return info


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = "Canon", "EOS 5D"
    exif.get_ifd(IFD.Exif).update({Base.FNumber: 2.8, Base.ISOSpeedRatings: 400})
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (48.0, 12.0, 30.0)})
    return exif


def user_comment(text: str) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.UserComment] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif


def test_a_file_without_metadata_says_nothing(file_of: FileOf) -> None:
    assert collect(file_of("PNG")) == Evidence()


@pytest.mark.parametrize("place", ["png", "jpeg", "webp"])
def test_a_web_ui_s_parameters_are_read_wherever_they_stand(file_of: FileOf, place: str) -> None:
    data = {
        "png": lambda: file_of("PNG", pnginfo=png_text(parameters=PARAMETERS)),
        "jpeg": lambda: file_of("JPEG", exif=user_comment(PARAMETERS)),
        "webp": lambda: file_of("WEBP", exif=user_comment(PARAMETERS)),
    }[place]()
    (found,) = says(collect(data), "synthetic")
    assert found.generator == "v1-5-pruned-emaonly"
    for part in ("a lighthouse, oil painting", "Euler a", "20", "512x512", "6ce0161689"):
        assert part in found.detail
    assert "blurry" not in found.detail


def test_a_graph_of_comfyui_tells_checkpoint_and_sampler(file_of: FileOf) -> None:
    (found,) = says(collect(file_of(pnginfo=png_text(prompt=json.dumps(GRAPH)))), "synthetic")
    assert found.generator == "sd_xl_base.safetensors"
    for part in ("euler", "a fox"):
        assert part in found.detail


@pytest.mark.parametrize(
    ("fields", "generator"),
    [
        ({"Software": "NovelAI", "Comment": '{"steps": 28, "prompt": "a"}'}, "NovelAI"),
        ({"Description": "a cat Job ID: 01234567-89ab-cdef-0123-456789abcdef"}, "Midjourney"),
        ({"invokeai_metadata": '{"app_version": "4", "generation_mode": "txt2img"}'}, "InvokeAI"),
    ],
)
def test_other_tools_are_known_by_what_they_write(
    file_of: FileOf, fields: dict[str, str], generator: str
) -> None:
    found = says(collect(file_of(pnginfo=png_text(**fields))), "synthetic")
    assert generator in {f.generator for f in found}


def test_a_camera_is_told_and_its_place_is_not(file_of: FileOf) -> None:
    found = collect(file_of("JPEG", exif=camera_exif()))
    (camera,) = says(found, "camera")
    assert (
        "Canon EOS 5D" in camera.title and "f/2.8" in camera.detail and "ISO 400" in camera.detail
    )
    text = json.dumps(found.as_dict())
    assert "GPS" in text and "48" not in text


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("trainedAlgorithmicMedia", "synthetic"),
        ("compositeWithTrainedAlgorithmicMedia", "edited"),
        ("digitalCapture", "camera"),
        ("somethingNew", "neutral"),
    ],
)
def test_the_digital_source_type_is_read(
    file_of: FileOf, kind: str, code: str, expected: str
) -> None:
    xmp = XMP.format(code=code, more="").encode()
    data = (
        file_of("PNG", pnginfo=png_text(**{"XML:com.adobe.xmp": xmp.decode()}))
        if kind == "PNG"
        else file_of(kind, xmp=xmp)
    )
    (found,) = (f for f in collect(data).findings if f.kind == "xmp")
    assert found.says == expected and code in found.title


def test_the_system_that_made_it_is_named(file_of: FileOf) -> None:
    more = ' Iptc4xmpExt:AISystemUsed="Adobe Firefly"'
    found = collect(
        file_of("JPEG", xmp=XMP.format(code="trainedAlgorithmicMedia", more=more).encode())
    )
    assert "Adobe Firefly" in {f.generator for f in says(found, "synthetic")}


@pytest.mark.parametrize("quality", range(5, 101, 5))
def test_libjpeg_s_tables_are_known_at_every_quality(file_of: FileOf, quality: int) -> None:
    (found,) = collect(file_of("JPEG", quality=quality)).findings
    assert found.kind == "jpeg" and found.says == "neutral"
    shown = found.title.split("quality ")[1].split(",")[0]
    low, _, high = shown.partition("–")
    assert int(low) <= quality <= int(high or low)


def test_other_tables_are_nobody_s_in_particular(file_of: FileOf) -> None:
    own = [[min(255, 3 + i) for i in range(64)], [5 + i for i in range(64)]]
    (found,) = collect(file_of("JPEG", qtables=own)).findings
    assert "not the standard libjpeg tables" in found.title


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"subsampling": 0}, "4:4:4"), ({"subsampling": 2}, "4:2:0"), ({"progressive": True}, "prog")],
)
def test_sampling_and_order_are_told(
    file_of: FileOf, options: dict[str, Any], expected: str
) -> None:
    (found,) = collect(file_of("JPEG", **options)).findings
    assert expected in found.detail


def test_entities_are_not_expanded(file_of: FileOf) -> None:
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "boom">{levels}]><x>&e11;</x>'
    found = collect(file_of("JPEG", xmp=bomb.encode()))
    assert any("XMP can't be read" in note for note in found.notes)
    assert [f.kind for f in found.findings] == ["jpeg"]


def test_a_compressed_bomb_is_refused(file_of: FileOf) -> None:
    info = PngInfo()
    info.add_text("Comment", "a" * 50_000_000, zip=True)
    with pytest.raises(ImageError, match="too large"):
        collect(file_of(pnginfo=info))


def test_findings_are_bounded_in_number_and_length(file_of: FileOf) -> None:
    info = PngInfo()
    for i in range(90):
        info.add_text(f"Software{i}", "x")
        info.add_itxt(f"k{i}", f"Job ID: {i:08d}-89ab-cdef-0123-456789abcdef" + "y" * 5000)
    found = collect(file_of(pnginfo=info))
    assert len(found.findings) == MOST_FINDINGS and found.notes
    assert all(len(f.title) <= 300 and len(f.detail) <= 300 for f in found.findings)


def test_what_could_rewrite_a_line_is_taken_out() -> None:
    found = Finding("text", "a\u202eb\x1b[31mc\n\td", "x" * 1000)
    assert found.title == "ab[31mc d"
    assert len(found.detail) == 300 and found.detail.endswith("…")


def test_what_is_no_image_is_an_error() -> None:
    with pytest.raises(ImageError, match="notes: not an image"):
        collect(b"no image", "notes")


@given(st.data())
def test_hostile_bytes_never_raise_anything_else(file_of: FileOf, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))
    whole = bytearray(
        file_of("PNG", pnginfo=png_text(parameters=PARAMETERS, prompt=json.dumps(GRAPH)))
        if kind == "PNG"
        else file_of(kind, exif=camera_exif(), xmp=XMP.format(code="print", more="").encode())
    )
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=20)
    ):
        whole[place] = value
    cut = data.draw(st.integers(0, len(whole)))
    try:
        found = collect(bytes(whole[:cut]))
    except ImageError:
        return
    json.dumps(found.as_dict())


@given(text=st.text(max_size=400), field=st.sampled_from(["parameters", "Software", "prompt", "x"]))
def test_any_text_gives_findings_or_none(file_of: FileOf, text: str, field: str) -> None:
    try:
        data = file_of(pnginfo=png_text(**{field: text}))
    except UnicodeEncodeError:  # a lone surrogate, which no file can hold
        return
    for finding in collect(data).findings:
        assert finding.says in ("synthetic", "camera", "edited", "neutral")
        assert finding.title.isprintable() and finding.detail.isprintable()
