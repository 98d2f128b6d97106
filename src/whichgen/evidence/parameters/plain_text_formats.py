"""Parse generation parameters in text: Midjourney, web UIs, InvokeAI 1, Mochi Diffusion."""

from __future__ import annotations

import re

from whichgen.evidence.parameters.generation_parameters import Parameters
from whichgen.evidence.parameters.sd_web_ui import parse_web_ui

#: Identifier of an image or a job.
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

#: Identifier of the job, which follows the prompt in texts by Midjourney.
_MIDJOURNEY = re.compile(rf"\bJob ID: ?({UUID.pattern})", re.IGNORECASE)

#: Options in prompts of Midjourney.
_OPTION = re.compile(
    r"\s--(ar|aspect|v|version|niji|stylize|s|chaos|c|q|quality|style|sref|cref|weird|w|raw|seed"
    r"|no|tile|iw|profile|p)\b",
    re.IGNORECASE,
)

#: InvokeAI 1 writes its command line: `"a prompt" -s 50 -S 7 -W 512 -H 512 -C 7.5 -A k_lms`.
_FLAG = re.compile(r" -([sSWHCA]) ?([\w.]+)")
_FLAGS = {"s": "steps", "S": "seed", "W": "width", "H": "height", "C": "cfg", "A": "sampler"}

#: Settings of Mochi Diffusion, separated by semicolons or, since version 6, by line breaks.
_MOCHI = re.compile(
    r"(?:^|; |\n)(Include in Image|Exclude from Image|Model|Size|Seed|Steps|Scheduler|Generator"
    r"|Guidance Scale): ?((?:(?!; [A-Z][\w ]{2,20}: )[^\n]){0,5000})"
)

#: Maximum number of characters that are searched, except for parameters of web UIs.
_MAX_SEARCH = 20_000


def parse_text(text: str) -> Parameters | None:
    """Parse generation parameters in a text other than JSON; return ``None`` if there are none."""
    head = text[:_MAX_SEARCH]
    if job := _MIDJOURNEY.search(head):
        return Parameters("Midjourney", {"job": job[1], "prompt": text[: job.start()]})
    return _parse_mochi(head) or parse_web_ui(text) or _parse_command(head)


def has_midjourney_options(text: str) -> bool:
    """Return whether a text has at least two Midjourney options, such as ``--ar 3:2 --v 6``.

    Options with the same name count once. Only the first 20,000 characters are searched.
    """
    return len({match[1].lower() for match in _OPTION.finditer(text[:_MAX_SEARCH])}) >= 2


def _parse_mochi(text: str) -> Parameters | None:
    if "Include in Image:" not in text:
        return None
    values = {match[1]: match[2] for match in _MOCHI.finditer(text)}
    return Parameters("Mochi Diffusion", values) if len(values) >= 3 else None


def _parse_command(text: str) -> Parameters | None:
    flags = {_FLAGS[match[1]]: match[2] for match in _FLAG.finditer(text)}
    if not text.lstrip().startswith('"') or not {"steps", "seed"} <= flags.keys():
        return None
    prompt = text.strip()[1:].partition('" -')[0]
    return Parameters("InvokeAI", {**flags, "prompt": prompt})
