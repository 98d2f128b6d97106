"""Extract provenance evidence from XMP: source types, AI labels, editing history and texts."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from whichgen.evidence.containers.metadata_blocks import MAX_BLOCK
from whichgen.evidence.finding import Evidence, Finding, Indication
from whichgen.evidence.generator_patterns import find_generator, is_editor
from whichgen.evidence.metadata.aigc_label import FIELD as AIGC
from whichgen.evidence.metadata.aigc_label import read_aigc_label, read_aigc_text
from whichgen.evidence.metadata.digital_source_types import parse_source_type
from whichgen.evidence.metadata.text_fields import interpret_text
from whichgen.evidence.parameters.plain_text_formats import UUID
from whichgen.evidence.untrusted_text import clean

#: Maximum number of properties, and maximum number of characters of the text of an element.
_MAX_PROPERTIES = 30
_MAX_CHARACTERS = 100_000

_SOURCE, _FILE_SOURCE = "DigitalSourceType", "DigitalSourceFileType"
_AI = ("AISystemUsed", "AISystemVersionUsed", "AIPromptInformation")
_GUID = "DigImageGUID"
_CANVA = "ContainsAiGeneratedContent"

#: Maps unambiguous names in lower case to their usual spelling. The namespace is ignored, because
#: programs often get it wrong.
_UNIQUE = {name.lower(): name for name in (_SOURCE, _FILE_SOURCE, *_AI, _GUID, _CANVA, AIGC)}
#: Maps ambiguous names, which count only in their namespace, to names in reports.
_NAMES = {
    "{http://ns.adobe.com/photoshop/1.0/}Credit": "Credit",
    "{http://ns.adobe.com/photoshop/1.0/}Instructions": "Instructions",
    "{http://ns.adobe.com/photoshop/1.0/}Headline": "Headline",
    "{http://ns.adobe.com/photoshop/1.0/}Source": "Source",
    "{http://ns.adobe.com/xap/1.0/}CreatorTool": "CreatorTool",
    "{http://ns.adobe.com/exif/1.0/}UserComment": "UserComment",
    "{http://ns.adobe.com/tiff/1.0/}Software": "Software",
    "{http://ns.adobe.com/tiff/1.0/}ImageDescription": "ImageDescription",
    "{http://purl.org/dc/elements/1.1/}description": "description",
    "{http://purl.org/dc/elements/1.1/}title": "title",
    "{http://purl.org/dc/elements/1.1/}subject": "subject",
    "{http://purl.org/dc/elements/1.1/}rights": "rights",
    "{http://purl.org/dc/elements/1.1/}creator": "creator",
    "{http://purl.org/dc/terms/}provenance": "provenance",
}
#: Namespace of ``action`` and ``softwareAgent`` in the editing history of Adobe's programs.
_EVENT = "{http://ns.adobe.com/xap/1.0/sType/ResourceEvent#}"
_HISTORY = "History"
_RESOURCE = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource"
_TC260 = "{http://www.tc260.org.cn/"

#: Properties in a packet that is not valid XML.
_LOOSE = re.compile(
    r"[:<\s](?P<name>" + "|".join(_UNIQUE) + r"|credit|creatortool)"
    r"(?:\s*=\s*(?:\"(?P<a>[^\"<]{0,5000})\"|'(?P<b>[^'<]{0,5000})')"
    r"|[^<>\"']{0,100}(?:rdf:resource=\"(?P<c>[^\"<]{0,500})\")?\s*/?>(?P<d>[^<]{0,5000}))",
    re.IGNORECASE,
)

#: Credit that Google writes into generated and edited images.
_GOOGLE_EDIT = "Edited with Google AI"


def read_xmp(xmp: bytes, *, has_camera: bool = False) -> Evidence:
    """Extract provenance evidence from an XMP packet.

    If the XMP packet is too large or the extra ``evidence`` is not installed, the result has no
    findings, only a note.

    Parameters
    ----------
    xmp
        The packet.
    has_camera
        Whether the EXIF metadata names a camera.

    Raises
    ------
    SyntaxError
        The packet is not valid XML, and no known property is found in it.
    ValueError, LookupError
        See :func:`parse_xmp`.
    """
    if len(xmp) > MAX_BLOCK:
        return Evidence(notes=(f"XMP of {len(xmp)} bytes is too large to read",))
    notes: tuple[str, ...] = ()
    try:
        properties = parse_xmp(xmp)
    except ImportError:
        return Evidence(notes=("XMP metadata was not read; install whichgen[evidence] to read it",))
    except SyntaxError:  # ParseError is a subclass
        properties = _search_properties(xmp)
        if not properties:
            raise
        notes = ("XMP is not valid XML; some properties may be missing",)
    findings = [f for name, text in properties for f in _interpret_property(name, text)]
    findings = _correct_composite(findings, has_camera=has_camera)
    if any(name == _GUID and UUID.fullmatch(text.strip()) for name, text in properties) and any(
        f.title.startswith(_SOURCE) and f.indicates == "synthetic" for f in findings
    ):
        title = f"{_GUID} and {_SOURCE}, as Midjourney writes them"
        findings.append(Finding("xmp", title, "", "synthetic", "Midjourney", "weak"))
    return Evidence(tuple(findings), notes)


def parse_xmp(xmp: bytes) -> list[tuple[str, str]]:
    """Read the properties of an XMP packet that contain provenance information.

    Returns
    -------
    list of (str, str)
        Names and texts of at most 30 distinct properties, in document order. The items of a list
        are separated by semicolons. An event of the editing history has the name
        ``History: ACTION`` and the program as its text.

    Raises
    ------
    ImportError
        The extra ``evidence`` is not installed.
    ValueError
        The XML has a document type declaration (DTD), which could define entities that exhaust
        memory, or an unsupported encoding.
    LookupError
        The encoding of the XML is unknown.
    SyntaxError
        The packet is not valid XML.
    """
    from defusedxml import DTDForbidden
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(_decode_packet(xmp), forbid_dtd=True)
    except DTDForbidden:
        raise ValueError("document type declarations are not allowed") from None
    properties: dict[tuple[str, str], None] = {}  # ordered set, because histories have duplicates
    for element in root.iter():
        for key, text in element.attrib.items():
            if name := _get_report_name(key):
                properties[name, text] = None
        if name := _get_report_name(str(element.tag)):
            # Lists and language alternatives are nested two levels deep.
            text = element.get(_RESOURCE) or ";".join(_iterate_texts(element))[:_MAX_CHARACTERS]
            properties[name, text] = None
        action, agent = (
            element.get(_EVENT + key) or element.findtext(_EVENT + key) or ""
            for key in ("action", "softwareAgent")
        )
        if agent:
            properties[f"{_HISTORY}: {clean(action, 30)}", agent] = None
        if len(properties) >= _MAX_PROPERTIES:
            break  # limit the time, because the text of nested properties is read many times
    return list(properties)[:_MAX_PROPERTIES]


def _iterate_texts(element: Any) -> Iterator[str]:
    """Yield at most 100 texts in an element and its descendants."""
    return islice((text for part in element.itertext() if (text := part.strip())), 100)


def _get_report_name(key: str) -> str:
    """Return the name of a property in reports, or an empty string if the property is ignored.

    ``key`` is the name with its namespace: ``{NAMESPACE}NAME``.
    """
    if key in _NAMES:
        return _NAMES[key]
    local = key.rpartition("}")[2]
    if key.startswith(_TC260) and local.lower() == "label":
        return "Label"
    return _UNIQUE.get(local.lower(), "")


def _decode_packet(xmp: bytes) -> bytes | str:
    """Decode a packet in UTF-16; return the bytes of a packet in another encoding.

    UTF-16 may be in either byte order. Without a byte-order mark, it is recognized by its first
    character, ``<``. White space and NULs at both ends are removed.
    """
    if xmp.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return xmp.decode("utf-16", errors="replace").strip("\0 \r\n\t")
    for encoding in ("utf-16-le", "utf-16-be"):
        if xmp.startswith("<".encode(encoding)):
            return xmp.decode(encoding, errors="replace").strip("\0 \r\n\t\ufeff")
    return xmp.strip(b"\0 \r\n\t")


def _search_properties(xmp: bytes) -> list[tuple[str, str]]:
    """Search for properties in a packet that is not valid XML, such as a truncated packet."""
    packet = _decode_packet(xmp)
    text = packet if isinstance(packet, str) else packet.decode("utf-8", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return []
    properties = []
    for match in _LOOSE.finditer(text):
        name = {"credit": "Credit", "creatortool": "CreatorTool"}.get(match["name"].lower())
        value = match["a"] or match["b"] or match["c"] or match["d"] or ""
        properties.append((name or _UNIQUE[match["name"].lower()], html.unescape(value)))
        if len(properties) >= _MAX_PROPERTIES:
            break
    return [(name, value) for name, value in properties if value.strip()]


def _interpret_property(name: str, text: str) -> list[Finding]:
    text = text.strip("\0 \r\n\t")
    if not text or name == _GUID:
        return []
    if name in (_SOURCE, _FILE_SOURCE):
        code, indication, meaning = parse_source_type(text)
        return [
            Finding(
                kind="xmp",
                title=f"{name}: {code}",
                detail=meaning,
                indicates=indication,
                strength="weak" if indication == "camera" else "strong",  # weak, as in EXIF
                statement=f"source type: {meaning}",
            )
        ]
    if name == _CANVA:
        return _interpret_canva(text)
    if name.startswith(_HISTORY):
        return _interpret_event(name, text)
    if name in (AIGC, "Label"):
        value = {"Label": text, "ContentProducer": ""}
        label = read_aigc_text("xmp", f"TC260:{AIGC}", text) or (
            read_aigc_label("xmp", f"TC260:{AIGC}", value) if name == "Label" else None
        )
        return [label] if label else [Finding("xmp", name, text)]
    if name == "AISystemUsed":
        generator = find_generator(text)
        return [Finding("xmp", name, text, "synthetic", generator.name if generator else text)]
    if name == "provenance":
        place = "in this file" if text.startswith("self#") else "at a remote URL, not fetched"
        return [Finding("xmp", f"Content Credentials {place}", text)]
    if name in _AI:
        return [Finding("xmp", name, text, "synthetic")]
    return interpret_text("xmp", name, text)


def _interpret_event(name: str, agent: str) -> list[Finding]:
    """Interpret an event of the editing history, such as an edit with a generator.

    ``name`` is the name of the property, which contains the action; ``agent`` is the program.
    """
    generator = find_generator(agent)
    quote = f"{name} by “{clean(agent, 80)}”"
    if generator:
        indication: Indication = "synthetic" if name.endswith(": created") else "edited"
        title = f"{name} by {generator.name}"
        return [Finding("xmp", title, agent, indication, generator.name, statement=quote)]
    if is_editor(agent):
        return [Finding("xmp", name, agent, "edited", statement=f"{quote}, a photo editor")]
    return [Finding("xmp", name, agent)]


def _interpret_canva(text: str) -> list[Finding]:
    """Interpret the value, Yes or No, of Canva's field for AI-generated parts."""
    if text.lower() not in ("yes", "true", "1"):
        return [Finding("xmp", _CANVA, text)]
    title = f"{_CANVA}: AI-generated parts, stated by Canva"
    return [Finding("xmp", title, text, "synthetic", "Canva", "weak")]


def _correct_composite(findings: list[Finding], *, has_camera: bool) -> list[Finding]:
    """Correct findings if the source type is that of a photograph, an edit or a composite.

    Properties such as ``AISystemUsed`` then count as ``edited``, because a generator writes them
    even if it changed only part of a photograph. However, Google's Gemini app also writes "Edited
    with Google AI" and the source type of a composite into fully generated images. Therefore, if
    both are present and the EXIF metadata names no camera, the findings about edits become weak
    evidence of a synthetic image.
    """
    types = [f for f in findings if f.title.startswith((_SOURCE, _FILE_SOURCE))]
    if not any(f.indicates in ("edited", "camera") for f in types):
        return findings
    has_google_credit = any(f.detail.lower() == _GOOGLE_EDIT.lower() for f in findings)
    if has_google_credit and not has_camera and any("TrainedAlgorithmic" in f.title for f in types):
        detail = "made or edited with Google AI; the Gemini app writes this in both cases"
        changes: dict[str, Any] = {"indicates": "synthetic", "strength": "weak", "detail": detail}
        changes["statement"] = f"source type and credit: {detail}"
        return [replace(f, **changes) if f.indicates == "edited" else f for f in findings]
    return [replace(f, indicates="edited") if f.title in _AI else f for f in findings]
