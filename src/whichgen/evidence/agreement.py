"""Compare provenance evidence with the model's prediction."""

from __future__ import annotations

from dataclasses import dataclass

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.data.origins.families import TECHNIQUES, find_family
from whichgen.data.origins.generator_names import normalize_name
from whichgen.evidence.aliases import resolve_origin
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generators import find_model
from whichgen.evidence.summary import summarize_evidence

#: Maximum number of names in a sentence.
_MAX_NAMES = 3


@dataclass(frozen=True)
class Agreement:
    """Whether the model's prediction agrees with the evidence.

    Parameters
    ----------
    agrees
        ``None`` if there is nothing to compare: no evidence of origin, only evidence of an edit, or
        a prediction that does not tell photographs from synthetic images.
    sentence
        Explanation; empty without evidence of origin.
    """

    agrees: bool | None = None
    sentence: str = ""


def compare_with_prediction(
    evidence: Evidence, origin: str | None, coarse_origin: str | None = None
) -> Agreement:
    """Compare the evidence of an image with the model's prediction.

    Either may be wrong. Generator names are compared loosely: an unrecognized name, such as that of
    a fine-tuned checkpoint, is no contradiction.

    Parameters
    ----------
    evidence
        Provenance evidence of the image.
    origin, coarse_origin
        The model's prediction (see :class:`whichgen.inference.answers.Attribution`);
        ``coarse_origin`` is used only if ``origin`` is ``unknown``. Both are ``None`` if the image
        can't be decoded.
    """
    summary = summarize_evidence(evidence)
    if origin is None or summary.indicates not in ("synthetic", "camera"):
        return Agreement()
    answer = (coarse_origin or origin) if origin == UNKNOWN else origin
    if answer == UNKNOWN:
        return Agreement(None, "The model predicts neither a photograph nor a generator.")
    prediction = answer
    if origin == UNKNOWN and answer != REAL:
        prediction = "an unknown generator" + ("" if answer == SYNTHETIC else f" ({answer})")
    weak = " with this weak evidence" if summary.strength == "weak" else ""
    if (answer == REAL) != (summary.indicates == "camera"):
        return Agreement(False, f"The model disagrees{weak}: it predicts {prediction}.")
    if summary.indicates == "synthetic" and answer != SYNTHETIC:
        findings = [f for f in evidence.findings if f.indicates == "synthetic" and f.generator]
        findings = [f for f in findings if f.strength == "strong"] or findings
        is_family = origin == UNKNOWN
        # One matching name is enough: a checkpoint's, or that of the tool that ran it.
        if findings and all(_differ(finding, answer, is_family) for finding in findings):
            names = list(dict.fromkeys(finding.generator for finding in findings))[:_MAX_NAMES]
            return Agreement(
                False,
                f"The model, too, predicts a synthetic image, but {prediction} instead of "
                f"{' or '.join(names)}. Names in metadata can be imprecise or wrong.",
            )
    return Agreement(True, f"The model agrees{weak}: it predicts {prediction}.")


def _differ(finding: Finding, answer: str, is_family: bool) -> bool:
    """Return whether the generator that a finding names contradicts the prediction.

    The prediction ``answer`` is a family if ``is_family`` is true, otherwise a generator.
    """
    name, origin = finding.generator, finding.origin or resolve_origin(finding.generator)
    stated = {normalize_name(n) for n in (name, origin) if n}
    predicted = {normalize_name(n) for n in (answer, resolve_origin(answer)) if n}
    if any(one in two or two in one for one in stated for two in predicted):
        return False
    ours, theirs = find_model(name), find_model(answer)
    if ours and theirs and not ours.tool and not theirs.tool:
        is_maker = ours.maker in (ours.name, theirs.name) and ours.maker == theirs.maker
        return ours.name != theirs.name and not (ours.maker and is_maker)
    one, two = _find_family(name, origin), _find_family(answer)
    if not one or not two or one == two:
        return False
    if "diffusion" in (one, two) and not {one, two} <= TECHNIQUES.keys():
        # Most products use diffusion. Two well-known networks differ all the same.
        return bool(ours) and not theirs and not is_family and two in TECHNIQUES
    return True


def _find_family(name: str, origin: str = "") -> str:
    """Return the family of a well-known generator or family, or ``diffusion`` for a program.

    Returns an empty string for other names, also of families that the user defined, and for DALL·E
    without a version.
    """
    generator = find_model(name)
    if generator and generator.tool:
        return "diffusion"
    if name in TECHNIQUES:
        return name
    if generator:
        name = generator.name
    return "" if name in ("DALL·E", REAL) else find_family(origin) or find_family(name)
