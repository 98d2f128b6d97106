"""EXIF: the camera, how it was set, the program that wrote the file, and generators' names."""

from __future__ import annotations

import contextlib
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from whichgen.evidence.bounded import clean
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generators import known
from whichgen.evidence.parameters import interpret

#: Settings of a camera and how they are written.
_SETTINGS = {
    Base.LensModel: "lens {}",
    Base.FocalLength: "{:g} mm",
    Base.FNumber: "f/{:g}",
    Base.ExposureTime: "{:.3g} s",
    Base.ISOSpeedRatings: "ISO {}",
    Base.DateTimeOriginal: "{}",
}

#: How ComfyUI marks a text that it keeps in a field meant for something else (WebP).
_MARKS = ("prompt:", "workflow:", "parameters:")


def read_exif(image: Image.Image) -> Evidence:
    """What EXIF says. Whether a place is given is told, and never which."""
    exif = image.getexif()
    if not exif:
        return Evidence()
    inner = exif.get_ifd(IFD.Exif)
    found: list[Finding] = []
    texts: dict[str, str] = {}
    for tag in (Base.Software, Base.ImageDescription, Base.Make, Base.Model, Base.XPComment):
        texts[tag.name] = _text(exif.get(tag))
    texts["UserComment"] = user_comment(inner.get(Base.UserComment))
    for field, text in texts.items():
        mark = next((m for m in _MARKS if text.lower().startswith(m)), "")
        if mark:
            texts[field] = ""  # no camera's name then
            found += interpret("exif", mark[:-1], text[len(mark) :])
        elif field == "Make" and (named := known(text)):
            found.append(Finding("exif", f"Make: {named.name}", text, "synthetic", named.name))
            texts[field] = ""
        elif field not in ("Make", "Model"):
            found += interpret("exif", field, text)
    found += _camera(texts["Make"], texts["Model"], inner)
    if exif.get_ifd(IFD.GPSInfo):
        found.append(Finding("exif", "a place is given (GPS)", "the coordinates are not shown"))
    return Evidence(tuple(found))


def _camera(make: str, model: str, inner: dict[int, Any]) -> list[Finding]:
    """The camera and its settings; settings alone are told, but no camera."""
    settings = []
    for tag, form in _SETTINGS.items():
        value = inner.get(tag)
        try:
            given = float(value) if "g}" in form and value is not None else _text(value)
            settings += [] if given in ("", None) else [form.format(given)]
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            continue  # a damaged setting, as 0/0 is
    detail = ", ".join(settings)
    name = " ".join(part for part in (make, model) if part)
    if make and model:
        return [Finding("exif", f"camera: {clean(name, 120)}", detail, "camera")]
    if name or detail:
        return [Finding("exif", f"camera settings {clean(name, 120)}", detail)]
    return []


def user_comment(value: object) -> str:
    """EXIF's UserComment as text: eight bytes name the characters, which follow."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    code, rest = value[:8], value[8:]
    if code == b"UNICODE\0":
        # UTF-16 whose byte order is the file's by the standard, and by practice either one:
        # of Latin text every other byte is 0, the first of each pair in big-endian order.
        big = rest[::2].count(0) >= rest[1::2].count(0)
        return rest.decode("utf-16-be" if big else "utf-16-le", errors="replace").lstrip("\ufeff")
    if code in (b"ASCII\0\0\0", bytes(8)):
        return rest.decode("utf-8", errors="replace")
    return value.decode("utf-8", errors="replace")


def _text(value: object) -> str:
    """A field as text, without what pads it; Windows' own fields are UTF-16."""
    if isinstance(value, bytes):
        utf16 = len(value) > 1 and value[1::2].count(0) * 4 > len(value)
        value = value.decode("utf-16-le" if utf16 else "utf-8", errors="replace")
    elif isinstance(value, str):
        # ASCII by the standard, which Pillow reads as Latin-1 and programs write as UTF-8.
        with contextlib.suppress(UnicodeError):
            value = value.encode("latin-1").decode("utf-8")
    return "" if value is None else str(value).strip("\0 ")
