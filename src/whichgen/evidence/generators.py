"""Names of generators, of the tools that run them and of editors, as metadata spell them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whichgen.evidence.finding import Says


@dataclass(frozen=True)
class Known:
    """A generator or a tool.

    ``maker`` is the company if its name alone is found in metadata, too; a ``tool`` runs whatever
    generator it is given, so its name tells that an image is synthetic and not by which generator.
    """

    name: str
    pattern: str
    maker: str = ""
    tool: bool = False


# In the order in which they are tried: a tool says less than a generator, a maker less than both.
# Words that mean something else, too (imagen, flux, gemini, firefly) need their company or version.
_KNOWN = (
    Known("DALL·E mini", r"dall[·.\-_ ]?e[\-_ ]?mini|craiyon"),
    Known("DALL·E", r"dall[·.\-_ ]?e(?![a-z])", maker="OpenAI"),
    Known("GPT-4o", r"gpt[\-_ ]?(4o|image)|chatgpt", maker="OpenAI"),
    Known("Midjourney", r"mid[\-_ ]?journey|niji[\-_ ]?journey"),
    Known("Adobe Firefly", r"adobe[\-_ ]firefly|^firefly\b"),
    Known("NovelAI", r"novel[\-_ ]?ai"),
    Known("Imagen", r"google[\-_ ]imagen|imagen[\-_ ]?\d|^imagen$", maker="Google AI"),
    Known("Gemini", r"google[\-_ ]gemini|gemini[\-_ ]?\d|^gemini$", maker="Google AI"),
    Known("FLUX", r"flux[.\-_ ]?[12]|black[\-_ ]forest[\-_ ]labs|^flux\b"),
    Known("Ideogram", r"ideogram"),
    Known("Leonardo.Ai", r"leonardo[.\-_ ]?ai"),
    Known("Recraft", r"recraft"),
    Known("Kandinsky", r"kandinsky[\-_ ]?\d"),
    Known(
        "Stable Diffusion", r"stable[\-_ ]?diffusion|sd[\-_ ]?(xl|v?[1-5]([._\-]|\b))|v1-5-pruned"
    ),
    Known("Grok", r"grok|aurora[\-_ ]xai"),
    Known("Meta AI", r"meta[\-_ ]ai|imagined with ai"),
    Known("ComfyUI", r"comfy[\-_ ]?ui", tool=True),
    Known("InvokeAI", r"invoke[\-_ ]?ai", tool=True),
    Known("Fooocus", r"fooocus", tool=True),
    Known("SwarmUI", r"swarmui", tool=True),
    Known("Draw Things", r"draw[\-_ ]?things", tool=True),
    Known("Bing Image Creator", r"(bing|microsoft)[\-_ ](image creator|designer)", tool=True),
    Known("Google AI", r"google[\-_ ](generative[\-_ ])?ai", maker="Google AI"),
    Known("OpenAI", r"open[\-_ ]?ai", maker="OpenAI"),
)
_PATTERNS = tuple((re.compile(rf"(?<![a-z])(?:{k.pattern})", re.IGNORECASE), k) for k in _KNOWN)

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

#: Characters of a text that are searched for a name.
_SEARCHED = 2000


def known(text: str) -> Known | None:
    """The generator or tool that a text names, if any."""
    return next((k for pattern, k in _PATTERNS if pattern.search(text[:_SEARCHED])), None)


def stated(text: str) -> Says:
    """What a free text says of how the image was made, rather than what it mentions.

    "Made with Google AI" and "Midjourney" say ``synthetic``, "Edited with Google AI" ``edited``, "a
    poster of Midjourney at the fair" nothing.
    """
    text = text.strip()[:_SEARCHED]
    for pattern, _ in _PATTERNS:
        found = pattern.search(text)
        if found is None:
            continue
        before = text[: found.start()]
        if _EDITED.search(before):
            return "edited"
        # A name with its version, and nothing else.
        if _MADE.search(before) or (not before and len(text) <= len(found[0]) + 8):
            return "synthetic"
    return "neutral"


def is_editor(text: str) -> bool:
    """Whether a text names a program that photographs are edited with."""
    return bool(_EDITORS.search(text[:_SEARCHED]))
