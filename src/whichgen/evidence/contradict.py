"""Find contradictions between provenance evidence and the model's prediction."""

from __future__ import annotations

import re

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.data.families import assign_families
from whichgen.evidence.aliases import resolve_origin
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generators import find_model

#: Families in whichgen.data.families; families defined by users can't be compared by name.
_FAMILIES = frozenset({"diffusion", "autoregressive", "GAN", "flow", "VAE"})

#: Maximum number of findings quoted in a sentence.
_QUOTED = 3


def find_contradictions(
    evidence: Evidence, origin: str | None, coarse_origin: str | None = None
) -> tuple[str, ...]:
    """Describe contradictions between the evidence and the model's prediction.

    The evidence or the prediction may be wrong. Generator names are compared loosely: an
    unrecognized name, such as that of a fine-tuned checkpoint, is not reported as a contradiction.

    Parameters
    ----------
    evidence
        Provenance evidence of the image.
    origin, coarse_origin
        The model's prediction (see :class:`whichgen.inference.answers.Attribution`);
        ``coarse_origin`` is used only if ``origin`` is ``unknown``. No contradictions are reported
        if ``origin`` is ``None`` (unreadable image), or if ``origin`` is ``unknown`` and
        ``coarse_origin`` is ``unknown`` or ``None``.

    Returns
    -------
    tuple of str
        One sentence per contradiction; empty if there is none.
    """
    if origin is None:
        return ()
    answer = (coarse_origin or origin) if origin == UNKNOWN else origin
    if answer == UNKNOWN:
        return ()
    camera = [f for f in evidence.findings if f.indicates == "camera"]
    synthetic = [f for f in evidence.findings if f.indicates == "synthetic"]
    if answer == REAL:
        if not synthetic:
            return ()
        sentence = f"Metadata indicates a synthetic image ({_quote(synthetic)}), but the model"
        return (f"{sentence} predicts {REAL}.",)
    is_family = origin == UNKNOWN and answer != SYNTHETIC
    prediction = f"an unknown generator ({answer})" if origin == UNKNOWN else answer
    sentences = []
    if camera:
        sentences.append(
            f"Metadata indicates a camera ({_quote(camera)}), but the model predicts {prediction}."
        )
    names = list(dict.fromkeys(f.generator for f in synthetic if f.generator))
    # One matching name is enough: a checkpoint's, or that of the tool that ran it.
    if names and answer != SYNTHETIC and all(_differ(n, answer, is_family) for n in names):
        sentences.append(
            f"Metadata names {' and '.join(names[:_QUOTED])}, but the model predicts {prediction}. "
            "Names in metadata can be imprecise or wrong."
        )
    return tuple(sentences)


def _quote(findings: list[Finding]) -> str:
    return "; ".join(f.title for f in findings[:_QUOTED])


def _differ(name: str, answer: str, is_family: bool) -> bool:
    """Return whether a generator name in metadata contradicts the prediction.

    The prediction ``answer`` is a family if ``is_family`` is true, otherwise a generator.
    """
    one, two = _normalize(name), _normalize(answer)
    if one in two or two in one:
        return False
    origin = resolve_origin(name)
    if origin and origin == resolve_origin(answer):
        return False
    if is_family:
        return answer in _FAMILIES and _find_family(name) not in ("", answer)
    ours, theirs = find_model(name), find_model(answer)
    if ours and theirs and not ours.tool and not theirs.tool:
        is_maker = ours.maker in (ours.name, theirs.name) and ours.maker == theirs.maker
        return ours.name != theirs.name and not (ours.maker and is_maker)
    if _find_family(name) and _find_family(answer) and _find_family(name) != _find_family(answer):
        return True
    # Both names are well known: one as a generator, the other by its family.
    return bool(ours and not ours.tool and not theirs and _find_family(answer))


def _find_family(name: str) -> str:
    """Return the family of a well-known generator, or ``diffusion`` for a tool.

    Returns an empty string for all other names and for DALL·E, whose family depends on its version.
    """
    generator = find_model(name)
    if generator and generator.tool:
        return "diffusion"
    if generator:
        name = generator.name
    if name == "DALL·E":  # either family, depending on the version
        return ""
    family = assign_families([name])[name] if name != REAL else ""
    return family if family in _FAMILIES else ""


def _normalize(name: str) -> str:
    return "".join(re.findall(r"[a-z0-9]", name.lower()))
