"""Extract provenance evidence from XMP and IPTC: source type, AI system, credit and software."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image, IptcImagePlugin

from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generators import find_generator
from whichgen.evidence.parameters import interpret
from whichgen.evidence.sources import parse_source_type

#: Maximum size of XMP in bytes; usual sizes are a few KiB.
_MAX_XMP = 2_000_000

#: Maximum number of properties, and of characters per property.
_MAX_PROPERTIES = 30
_MAX_CHARACTERS = 100_000

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

#: Fields of the older IPTC block (IIM, record 2).
_IIM = {40: "Instructions", 65: "Program", 110: "Credit", 115: "Source", 120: "Caption"}


def read_xmp(image: Image.Image) -> Evidence:
    """Extract provenance evidence from XMP metadata.

    If the XMP packet is too large or the extra ``evidence`` is not installed, the result has no
    findings, only a note.

    Raises
    ------
    Exception
        The XMP packet is invalid (see :func:`parse_xmp`).
    """
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if not isinstance(xmp, bytes):
        return Evidence()
    if len(xmp) > _MAX_XMP:
        return Evidence(notes=(f"XMP of {len(xmp)} bytes is too large to read",))
    try:
        properties = parse_xmp(xmp)
    except ImportError:
        return Evidence(notes=("XMP metadata was not read; install whichgen[evidence] to read it",))
    findings = [f for name, text in properties for f in _interpret_property(name, text)]
    # Generators that fill in part of a photograph use the same properties.
    if any(f.title.startswith(_SOURCE) and f.indicates in ("edited", "camera") for f in findings):
        findings = [replace(f, indicates="edited") if f.title in _AI else f for f in findings]
    return Evidence(tuple(findings))


def parse_xmp(xmp: bytes) -> list[tuple[str, str]]:
    """Read the properties of an XMP packet that contain provenance information.

    Returns
    -------
    list of (str, str)
        Name and text of each property, in document order. Only the first 30 properties are read.

    Raises
    ------
    ImportError
        The extra ``evidence`` is not installed.
    Exception
        The XML is invalid or has a DTD. A DTD could define entities that exhaust memory.
    """
    from defusedxml.ElementTree import fromstring

    root = fromstring(xmp.strip(b"\0 \r\n\t"), forbid_dtd=True)
    properties: list[tuple[str, str]] = []
    for element in root.iter():
        properties += [
            (_NAMES[name], text) for name, text in element.attrib.items() if name in _NAMES
        ]
        if element.tag in _NAMES:
            # Lists and language alternatives are nested two levels deep.
            text = element.get(_RESOURCE) or "".join(element.itertext()).strip()[:_MAX_CHARACTERS]
            properties.append((_NAMES[element.tag], text))
        if len(properties) >= _MAX_PROPERTIES:
            break  # nested properties would read texts many times
    return properties[:_MAX_PROPERTIES]


def read_iptc(image: Image.Image) -> Evidence:
    """Extract provenance evidence from IPTC-IIM metadata, the predecessor of XMP."""
    fields = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    findings: list[Finding] = []
    for number, name in _IIM.items():
        value = fields.get((2, number)) or b""
        text = (value[0] if isinstance(value, list) else value) or b""
        findings += interpret("iptc", name, text.decode("utf-8", errors="replace"))
    return Evidence(tuple(findings))


def _interpret_property(name: str, text: str) -> list[Finding]:
    text = text.strip()
    if not text:
        return []
    if name == _SOURCE:
        code, indication, meaning = parse_source_type(text)
        return [Finding("xmp", f"{_SOURCE}: {code}", meaning, indication)]
    if name == "AISystemUsed":
        generator = find_generator(text)
        return [Finding("xmp", name, text, "synthetic", generator.name if generator else text)]
    if name == "provenance":
        return [Finding("xmp", "Content Credentials at a remote URL, not fetched", text)]
    if name in _AI:
        return [Finding("xmp", name, text, "synthetic")]
    return interpret("xmp", name, text)
