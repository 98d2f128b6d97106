"""Extract provenance evidence from EXIF: camera, camera settings, software and generator names."""

from __future__ import annotations

import contextlib
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from whichgen.evidence.bounded import clean
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generators import find_generator
from whichgen.evidence.parameters import interpret

#: Camera settings and their format.
_SETTINGS = {
    Base.LensModel: "lens {}",
    Base.FocalLength: "{:g} mm",
    Base.FNumber: "f/{:g}",
    Base.ExposureTime: "{:.3g} s",
    Base.ISOSpeedRatings: "ISO {}",
    Base.DateTimeOriginal: "{}",
}

#: Prefixes of ComfyUI's texts in unrelated EXIF fields (WebP).
_MARKS = ("prompt:", "workflow:", "parameters:")


def read_exif(image: Image.Image) -> Evidence:
    """Extract provenance evidence from the EXIF metadata of an image.

    The presence of GPS coordinates is reported, but not their values.
    """
    exif = image.getexif()
    if not exif:
        return Evidence()
    inner = exif.get_ifd(IFD.Exif)
    findings: list[Finding] = []
    tags = (Base.Software, Base.ImageDescription, Base.Make, Base.Model, Base.XPComment)
    texts = {tag.name: _decode_text(exif.get(tag)) for tag in tags}
    texts["UserComment"] = decode_user_comment(inner.get(Base.UserComment))
    for field, text in texts.items():
        mark = next((m for m in _MARKS if text.lower().startswith(m)), "")
        if mark:
            texts[field] = ""  # not the name of a camera
            findings += interpret("exif", mark[:-1], text[len(mark) :])
        elif field == "Make" and (generator := find_generator(text)):
            name = generator.name
            findings.append(Finding("exif", f"Make: {name}", text, "synthetic", name))
            texts[field] = ""
        elif field not in ("Make", "Model"):
            findings += interpret("exif", field, text)
    findings += _report_camera(texts["Make"], texts["Model"], inner)
    if exif.get_ifd(IFD.GPSInfo):
        findings.append(Finding("exif", "GPS coordinates", "the coordinates are not shown"))
    return Evidence(tuple(findings))


def _report_camera(make: str, model: str, inner: dict[int, Any]) -> list[Finding]:
    """Return one finding: ``camera`` if make and model are present, otherwise ``neutral``.

    Returns an empty list if there is neither a make nor a model nor a camera setting.
    """
    settings = []
    for tag, form in _SETTINGS.items():
        value = inner.get(tag)
        try:
            number = float(value) if "g}" in form and value is not None else _decode_text(value)
            settings += [] if number in ("", None) else [form.format(number)]
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            continue  # a damaged value such as 0/0
    detail = ", ".join(settings)
    name = " ".join(part for part in (make, model) if part)
    if make and model:
        return [Finding("exif", f"camera: {clean(name, 120)}", detail, "camera")]
    if name or detail:
        return [Finding("exif", f"camera settings {clean(name, 120)}", detail)]
    return []


def decode_user_comment(value: object) -> str:
    """Decode the EXIF field UserComment, whose first eight bytes specify the encoding.

    A string is returned unchanged. If ``value`` is neither bytes nor a string, the result is an
    empty string.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    code, rest = value[:8], value[8:]
    if code == b"UNICODE\0":
        # UTF-16 in either byte order in practice; in big-endian Latin text every first byte is 0.
        big = rest[::2].count(0) >= rest[1::2].count(0)
        return rest.decode("utf-16-be" if big else "utf-16-le", errors="replace").lstrip("\ufeff")
    if code in (b"ASCII\0\0\0", bytes(8)):
        return rest.decode("utf-8", errors="replace")
    return value.decode("utf-8", errors="replace")


def _decode_text(value: object) -> str:
    """Convert the value of an EXIF field to text, and remove NULs and spaces at both ends.

    Bytes are decoded as little-endian UTF-16, as written by Windows, if they have many zeros at odd
    positions, otherwise as UTF-8. ``None`` becomes an empty string.
    """
    if isinstance(value, bytes):
        utf16 = len(value) > 1 and value[1::2].count(0) * 4 > len(value)
        value = value.decode("utf-16-le" if utf16 else "utf-8", errors="replace")
    elif isinstance(value, str):
        # Pillow decodes as Latin-1, but programs write UTF-8.
        with contextlib.suppress(UnicodeError):
            value = value.encode("latin-1").decode("utf-8")
    return "" if value is None else str(value).strip("\0 ")
