"""Interpret a text field: generation parameters, the name of a program, a label, or free text.

Programs store the same text in a PNG chunk, the EXIF user comment, XMP or a JPEG comment.
Therefore, a text is interpreted by its content. The name of the field matters only for names of
programs, credits, keywords and labels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from whichgen.evidence.finding import Finding
from whichgen.evidence.generator_patterns import is_editor
from whichgen.evidence.metadata.aigc_label import FIELD as AIGC
from whichgen.evidence.metadata.aigc_label import read_aigc_label, read_aigc_text
from whichgen.evidence.metadata.text_statements import (
    TextStatement,
    classify_credit,
    classify_free_text,
    classify_program,
)
from whichgen.evidence.parameters.comfyui import search_graph
from whichgen.evidence.parameters.generation_parameters import report_parameters
from whichgen.evidence.parameters.json_formats import read_parameters
from whichgen.evidence.parameters.plain_text_formats import has_midjourney_options, parse_text
from whichgen.evidence.untrusted_text import MAX_TEXT, clean, parse_json

#: Fields that contain the name of the program that wrote the file, credits, and keywords. Names of
#: fields are in lower case.
_PROGRAM_FIELDS = frozenset(
    {"software", "source", "creatortool", "creator tool", "generator", "program", "created with"}
    | {"make", "processingsoftware", "hostcomputer", "originating program", "encoder"}
)
_CREDIT_FIELDS = frozenset({"credit"})
_KEYWORD_FIELDS = frozenset({"keywords", "xpkeywords", "subject"})

#: Maximum number of characters that are searched for keywords and for binary data.
_MAX_HEAD = 2000

#: Maximum number of characters of a text in a summary.
_MAX_QUOTE = 80

#: Maximum depth of nested JSON, and maximum number of entries read per object.
_MAX_DEPTH = 2
_MAX_ENTRIES = 30


def interpret_text(kind: str, field: str, text: str) -> list[Finding]:
    """Interpret the text of a field.

    Parameters
    ----------
    kind
        Type of metadata (see :class:`~whichgen.evidence.finding.Finding`).
    field
        Name of the field.
    text
        Text of the field.

    Returns
    -------
    list of Finding
        Empty if the text is blank. A text that contains no statement about the origin of the image
        or is too long to read (:data:`~whichgen.evidence.untrusted_text.MAX_TEXT`) is a ``neutral``
        finding.
    """
    if not text.strip("\0 \r\n\t"):
        return []
    field = clean(field, 60)
    if len(text) > MAX_TEXT:
        return [Finding(kind, f"{field}: {len(text)} characters, too long to read", text)]
    if findings := _interpret_format(kind, field, text, _MAX_DEPTH):
        return findings
    if _is_binary(text):
        return [Finding(kind, f"{field}: binary data")]
    return [_report_statement(kind, field, text, _read_statement(field.lower(), text))]


def _is_binary(text: str) -> bool:
    """Return whether a text is probably binary data.

    In binary data, more than a third of the first characters can't be decoded or printed.
    """
    head = text[:_MAX_HEAD].strip("\0 \r\n\t")
    return 3 * sum(c == "\ufffd" or not (c.isprintable() or c.isspace()) for c in head) > len(head)


def _read_statement(field: str, text: str) -> TextStatement:
    if field in _PROGRAM_FIELDS:
        return classify_program(text)
    if field in _CREDIT_FIELDS:
        return classify_credit(text)
    if field in _KEYWORD_FIELDS:
        keywords = (classify_free_text(keyword) for keyword in re.split("[;,]", text[:_MAX_HEAD]))
        return next((s for s in keywords if s.indicates != "neutral"), classify_free_text(text))
    return classify_free_text(text)


def interpret_fields(kind: str, texts: Sequence[tuple[str, str]]) -> list[Finding]:
    """Interpret text fields, first separately and then together as one set of parameters.

    Some programs, such as Easy Diffusion, write one field per setting.

    Parameters
    ----------
    kind
        Type of metadata (see :class:`~whichgen.evidence.finding.Finding`).
    texts
        Name and text of each field.

    Returns
    -------
    list of Finding
        The findings of all fields. If no field alone is strong evidence of a synthetic image, but
        all fields together are generation parameters, the finding about these parameters comes
        first, and neutral findings are omitted.
    """
    fields = {field: text for field, text in texts if len(text) <= MAX_TEXT}
    findings = [finding for field, text in texts for finding in interpret_text(kind, field, text)]
    if any(f.indicates == "synthetic" and f.strength == "strong" for f in findings):
        return findings
    if parameters := read_parameters(fields):
        statements = [finding for finding in findings if finding.indicates != "neutral"]
        return [report_parameters(kind, "text fields", parameters), *statements]
    return findings


def _interpret_format(kind: str, field: str, text: str, depth: int) -> list[Finding]:
    """Return findings about parameters, labels and programs; search JSON to the given depth."""
    if field.upper() == AIGC and (label := read_aigc_text(kind, field, text)):
        return [label]
    if text.lstrip("\0 \r\n\t\ufeff")[:1] != "{":
        parameters = parse_text(text)
        return [report_parameters(kind, field, parameters)] if parameters else []
    value = parse_json(text.strip("\0 \r\n\t\ufeff"))
    if isinstance(value, dict):
        return _interpret_object(kind, field, value, depth)
    graph = search_graph(text)
    return [report_parameters(kind, field, graph)] if graph else []


def _interpret_object(kind: str, field: str, value: dict[str, Any], depth: int) -> list[Finding]:
    if label := read_aigc_label(kind, field, value):
        return [label]
    if parameters := read_parameters(value):
        return [report_parameters(kind, field, parameters)]
    findings: list[Finding] = []
    for key, entry in list(value.items())[:_MAX_ENTRIES] if depth else ():
        inner_field = clean(f"{field}: {key}", 60)
        if isinstance(entry, dict):
            findings += _interpret_object(kind, inner_field, entry, depth - 1)
        elif isinstance(entry, str) and str(key).lower() in _PROGRAM_FIELDS:
            finding = _report_statement(kind, inner_field, entry, classify_program(entry))
            findings += [finding] if finding.indicates == "synthetic" else []
        elif isinstance(entry, str):
            findings += _interpret_format(kind, inner_field, entry, depth - 1)
    return findings


def _report_statement(kind: str, field: str, text: str, statement: TextStatement) -> Finding:
    name = statement.generator.name if statement.generator else ""
    is_program = field.rpartition(": ")[2].lower() in _PROGRAM_FIELDS
    quote = f"{field}: “{clean(text, _MAX_QUOTE)}”"
    if statement.indicates == "neutral":
        if is_program and is_editor(text):
            return Finding(kind, field, text, "edited", statement=f"{quote}, a photo editor")
        if name:
            return Finding(kind, f"{field} mentions {name}", text)
        if has_midjourney_options(text):
            title = f"{field}: a prompt with options of Midjourney"
            return Finding(kind, title, text, "synthetic", "Midjourney", "weak")
        return Finding(kind, field, text)
    is_strong = is_program or field.lower() in _CREDIT_FIELDS
    title = f"{field}: {name}" if is_program and name else f"{field} names {name or 'AI'}"
    return Finding(
        kind=kind,
        title=title,
        detail=text,
        indicates=statement.indicates,
        generator=name,
        strength="strong" if is_strong else "weak",
        statement=quote,
    )
