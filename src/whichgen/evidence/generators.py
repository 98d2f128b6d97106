"""Recognize names of generators, tools and photo editors in metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whichgen.evidence.finding import Indication


@dataclass(frozen=True)
class Generator:
    """A generator, or a tool that runs generators.

    Parameters
    ----------
    name
        Name in reports.
    pattern
        Regular expression that finds the name in text, regardless of case.
    maker
        Company that makes the generator, if metadata may name the company instead of the generator;
        otherwise empty.
    tool
        Whether this is a program that runs various generators. The name of such a program indicates
        a synthetic image but not which generator made it.
    """

    name: str
    pattern: str
    maker: str = ""
    tool: bool = False


# Tried in this order: generators are more specific than tools, and tools than makers. Words with
# other meanings (imagen, flux, gemini, firefly) must come with their company or version.
_GENERATORS = (
    Generator("DALL·E mini", r"dall[·.\-_ ]?e[\-_ ]?mini|craiyon"),
    Generator("DALL·E", r"dall[·.\-_ ]?e(?![a-z])", maker="OpenAI"),
    Generator("GPT-4o", r"gpt[\-_ ]?(4o|image)|chatgpt", maker="OpenAI"),
    Generator("Midjourney", r"mid[\-_ ]?journey|niji[\-_ ]?journey"),
    Generator("Adobe Firefly", r"adobe[\-_ ]firefly|^firefly\b"),
    Generator("NovelAI", r"novel[\-_ ]?ai"),
    Generator("Imagen", r"google[\-_ ]imagen|imagen[\-_ ]?\d|^imagen$", maker="Google AI"),
    Generator("Gemini", r"google[\-_ ]gemini|gemini[\-_ ]?\d|^gemini$", maker="Google AI"),
    Generator("FLUX", r"flux[.\-_ ]?[12]|black[\-_ ]forest[\-_ ]labs|^flux\b"),
    Generator("Ideogram", r"ideogram"),
    Generator("Leonardo.Ai", r"leonardo[.\-_ ]?ai"),
    Generator("Recraft", r"recraft"),
    Generator("Kandinsky", r"kandinsky[\-_ ]?\d"),
    Generator(
        "Stable Diffusion", r"stable[\-_ ]?diffusion|sd[\-_ ]?(xl|v?[1-5]([._\-]|\b))|v1-5-pruned"
    ),
    Generator("Grok", r"grok|aurora[\-_ ]xai"),
    Generator("Meta AI", r"meta[\-_ ]ai|imagined with ai"),
    Generator("ComfyUI", r"comfy[\-_ ]?ui", tool=True),
    Generator("InvokeAI", r"invoke[\-_ ]?ai", tool=True),
    Generator("Fooocus", r"fooocus", tool=True),
    Generator("SwarmUI", r"swarmui", tool=True),
    Generator("Draw Things", r"draw[\-_ ]?things", tool=True),
    Generator("Bing Image Creator", r"(bing|microsoft)[\-_ ](image creator|designer)", tool=True),
    Generator("Google AI", r"google[\-_ ](generative[\-_ ])?ai", maker="Google AI"),
    Generator("OpenAI", r"open[\-_ ]?ai", maker="OpenAI"),
)
_PATTERNS = tuple(
    (re.compile(rf"(?<![a-z])(?:{generator.pattern})", re.IGNORECASE), generator)
    for generator in _GENERATORS
)

_EDITORS = re.compile(
    r"photoshop|lightroom|camera raw|\bgimp\b|affinity|capture one|snapseed|darktable|rawtherapee"
    r"|paint\.net|picsart|pixelmator|facetune|canva\b|krita|luminar|topaz|photopea|picasa|polarr",
    re.IGNORECASE,
)

_MADE = re.compile(
    r"\b(made|created|generated|imagined|produced|rendered)\s+(with|by|using|in|on)\W*$",
    re.IGNORECASE,
)
_EDITED = re.compile(r"\b(edited|enhanced|retouched)\s+(with|by|using|in)\W*$", re.IGNORECASE)

#: Maximum number of characters searched for a name.
_MAX_SEARCH = 2000


def find_generator(text: str) -> Generator | None:
    """Return the most specific generator or tool named in a text, or ``None`` if there is none.

    Only the first 2000 characters are searched.
    """
    return next(
        (generator for pattern, generator in _PATTERNS if pattern.search(text[:_MAX_SEARCH])), None
    )


def classify_statement(text: str) -> Indication:
    """Classify a text by whether it states how the image was made or only mentions a generator.

    For example, "Made with Google AI" and "Midjourney" are ``synthetic``, "Edited with Google AI"
    is ``edited``, and "a poster of Midjourney at the fair" is ``neutral``.
    """
    text = text.strip()[:_MAX_SEARCH]
    for pattern, _ in _PATTERNS:
        match = pattern.search(text)
        if match is None:
            continue
        before = text[: match.start()]
        if _EDITED.search(before):
            return "edited"
        # Nothing but a name, possibly with a version.
        if _MADE.search(before) or (not before and len(text) <= len(match[0]) + 8):
            return "synthetic"
    return "neutral"


def is_editor(text: str) -> bool:
    """Return whether the first 2000 characters of a text contain the name of a photo editor."""
    return bool(_EDITORS.search(text[:_MAX_SEARCH]))
