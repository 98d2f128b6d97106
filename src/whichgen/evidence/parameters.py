"""What generators' tools write into a text: parameters of Stable Diffusion web UIs, JSON, job ids.

The same texts stand in PNG's chunks, EXIF's user comment, XMP and JPEG's comment, by the program
that saved the file: here a text is told by its content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whichgen.evidence.bounded import MOST_READ, bounded_json, clean
from whichgen.evidence.comfyui import read_graph
from whichgen.evidence.finding import Finding
from whichgen.evidence.generators import is_editor, known, stated

#: Fields that name a program, so that a generator's name in them is what made the image.
_PROGRAMS = frozenset({"software", "source", "creatortool", "generator", "program"})

# Web UIs end with one line of `Key: value` pairs, the steps first; values with commas are quoted.
_STEPS = re.compile(r"(?:^|\n) ?(?=Steps: ?\d+, ?\w)")
_PAIR = re.compile(r'([A-Za-z][\w /\-]{0,40}): *("(?:\\.|[^"\\]){0,2000}"|[^,\n]{0,300})')
_LONGEST_LINE = 10_000

_MIDJOURNEY = re.compile(r"\bJob ID: ?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)

# A tool's JSON has all keys of one of its sets.
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
# Where tools keep what, under the names shown; the first key that is there counts. The prompt is
# last, for it may fill all that is left.
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
    """What a text field says: a program's name, what a generator's tool wrote, or nothing.

    Parameters
    ----------
    kind
        Where the field stands (see :class:`~whichgen.evidence.finding.Finding`).
    field
        Its name.
    """
    if not text.strip():
        return []
    field = clean(field, 60)
    if len(text) > MOST_READ:
        return [Finding(kind, f"{field}: {len(text)} characters, too long to be read", text)]
    if found := _web_ui(text):
        return [_made(kind, field, *found)]
    if text.lstrip()[:1] == "{":
        return _of_json(kind, field, bounded_json(text))
    if job := _MIDJOURNEY.search(text):
        return [_made(kind, field, "Midjourney", {"job": job[1], "prompt": text[: job.start()]})]
    named = known(text)
    if field.lower() in _PROGRAMS:
        if named:
            return [Finding(kind, f"{field}: {named.name}", text, "synthetic", named.name)]
        return [Finding(kind, field, text, "edited" if is_editor(text) else "neutral")]
    if named is None:
        return []
    says = stated(text)
    if says == "neutral":
        return [Finding(kind, f"{field} mentions {named.name}", text)]
    return [Finding(kind, f"{field} names {named.name}", text, says, named.name)]


def _web_ui(text: str) -> tuple[str, dict[str, Any]] | None:
    """The tool and the values of Stable Diffusion web UIs (A1111, Forge, Fooocus, SD.Next)."""
    start = _STEPS.search(text)
    if start is None:
        return None
    pairs = _PAIR.findall(text[start.end() :][:_LONGEST_LINE])
    values = {key: value.strip().strip('"') for key, value in reversed(pairs)}
    prompt = text[: start.start()].partition("\nNegative prompt:")[0]
    version = clean(values.get("Version", ""), 60)
    tool = f"a Stable Diffusion web UI ({version})" if version else "a Stable Diffusion web UI"
    return tool, {**values, "prompt": prompt}


def _of_json(kind: str, field: str, value: Any) -> list[Finding]:
    if not isinstance(value, dict):
        return []
    if (graph := read_graph(value)) is not None:
        return [_made(kind, field, "ComfyUI", graph)]
    for tool, keys in _TOOLS:
        if keys <= value.keys():
            return [_made(kind, field, tool, _flat(value))]
    return []


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """A tool's values in one dictionary: some stand one level deeper."""
    inner = [value.get(key) for key in ("image", "sui_image_params")]
    flat = {k: v for part in inner if isinstance(part, dict) for k, v in part.items()} | value
    model = value.get("model")
    if isinstance(model, dict):  # InvokeAI describes its models
        flat["model"] = model.get("name") or model.get("model_name")
        flat["model_hash"] = model.get("hash")
    elif "model_weights" in value:  # and once told only their kind here
        flat["model"] = value["model_weights"]
    if _is_plain(flat.get("width")) and _is_plain(flat.get("height")):
        flat.setdefault("size", f"{flat['width']}x{flat['height']}")
    return flat


def _made(kind: str, field: str, tool: str, values: Mapping[str, Any]) -> Finding:
    """The finding of an image that a tool made with these values."""
    shown = {}
    for name, keys in _FIELDS.items():
        found = next((values[key] for key in keys if _is_plain(values.get(key))), "")
        if text := clean(str(found), 300 if name == "prompt" else 100):
            shown[name] = text
    named = known(tool)
    return Finding(
        kind=kind,
        title=f"{field}: generation parameters as {tool} writes them",
        detail="; ".join(f"{name} {text}" for name, text in shown.items()),
        says="synthetic",
        generator=shown.get("model") or (named.name if named else tool),
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
