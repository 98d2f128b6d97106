"""Parse text written by generators and their tools: web UI parameters, JSON, job IDs.

Programs store the same text in a PNG chunk, the EXIF user comment, XMP or a JPEG comment. Therefore
a text is recognized by its content and not by the name of its field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whichgen.evidence.bounded import MAX_TEXT, clean, parse_json
from whichgen.evidence.comfyui import read_graph
from whichgen.evidence.finding import Finding
from whichgen.evidence.generators import classify_statement, find_generator, is_editor

#: Fields that name the program that made the image.
_PROGRAMS = frozenset({"software", "source", "creatortool", "generator", "program"})

# Web UIs end with a line of `Key: value` pairs from Steps on; values with commas are quoted.
_STEPS = re.compile(r"(?:^|\n) ?(?=Steps: ?\d+, ?\w)")
_PAIR = re.compile(r'([A-Za-z][\w /\-]{0,40}): *("(?:\\.|[^"\\]){0,2000}"|[^,\n]{0,300})')
_MAX_LINE = 10_000

_MIDJOURNEY = re.compile(r"\bJob ID: ?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)

# Keys that identify the JSON of a tool.
_TOOLS: tuple[tuple[str, frozenset[str]], ...] = (
    ("Fooocus", frozenset({"base_model", "performance"})),
    ("Fooocus", frozenset({"metadata_scheme", "seed"})),
    ("SwarmUI", frozenset({"sui_image_params"})),
    ("InvokeAI", frozenset({"app_version", "generation_mode"})),
    ("InvokeAI", frozenset({"app_version", "model_weights"})),
    ("InvokeAI", frozenset({"positive_prompt", "seed"})),
    ("Draw Things", frozenset({"c", "uc", "sampler"})),
    ("NovelAI", frozenset({"uc", "sampler", "scale"})),
)
# Keys of each reported value, the first match counts. The prompt is last because it may be long.
_FIELDS: dict[str, tuple[str, ...]] = {
    "model": ("model", "base_model", "model_weights", "model_name", "Model"),
    "model hash": ("model_hash", "base_model_hash", "Model hash"),
    "sampler": ("sampler", "scheduler", "sampler_name", "Sampler"),
    "steps": ("steps", "Steps"),
    "seed": ("seed", "Seed"),
    "size": ("size", "resolution", "Size"),
    "job": ("job",),
    "prompt": ("prompt", "positive_prompt", "c"),
}


def interpret(kind: str, field: str, text: str) -> list[Finding]:
    """Find the generation parameters or the name of a generator or program in a text field.

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
        One finding, or none.
    """
    if not text.strip():
        return []
    field = clean(field, 60)
    if len(text) > MAX_TEXT:
        return [Finding(kind, f"{field}: {len(text)} characters, too long to read", text)]
    if match := _parse_web_ui(text):
        return [_make_finding(kind, field, *match)]
    if text.lstrip()[:1] == "{":
        return _interpret_json(kind, field, parse_json(text))
    if job := _MIDJOURNEY.search(text):
        values = {"job": job[1], "prompt": text[: job.start()]}
        return [_make_finding(kind, field, "Midjourney", values)]
    generator = find_generator(text)
    if field.lower() in _PROGRAMS:
        if generator:
            return [Finding(kind, f"{field}: {generator.name}", text, "synthetic", generator.name)]
        return [Finding(kind, field, text, "edited" if is_editor(text) else "neutral")]
    if generator is None:
        return []
    indication = classify_statement(text)
    if indication == "neutral":
        return [Finding(kind, f"{field} mentions {generator.name}", text)]
    return [Finding(kind, f"{field} names {generator.name}", text, indication, generator.name)]


def _parse_web_ui(text: str) -> tuple[str, dict[str, Any]] | None:
    """Parse the parameters of Stable Diffusion web UIs (A1111, Forge, Fooocus, SD.Next).

    Returns the name of the tool and a dictionary of the parameters, or ``None`` if the text
    contains no parameters.
    """
    start = _STEPS.search(text)
    if start is None:
        return None
    pairs = _PAIR.findall(text[start.end() :][:_MAX_LINE])
    values = {key: value.strip().strip('"') for key, value in reversed(pairs)}
    prompt = text[: start.start()].partition("\nNegative prompt:")[0]
    version = clean(values.get("Version", ""), 60)
    tool = f"a Stable Diffusion web UI ({version})" if version else "a Stable Diffusion web UI"
    return tool, {**values, "prompt": prompt}


def _interpret_json(kind: str, field: str, value: Any) -> list[Finding]:
    if not isinstance(value, dict):
        return []
    if (graph := read_graph(value)) is not None:
        return [_make_finding(kind, field, "ComfyUI", graph)]
    for tool, keys in _TOOLS:
        if keys <= value.keys():
            return [_make_finding(kind, field, tool, _flatten(value))]
    return []


def _flatten(value: dict[str, Any]) -> dict[str, Any]:
    """Flatten generation parameters, which some tools store in nested dictionaries.

    If there is no ``size``, the string ``<width>x<height>`` is added as ``size``.
    """
    inner = [value.get(key) for key in ("image", "sui_image_params")]
    flat = {k: v for part in inner if isinstance(part, dict) for k, v in part.items()} | value
    model = value.get("model")
    if isinstance(model, dict):  # InvokeAI
        flat["model"] = model.get("name") or model.get("model_name")
        flat["model_hash"] = model.get("hash")
    elif "model_weights" in value:  # older InvokeAI
        flat["model"] = value["model_weights"]
    if _is_plain(flat.get("width")) and _is_plain(flat.get("height")):
        flat.setdefault("size", f"{flat['width']}x{flat['height']}")
    return flat


def _make_finding(kind: str, field: str, tool: str, values: Mapping[str, Any]) -> Finding:
    """Create a finding from the generation parameters that a tool wrote into a text field."""
    fields = {}
    for name, keys in _FIELDS.items():
        value = next((values[key] for key in keys if _is_plain(values.get(key))), "")
        if text := clean(str(value), 300 if name == "prompt" else 100):
            fields[name] = text
    generator = find_generator(tool)
    return Finding(
        kind=kind,
        title=f"{field}: generation parameters in the format of {tool}",
        detail="; ".join(f"{name} {text}" for name, text in fields.items()),
        indicates="synthetic",
        generator=fields.get("model") or (generator.name if generator else tool),
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
