"""XMP and IPTC: how the image was made, by which system, whose credit, which program."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PIL import Image, IptcImagePlugin

from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generators import known
from whichgen.evidence.parameters import interpret
from whichgen.evidence.sources import source_type

#: Bytes of XMP that are parsed; it is a few KiB as a rule.
_MOST_XMP = 2_000_000

#: Properties that are read, and characters of one.
_MOST_PROPERTIES = 30
_MOST_CHARACTERS = 100_000

_SOURCE = "DigitalSourceType"
_AI = ("AISystemUsed", "AISystemVersionUsed", "AIPromptInformation")

_EXT = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_NAMES = {
    f"{_EXT}DigitalSourceType": _SOURCE,
    f"{_EXT}digitalSourceType": _SOURCE,
    **{f"{_EXT}{name}": name for name in _AI},
    "{http://ns.adobe.com/photoshop/1.0/}Credit": "Credit",
    "{http://ns.adobe.com/xap/1.0/}CreatorTool": "CreatorTool",
    "{http://ns.adobe.com/exif/1.0/}UserComment": "UserComment",
    "{http://purl.org/dc/elements/1.1/}description": "description",
    "{http://purl.org/dc/terms/}provenance": "provenance",
}
_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"

#: Fields of the older IPTC block (IIM, record 2) and what they are called.
_IIM = {40: "Instructions", 65: "Program", 110: "Credit", 115: "Source", 120: "Caption"}


def read_xmp(image: Image.Image) -> Evidence:
    """What XMP says."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if not isinstance(xmp, bytes):
        return Evidence()
    if len(xmp) > _MOST_XMP:
        return Evidence(notes=(f"XMP of {len(xmp)} bytes is too long to be read",))
    try:
        found = xmp_properties(xmp)
    except ImportError:
        return Evidence(notes=("XMP is there; to read it, install whichgen[evidence]",))
    findings = [f for name, text in found for f in _of_property(name, text)]
    # A generator that filled in a part of a photograph is named with the same properties.
    if any(f.title.startswith(_SOURCE) and f.says in ("edited", "camera") for f in findings):
        findings = [replace(f, says="edited") if f.title in _AI else f for f in findings]
    return Evidence(tuple(findings))


def xmp_properties(xmp: bytes) -> list[tuple[str, str]]:
    """The properties that are evidence, in the order of the file.

    Raises
    ------
    Exception
        It is not XML, or has a document type, where entities that expand could be declared.
    """
    from defusedxml.ElementTree import fromstring

    root = fromstring(xmp.strip(b"\0 \r\n\t"), forbid_dtd=True)
    found: list[tuple[str, str]] = []
    for element in root.iter():
        found += [(_NAMES[name], text) for name, text in element.attrib.items() if name in _NAMES]
        if element.tag in _NAMES:
            text = element.get(_RESOURCE) or _inner_text(element)
            found.append((_NAMES[element.tag], text))
        if len(found) >= _MOST_PROPERTIES:
            break  # properties may be nested in one another, and texts read many times
    return found[:_MOST_PROPERTIES]


def read_iptc(image: Image.Image) -> Evidence:
    """What the older IPTC block says (JPEG and TIFF)."""
    fields = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    found: list[Finding] = []
    for number, name in _IIM.items():
        value = fields.get((2, number)) or b""
        text = (value[0] if isinstance(value, list) else value) or b""
        found += interpret("iptc", name, text.decode("utf-8", errors="replace"))
    return Evidence(tuple(found))


def _inner_text(element: Any) -> str:
    # An alternative or a list stands two levels deeper, each language of it after the other.
    return "".join(element.itertext()).strip()[:_MOST_CHARACTERS]


def _of_property(name: str, text: str) -> list[Finding]:
    text = text.strip()
    if not text:
        return []
    if name == _SOURCE:
        code, says, meaning = source_type(text)
        return [Finding("xmp", f"{_SOURCE}: {code}", meaning, says)]
    if name == "AISystemUsed":
        named = known(text)
        return [Finding("xmp", name, text, "synthetic", named.name if named else text)]
    if name == "provenance":
        return [Finding("xmp", "Content Credentials are said to be elsewhere; not fetched", text)]
    if name in _AI:
        return [Finding("xmp", name, text, "synthetic")]
    return interpret("xmp", name, text)
