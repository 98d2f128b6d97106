"""Recognize names of generators, their makers, programs that run generators, and photo editors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Generator:
    """A generator, a program that runs generators, or a company that makes generators.

    Parameters
    ----------
    name
        Name in reports.
    pattern
        Case-insensitive regular expression for unambiguous names, which count anywhere in a text
        except directly after a letter.
    maker
        Company that makes the generator, if metadata may contain the company instead of the
        generator; equal to ``name`` if this is the company; otherwise empty.
    is_tool
        Whether this is a program that runs various generators. Its name indicates a synthetic image
        but not which generator made it.
    short_pattern
        Case-insensitive regular expression for ambiguous names, such as "Flux", which count only in
        places where a generator name is expected; empty if there are none.
    """

    name: str
    pattern: str
    maker: str = ""
    is_tool: bool = False
    short_pattern: str = ""


# In the order of the search: programs whose names contain the name of a generator, generators,
# other programs, and makers.
_GENERATORS = (
    Generator("stable-diffusion.cpp", r"stable[\-_ ]?diffusion\.cpp|\bsd\.cpp", is_tool=True),
    Generator("Stable Diffusion web UI", r"stable[\-_ ]?diffusion[\-_ ]web[\-_ ]?ui", is_tool=True),
    Generator("SD.Next", r"\bsd\.next", is_tool=True),
    Generator("mflux", r"\bmflux\b", is_tool=True),
    Generator("DALL·E mini", r"dall[·.\-_ ]?e[\-_ ]?mini|craiyon"),
    Generator("DALL·E", r"dall[·.\-_ ]?e(?![a-z])", maker="OpenAI"),
    Generator("gpt-image", r"gpt[\-_ ]?image", maker="OpenAI"),
    Generator("GPT-4o", r"gpt[\-_ ]?4o|chatgpt", maker="OpenAI"),
    Generator("Sora", r"openai[\-_ ]sora", short_pattern=r"sora", maker="OpenAI"),
    Generator("Midjourney", r"mid[\-_ ]?journey|niji[\-_ ]?journey"),
    Generator("Adobe Firefly", r"adobe[\-_ ]firefly", short_pattern=r"firefly"),
    Generator("NovelAI", r"novel[\-_ ]?ai"),
    Generator(
        "Imagen",
        r"google[\-_ ]imagen|imagen[\-_ ]?[1-4](?!\d)",
        short_pattern="imagen",
        maker="Google AI",
    ),
    Generator(
        "Gemini",
        r"google[\-_ ]gemini|gemini[\-_ ]?[1-3](\.\d|[\-_ ](flash|pro|ultra))|nano[\-_ ]banana",
        short_pattern=r"gemini",
        maker="Google AI",
    ),
    Generator(
        "FLUX", r"flux[.\-_ ]?[12]|black[\-_ ]forest[\-_ ]labs|img;flux", short_pattern=r"flux"
    ),
    Generator("Ideogram", r"ideogram[\-_ .]?(ai|v?\d)", short_pattern=r"ideogram"),
    Generator("Leonardo.Ai", r"leonardo[.\-_ ]?ai"),
    Generator("Recraft", r"recraft[\-_ .]?(ai|v\d)", short_pattern=r"recraft"),
    Generator("Kandinsky", r"kandinsky[\-_ ]?\d(?!\d)"),
    Generator(
        "Stable Diffusion", r"stable[\-_ ]?diffusion|v1-5-pruned|sdxl[\-_ ]", short_pattern=r"sdxl"
    ),
    Generator("Stability AI", r"stability[\-_. ]?ai|dreamstudio"),
    Generator(
        "Grok", r"\bgrok[\-_ ]?(\d|image|imagine|ai)|aurora[\-_ ]xai|\bxai\b", short_pattern=r"grok"
    ),
    Generator("Meta AI", r"\bmeta[\-_ ]ai\b|imagined with ai"),
    Generator("Apple Image Playground", r"image[\-_ ]playground"),
    Generator("Krea", r"krea[\-_ .]?(ai\b|\d)", short_pattern=r"krea"),
    Generator("Qwen-Image", r"qwen[\-_ ]?image"),
    Generator("Z-Image", r"\bz[\-_]image\b"),
    Generator("Seedream", r"seedream"),
    Generator("HiDream", r"hidream"),
    Generator("Hunyuan", r"hunyuan"),
    Generator("ERNIE-Image", r"ernie[\-_ ]image"),
    Generator("PixArt", r"pixart[\-_ ]?(alpha|sigma|[αΣ])"),
    Generator("Playground", r"playground[\-_ ]?(ai|v\d)"),
    Generator("Kolors", r"\bkolors\b"),
    Generator("Bria", r"\bbria[\-_ .]?(ai|\d)|briaai"),
    Generator("Runway", r"runway[\-_ ]?(ml|gen[\-_ ]?\d)"),
    Generator("ComfyUI", r"comfy[\-_ ]?ui", is_tool=True),
    Generator("InvokeAI", r"invoke[\-_ ]?ai", is_tool=True),
    Generator("Fooocus", r"fooocus", is_tool=True),
    Generator("SwarmUI", r"swarm[\-_ ]?ui", is_tool=True),
    Generator("Easy Diffusion", r"easy[\-_ ]diffusion", is_tool=True),
    Generator("DiffusionBee", r"diffusion[\-_ ]?bee", is_tool=True),
    Generator("Mochi Diffusion", r"mochi[\-_ ]diffusion", is_tool=True),
    Generator("Draw Things", r"draw[\-_ ]?things", is_tool=True),
    Generator("Jimeng", r"jimeng|dreamina|即梦", is_tool=True),
    Generator("Doubao", r"doubao|豆包", is_tool=True),
    Generator("Freepik AI", r"freepik[\-_ ]ai|pikaso", is_tool=True),
    Generator("Tensor.Art", r"tensor\.art|seaart", is_tool=True),
    Generator("NightCafe", r"nightcafe", is_tool=True),
    Generator(
        "Bing Image Creator",
        r"(bing|microsoft)[\-_ ](image creator|designer)|image creator from|designer image creator",
        is_tool=True,
    ),
    Generator("Google AI", r"google[\-_ ](generative[\-_ ])?ai", maker="Google AI"),
    Generator("OpenAI", r"open[\-_ ]?ai", maker="OpenAI"),
)

#: Pairs of a regular expression and the generator whose names it matches.
_Patterns = tuple[tuple[re.Pattern[str], Generator], ...]


@cache
def _compile_patterns() -> _Patterns:
    return tuple(
        (re.compile(rf"(?<![a-z])(?:{generator.pattern})", re.IGNORECASE), generator)
        for generator in _GENERATORS
    )


# Versions and words, such as "pro", that may follow a short name.
_SUFFIX = (
    r"(?:[\-_ ]*(?:v|version|ai|api|app|image|images|imagine|model|pro|ultra|flash|turbo|xl"
    r"|\d[\w.]*)(?![a-z]))*\s*"
)


@cache
def _compile_short_patterns() -> _Patterns:
    return tuple(
        (
            re.compile(
                rf"(?:{generator.short_pattern}){_SUFFIX}(?=$|[.,;:!?)\]\n])", re.IGNORECASE
            ),
            generator,
        )
        for generator in _GENERATORS
        if generator.short_pattern
    )


#: Abbreviations of Stable Diffusion. In metadata fields, they can also mean memory cards.
_MODEL_NAMES = re.compile(r"(?<![a-z])sd[\-_ ]?(xl|v?[1-5]([._\-]|\b))", re.IGNORECASE)

_EDITORS = re.compile(
    r"photoshop|lightroom|camera raw|\bgimp\b|affinity|capture one|snapseed|darktable|rawtherapee"
    r"|paint\.net|picsart|pixelmator|facetune|canva\b|krita|luminar|topaz|photopea|picasa|polarr"
    r"|acdsee|photoscape|paintshop|google photos|meitu|vsco|fotor\b|pixlr|befunky|inkscape"
    r"|adobe express|adobe illustrator|remini",
    re.IGNORECASE,
)

#: Maximum number of characters searched for a name.
_MAX_SEARCH = 2000


def find_generator(text: str) -> Generator | None:
    """Return the generator, program or company that is named in a text, or ``None``.

    If a text contains several names, generators take precedence over programs, and programs over
    companies. Programs whose names contain the name of a generator, such as "mflux", come first.
    Only the first 2000 characters are searched. Ambiguous names ("Flux") count only if the text
    consists of the name and optional words such as a version or "pro".
    """
    text = text[:_MAX_SEARCH]
    generator = next((g for pattern, g in _compile_patterns() if pattern.search(text)), None)
    if generator is not None and not generator.is_tool and generator.name != generator.maker:
        return generator
    return find_short_name(text.strip(), require_full_match=True) or generator


def find_short_name(text: str, *, require_full_match: bool = False) -> Generator | None:
    """Return the generator whose ambiguous name, such as "Flux", begins a text, or ``None``.

    The name may be followed by words such as a version or "pro", and then by punctuation, a line
    break or the end of the text.

    Parameters
    ----------
    text
        Text where a name is expected, such as "Gemini 3 Pro." after the words "made with".
    require_full_match
        Whether the text must end after the name and these words.
    """
    for pattern, generator in _compile_short_patterns():
        match = pattern.match(text)
        if match and (not require_full_match or match.end() == len(text)):
            return generator
    return None


def identify_generator(name: str) -> Generator | None:
    """Return the generator of a model name or an origin name, or ``None`` if it is not known.

    Unlike :func:`find_generator`, this function recognizes abbreviations such as "sdv2".
    """
    if generator := find_generator(name):
        return generator
    if _MODEL_NAMES.search(name[:_MAX_SEARCH]):
        return next(g for g in _GENERATORS if g.name == "Stable Diffusion")
    return None


def match_generators(text: str) -> list[tuple[re.Match[str], Generator]]:
    """Find all unambiguous names of generators, programs and companies in a text.

    Returns
    -------
    list of (re.Match, Generator)
        The first match of each generator, program and company in the first 2000 characters of the
        text. The order is that of the search in :func:`find_generator`.
    """
    text = text[:_MAX_SEARCH]
    return [(match, g) for pattern, g in _compile_patterns() if (match := pattern.search(text))]


def is_editor(text: str) -> bool:
    """Return whether the first 2000 characters of a text contain the name of a photo editor."""
    return bool(_EDITORS.search(text[:_MAX_SEARCH]))
