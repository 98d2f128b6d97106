"""Where a file's evidence and the model's answer disagree."""

from __future__ import annotations

import re

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.data.families import assign_families
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generators import known

# The words of whichgen.openset.hierarchy and .threshold, whose import takes a second.

#: Families of the table in whichgen.data.families; a user's own ones can't be compared by name.
_FAMILIES = frozenset({"diffusion", "autoregressive", "GAN", "flow", "VAE"})

#: Findings quoted in one sentence.
_QUOTED = 3


def contradictions(
    evidence: Evidence, origin: str | None, coarse_origin: str | None = None
) -> tuple[str, ...]:
    """Sentences on where evidence and the model's answer disagree; either may be wrong.

    Names of generators are compared loosely. Two that can't be told apart by name, as a fine-tuned
    checkpoint's and any generator's, do not disagree.

    Parameters
    ----------
    evidence
        Of the same image.
    origin, coarse_origin
        The model's answer (see :class:`whichgen.inference.attributor.Attribution`); an ``origin``
        of ``None`` is no answer, and disagrees with nothing.
    """
    if origin is None:
        return ()
    answer = (coarse_origin or origin) if origin == UNKNOWN else origin
    if answer == UNKNOWN:
        return ()
    camera = [f for f in evidence.findings if f.says == "camera"]
    synthetic = [f for f in evidence.findings if f.says == "synthetic"]
    if answer == REAL:
        if not synthetic:
            return ()
        return (
            f"The file says that the image is synthetic ({_quote(synthetic)}); the model: real.",
        )
    is_family = origin == UNKNOWN and answer != SYNTHETIC
    said = f"at least {answer}" if origin == UNKNOWN else answer
    found = []
    if camera:
        found.append(f"The file says that a camera made it ({_quote(camera)}); the model: {said}.")
    names = list(dict.fromkeys(f.generator for f in synthetic if f.generator))
    # Of several names one is enough: a checkpoint beside the tool that ran it.
    if names and answer != SYNTHETIC and all(_differ(n, answer, is_family) for n in names):
        found.append(
            f"The file names {' and '.join(names[:_QUOTED])}; the model: {said}. By their names "
            "these are not the same; names in metadata can be loose or wrong."
        )
    return tuple(found)


def _quote(findings: list[Finding]) -> str:
    return "; ".join(f.title for f in findings[:_QUOTED])


def _differ(name: str, answer: str, is_family: bool) -> bool:
    """Whether a generator's name surely is another's than the answer's, or not of its family."""
    one, two = _squashed(name), _squashed(answer)
    if one in two or two in one:
        return False
    if is_family:
        return answer in _FAMILIES and _family(name) not in ("", answer)
    ours, theirs = known(name), known(answer)
    if ours and theirs and not ours.tool and not theirs.tool:
        is_maker = ours.maker in (ours.name, theirs.name) and ours.maker == theirs.maker
        return ours.name != theirs.name and not (ours.maker and is_maker)
    if _family(name) and _family(answer) and _family(name) != _family(answer):
        return True
    # Both are well-known names, one to the table of generators and one to that of families.
    return bool(ours and not ours.tool and not theirs and _family(answer))


def _family(name: str) -> str:
    """The family of a well-known generator, else nothing."""
    found = known(name)
    if found and found.tool:
        return "diffusion"
    if found:
        name = found.name
    if name == "DALL·E":  # without its version it is of either family
        return ""
    family = assign_families([name])[name] if name != REAL else ""
    return family if family in _FAMILIES else ""


def _squashed(name: str) -> str:
    return "".join(re.findall(r"[a-z0-9]", name.lower()))
