"""Parse IPTC digital source types, which occur in XMP and in Content Credentials (C2PA)."""

from __future__ import annotations

from whichgen.evidence.finding import Indication
from whichgen.evidence.untrusted_text import clean

# Source: https://cv.iptc.org/newscodes/digitalsourcetype/; C2PA defines the last two codes.
# Composites, except of captured images, are `edited`, because a photograph with one generated
# corner is a composite. Drawings are `neutral`.
_TYPES: dict[str, tuple[Indication, str]] = {
    "trainedAlgorithmicMedia": ("synthetic", "made by a trained generator"),
    "algorithmicMedia": ("synthetic", "made by an algorithm that was not trained"),
    "compositeSynthetic": ("edited", "a composite with synthetic parts"),
    "compositeWithTrainedAlgorithmicMedia": ("edited", "a composite with AI-generated parts"),
    "digitalCapture": ("camera", "captured by a digital camera"),
    "computationalCapture": ("camera", "captured by a camera from several frames"),
    "compositeCapture": ("camera", "a composite of captured images"),
    "negativeFilm": ("camera", "digitized from negative film"),
    "positiveFilm": ("camera", "digitized from positive film"),
    "print": ("camera", "digitized from a print"),
    "humanEdits": ("edited", "edited by a person"),
    "minorHumanEdits": ("edited", "slightly edited by a person"),
    "algorithmicallyEnhanced": ("edited", "enhanced by an algorithm"),
    "composite": ("edited", "a composite"),
    "softwareImage": ("neutral", "made by software (a retired term)"),
    "digitalCreation": ("neutral", "created by a person with a computer"),
    "digitalArt": ("neutral", "drawn with a computer"),
    "dataDrivenMedia": ("neutral", "drawn from data"),
    "virtualRecording": ("neutral", "recorded from a virtual event"),
    "screenCapture": ("neutral", "captured from a screen"),
    "trainedAlgorithmicData": ("neutral", "data made by a trained algorithm"),
    "empty": ("neutral", "not stated"),
}


def parse_source_type(uri: str) -> tuple[str, Indication, str]:
    """Parse a digital source type.

    Parameters
    ----------
    uri
        The digital source type in the form
        ``http://cv.iptc.org/newscodes/digitalsourcetype/CODE``,
        ``http://c2pa.org/digitalsourcetype/CODE``, ``digsrctype:CODE`` or ``CODE``.

    Returns
    -------
    (str, Indication, str)
        Code, indication and meaning. The indication of an unknown code is ``neutral``.
    """
    code = clean(uri.strip().rstrip("/").rpartition("/")[2].rpartition(":")[2], 60)
    indication, meaning = _TYPES.get(code, ("neutral", "an unknown digital source type"))
    return code, indication, meaning
