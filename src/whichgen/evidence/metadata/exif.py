"""Extract provenance evidence from EXIF: camera, camera settings, software and generator names."""

from __future__ import annotations

import codecs
import contextlib
import re
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generator_patterns import find_generator
from whichgen.evidence.metadata.text_fields import interpret_text
from whichgen.evidence.parameters.plain_text_formats import UUID
from whichgen.evidence.untrusted_text import clean

#: Format of each camera setting in reports.
_SETTINGS = {
    Base.LensModel: "lens {}",
    Base.FocalLength: "{:g} mm",
    Base.FNumber: "f/{:g}",
    Base.ExposureTime: "{:.3g} s",
    Base.ISOSpeedRatings: "ISO {}",
    Base.DateTimeOriginal: "{}",
}

#: Text fields. The fields that begin with XP are written by Windows.
_TEXTS = (
    *(Base.Software, Base.ImageDescription, Base.Make, Base.Model, Base.Artist, Base.Copyright),
    *(Base.DocumentName, Base.HostComputer, Base.ProcessingSoftware),
    *(Base.XPTitle, Base.XPComment, Base.XPSubject, Base.XPKeywords, Base.XPAuthor),
)

#: ComfyUI stores JSON after its name in unrelated fields, such as Make: `prompt:{"3": …}`.
_NAMED_JSON = re.compile(r"\s*([A-Za-z_][\w \-]{0,40}):\s*(?=\{)")

#: Grok writes a signature in Base64 as the description and an identifier as the artist.
_SIGNATURE = re.compile(r"Signature:\s*[A-Za-z0-9+/_\-]{64,}={0,2}\s*")

#: Maximum number of NULs that are appended to a block.
_MAX_PADDING = 1 << 20


def load_exif(block: bytes) -> Image.Exif:
    """Parse an EXIF block (without the prefix ``Exif``).

    NULs are appended, so that Pillow reads the beginning of a truncated text. If the block is
    empty, the result has no fields.

    Raises
    ------
    SyntaxError
        The block has no TIFF header.
    """
    exif = Image.Exif()
    if block:
        exif.load(b"Exif\0\0" + block + bytes(min(len(block) + 4096, _MAX_PADDING)))
    return exif


def read_exif(exif: Image.Exif) -> Evidence:
    """Extract provenance evidence from the EXIF metadata of an image.

    The presence of GPS coordinates is reported, but not their values.

    Parameters
    ----------
    exif
        EXIF metadata from :func:`load_exif` or :meth:`PIL.Image.Image.getexif`.
    """
    if not exif:
        return Evidence()
    exif_ifd = exif.get_ifd(IFD.Exif)
    findings: list[Finding] = []
    texts = {tag.name: _convert_to_text(exif.get(tag)) for tag in _TEXTS}
    texts["UserComment"] = decode_user_comment(exif_ifd.get(Base.UserComment)).strip("\0 ")
    if _SIGNATURE.fullmatch(texts["ImageDescription"]) and UUID.fullmatch(texts["Artist"]):
        detail = f"artist {texts.pop('Artist')}; {texts.pop('ImageDescription')}"
        title = "signature and identifier as Grok writes them"
        findings.append(Finding("exif", title, detail, "synthetic", "Grok"))
    for field, text in list(texts.items()):
        if match := _NAMED_JSON.match(text):
            texts[field] = ""  # Make and Model do not name a camera here
            findings += interpret_text("exif", match[1], text[match.end() :])
        elif field == "Make" and (generator := find_generator(text)):
            name = generator.name
            model = clean(texts["Model"], 60)
            detail = f"{text}, model {model}" if model else text
            findings.append(Finding("exif", f"Make: {name}", detail, "synthetic", name))
            texts["Make"] = texts["Model"] = ""
        elif field not in ("Make", "Model"):
            findings += interpret_text("exif", field, text)
    findings += _report_camera(texts["Make"], texts["Model"], exif_ifd)
    if GPS.GPSLatitude in exif.get_ifd(IFD.GPSInfo):  # many cameras write only the version
        findings.append(Finding("exif", "GPS coordinates", "the coordinates are not shown"))
    return Evidence(tuple(findings))


def _report_camera(make: str, model: str, camera_fields: dict[int, Any]) -> list[Finding]:
    """Return a list of one finding; empty if there is no make, model or camera setting.

    The finding indicates ``camera`` if make and model are present; otherwise, it is ``neutral``.
    """
    settings = []
    for tag, template in _SETTINGS.items():
        value = camera_fields.get(tag)
        try:
            number = (
                float(value) if "g}" in template and value is not None else _convert_to_text(value)
            )
            settings += [] if number in ("", None) else [template.format(number)]
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            continue  # a damaged value such as 0/0
    detail = ", ".join(settings)
    name = " ".join(part for part in (make, model) if part)
    if make and model:
        # Weak, because anyone can write a camera name, and a generator may preserve it in an edit.
        return [Finding("exif", f"camera: {clean(name, 120)}", detail, "camera", strength="weak")]
    if name or detail:
        return [Finding("exif", f"camera settings {clean(name, 120)}", detail)]
    return []


def decode_user_comment(value: object) -> str:
    """Decode the EXIF field UserComment, whose first eight bytes specify the encoding.

    Bytes that begin with an unknown code are decoded as UTF-8, and a string is returned unchanged.
    If ``value`` is neither bytes nor a string, the result is an empty string.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    code, content = value[:8], value[8:]
    if code == b"UNICODE\0":
        return _decode_unicode(content)
    if code == b"JIS\0\0\0\0\0":
        return content.decode("iso2022_jp" if b"\x1b" in content else "shift_jis", errors="replace")
    if code in (b"ASCII\0\0\0", bytes(8)):
        return content.decode("utf-8", errors="replace")
    return value.decode("utf-8", errors="replace")


def _decode_unicode(content: bytes) -> str:
    """Decode UTF-16 in either byte order, or UTF-8, which some programs write instead.

    In UTF-16, one of the two bytes of a Latin letter, a digit or a space is 0: the first byte in
    big-endian order.
    """
    stripped_content = content.rstrip(b"\0")
    if 0 not in stripped_content and not stripped_content.startswith(
        (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)
    ):
        with contextlib.suppress(UnicodeDecodeError):
            return stripped_content.decode("utf-8")
    is_big_endian = content[::2].count(0) >= content[1::2].count(0)
    if stripped_content.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)):
        is_big_endian = stripped_content.startswith(codecs.BOM_UTF16_BE)
    encoding = "utf-16-be" if is_big_endian else "utf-16-le"
    return content.decode(encoding, errors="replace").lstrip("\ufeff")


def _convert_to_text(value: object) -> str:
    """Convert the value of an EXIF field to text, and remove NULs and spaces at both ends.

    Bytes with many zeros at odd positions are decoded as little-endian UTF-16 (as written by
    Windows), other bytes as UTF-8. ``None`` becomes an empty string.
    """
    if isinstance(value, bytes):
        is_utf16 = len(value) > 1 and value[1::2].count(0) * 4 > len(value)
        value = value.decode("utf-16-le" if is_utf16 else "utf-8", errors="replace")
    elif isinstance(value, str):
        # Pillow decodes the field as Latin-1, but many programs write UTF-8.
        with contextlib.suppress(UnicodeError):
            value = value.encode("latin-1").decode("utf-8")
    return "" if value is None else str(value).strip("\0 ")
