"""Parse the parameters of Stable Diffusion web UIs: AUTOMATIC1111, its forks and imitators."""

from __future__ import annotations

import re
from itertools import islice

from whichgen.evidence.generator_patterns import find_generator
from whichgen.evidence.parameters.generation_parameters import Parameters
from whichgen.evidence.untrusted_text import clean

#: Keys that are unusual in captions, and patterns of their values. A text with at least two of
#: these keys counts as parameters.
_KEYS = {
    "Steps": r"\d{1,4}\b",
    "Sampler": r"\w",
    "CFG scale": r"\d",
    "Guidance scale": r"\d",
    "Seed": r"-?\d",
    "Model hash": r"[0-9a-fA-F]{6,}",
    "Denoising strength": r"[01]",
    "Clip skip": r"\d",
    "Schedule type": r"\w",
    "Negative prompt": r"\S",
}
_KEY = re.compile(
    r"(?<![\w-])(?:" + "|".join(f"({key}): ?(?={value})" for key, value in _KEYS.items()) + ")",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(r"(?:^|\s)Negative prompt:", re.IGNORECASE)
_PAIR = re.compile(r'([A-Za-z][\w /\-]{0,40}): *("(?:\\.|[^"\\]){0,2000}"|[^,\n]{0,300})')
#: Object of the model in the JSON of Civitai's generator, and the name in this object.
_CHECKPOINT = re.compile(r'\{[^{}]{0,1000}"type": ?"checkpoint"[^{}]{0,1000}\}')
_MODEL_NAME = re.compile(r'"modelName": ?"([^"]{1,200})"')

#: Maximum number of characters that are parsed as settings, and maximum number of keys that are
#: examined to find the settings.
_MAX_SETTINGS = 10_000
_MAX_KEYS = 1000

#: Name of the format in reports.
_WEB_UI = "Stable Diffusion web UI"


def parse_web_ui(text: str) -> Parameters | None:
    """Parse the parameters of a web UI; return ``None`` if the text contains none.

    The usual form is a prompt, a line ``Negative prompt: …`` and a line ``Steps: …, Sampler: …``.
    The keys may be in any order, and the line breaks may be missing. At least two different keys
    that are unusual in captions, such as ``Steps`` and ``Sampler``, are required.
    """
    start = _find_settings(text)
    if start is None:
        return None
    pairs = _PAIR.findall(text[start:][:_MAX_SETTINGS])
    values = {key: value.strip().strip('"') for key, value in reversed(pairs)}
    negative = _NEGATIVE.search(text, 0, start + 1)
    prompt = text[: negative.start() if negative else start]
    settings = {key.lower(): value for key, value in values.items()}
    version = clean(settings.get("app", "") or settings.get("version", ""), 60)
    program = find_generator(version) if version else None
    tool = f"a {_WEB_UI} ({version})" if version else f"a {_WEB_UI}"
    if program is not None:  # a program that imitates the format writes its name as the version
        tool = program.name
    if not settings.get("model") and (resource := _CHECKPOINT.search(text, start)):
        name = _MODEL_NAME.search(resource[0])
        values |= {"model": name[1]} if name else {}
    return Parameters(tool, {**values, "prompt": prompt})


def _find_settings(text: str) -> int | None:
    """Return the position of the first setting; ``None`` if there are fewer than two keys."""
    matches = list(islice(_KEY.finditer(text), _MAX_KEYS))
    if len({match.lastindex for match in matches}) < 2:
        return None
    settings = [match for match in matches if not _NEGATIVE.match(match[0])]
    # The prompt may contain keys, too. The settings are on the last line that has several keys.
    lines: dict[int, list[int]] = {}
    line, position = -1, 0
    for match in settings:
        line = max(line, text.rfind("\n", position, match.start()))
        position = match.start()
        lines.setdefault(line, []).append(position)
    line_starts = (starts[0] for starts in reversed(lines.values()) if len(starts) > 1)
    return next(line_starts, settings[0].start())
