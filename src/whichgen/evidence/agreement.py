"""Compare provenance evidence with the model's prediction."""

from __future__ import annotations

from dataclasses import dataclass

from whichgen.constants import REAL, SYNTHETIC, UNKNOWN
from whichgen.data.origins.families import TECHNIQUES, find_family
from whichgen.data.origins.generator_names import normalize_name
from whichgen.evidence.finding import Evidence, Finding
from whichgen.evidence.generator_aliases import resolve_origin
from whichgen.evidence.generator_patterns import identify_generator
from whichgen.evidence.summary import summarize_evidence

#: Maximum number of generator names in a sentence.
_MAX_NAMES = 3


@dataclass(frozen=True)
class Agreement:
    """Agreement between the model's prediction and the evidence.

    Parameters
    ----------
    agrees
        Whether the prediction agrees with the evidence. ``None`` if they can't be compared: there
        is no evidence of origin (evidence of an edit does not count), there is no prediction, or
        the origin is ``unknown`` and the coarse origin is ``unknown`` or missing.
    sentence
        Explanation; empty if there is no evidence of origin or no prediction.
    """

    agrees: bool | None = None
    sentence: str = ""


def compare_with_prediction(
    evidence: Evidence, origin: str | None, coarse_origin: str | None = None
) -> Agreement:
    """Compare the evidence of an image with the model's prediction.

    The evidence and the prediction can both be wrong. Generator names are compared loosely: an
    unrecognized name, such as the name of a fine-tuned checkpoint, is not a contradiction.

    Parameters
    ----------
    evidence
        Provenance evidence of the image.
    origin, coarse_origin
        The model's prediction (see :class:`whichgen.inference.attribution.Attribution`);
        ``coarse_origin`` is used only if ``origin`` is ``unknown``. Both are ``None`` if the image
        can't be decoded.

    Returns
    -------
    Agreement
        Whether the evidence and the prediction agree, and a sentence that explains the result.
    """
    summary = summarize_evidence(evidence)
    if origin is None or summary.indicates not in ("synthetic", "camera"):
        return Agreement()
    answer = (coarse_origin or origin) if origin == UNKNOWN else origin
    if answer == UNKNOWN:
        return Agreement(None, "The model can't tell whether the image is real or synthetic.")
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
        # One matching name is enough: findings can name both a model and the program that ran it.
        if findings and all(_contradicts(finding, answer, is_family) for finding in findings):
            names = list(dict.fromkeys(finding.generator for finding in findings))[:_MAX_NAMES]
            return Agreement(
                False,
                f"The model agrees that the image is synthetic, but predicts {prediction} instead "
                f"of {' or '.join(names)}. Generator names in files can be imprecise or wrong.",
            )
    return Agreement(True, f"The model agrees{weak}: it predicts {prediction}.")


def _contradicts(finding: Finding, answer: str, is_family: bool) -> bool:
    """Return whether the generator in a finding contradicts the prediction ``answer``.

    ``is_family`` means that ``answer`` is a family, not a generator.
    """
    name, origin = finding.generator, finding.origin or resolve_origin(finding.generator)
    stated_names = {normalize_name(n) for n in (name, origin) if n}
    predicted_names = {normalize_name(n) for n in (answer, resolve_origin(answer)) if n}
    if any(s in p or p in s for s in stated_names for p in predicted_names):
        return False
    stated_model, predicted_model = identify_generator(name), identify_generator(answer)
    if stated_model and predicted_model and not (stated_model.is_tool or predicted_model.is_tool):
        has_same_maker = bool(stated_model.maker) and stated_model.maker == predicted_model.maker
        names_maker = stated_model.maker in (stated_model.name, predicted_model.name)
        return stated_model.name != predicted_model.name and not (has_same_maker and names_maker)
    families = {_find_family(name, origin), predicted_family := _find_family(answer)}
    if "" in families or len(families) == 1:
        return False
    if "diffusion" in families and not families <= TECHNIQUES.keys():
        # Most products use diffusion. A product contradicts a diffusion model only if the
        # prediction is an individual model that is not one of the known products.
        is_other_model = not predicted_model and not is_family
        return bool(stated_model) and is_other_model and predicted_family in TECHNIQUES
    return True


def _find_family(name: str, origin: str = "") -> str:
    """Return the family of a generator, or ``diffusion`` for a program that runs generators.

    The result is empty if the family is unknown, as for user-defined families and for DALL·E
    without a version.
    """
    generator = identify_generator(name)
    if generator and generator.is_tool:
        return "diffusion"
    if name in TECHNIQUES:
        return name
    if generator:
        name = generator.name
    return "" if name in ("DALL·E", REAL) else find_family(origin) or find_family(name)
