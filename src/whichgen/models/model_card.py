"""Create the model card in Markdown: origins, training, test results and limits.

The card begins with metadata for the Hugging Face hub. Model cards were proposed by Mitchell et
al., *Model Cards for Model Reporting* (2019).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichgen.evaluation.evaluate_predictions import TITLES
from whichgen.evaluation.training_sources import SourceOverlap
from whichgen.models.origin_model import OriginModel
from whichgen.version import __version__

#: File name of the model card in a model folder.
CARD_FILE = "README.md"

_CARD = """\
---
library_name: whichgen
pipeline_tag: image-classification
tags: [synthetic-image-attribution, open-set-recognition, image-forensics]
---

# Which generative model made this image?

This whichgen model attributes an image to one of the origins below or to `unknown`.

```python
from whichgen import Attributor

attributor = Attributor.from_pretrained({name})
print(attributor.attribute(["photo.jpg"])[0].origin)
```

## Known origins

{origins}

## Training

- Encoder: {encoder}, weights {weights}, {dtype}, blocks {blocks}. Its weights are not included.
- Head: {model.head_method}, hyperparameter {model.hyperparameter:g}. Open-set score: \
{model.score_method}.
- Threshold: {model.threshold:.6g}, {threshold}
- Data: {data}, digest {data_hash}
{sources}- Protocol: {protocol}. Seeds: {seeds}
{enrolled}- whichgen {version}

## Test results

{metrics}

## Limits

- A prediction is evidence, not proof. Do not accuse anyone based on a prediction alone.
- `unknown` means that the image does not resemble the known origins. Images of a generator that \
resembles a known origin are attributed to that origin.
- Resizing, cropping, recompression, screenshots, other subjects and other file formats reduce \
all metrics. `whichgen robustness` measures by how much.
- Probabilities do not apply to images of unknown origins.
"""


def create_model_card(model: OriginModel, name: str = "PATH/OR/HUB-ID") -> str:
    """Create the model card in Markdown.

    Parameters
    ----------
    model
        The model to describe.
    name
        Path of the model folder or hub repository ``owner/name``, for the code example of the card.

    Returns
    -------
    str
        Content of the file :data:`CARD_FILE`.
    """
    config: Mapping[str, Any] = model.run_metadata.get("config", {})
    families = {o: f" ({_escape(family)})" for o, family in model.hierarchy.families.items()}
    enrolled_origins = [str(record["origin"]) for record in model.run_metadata.get("enrolled", ())]
    training = model.run_metadata.get("training_sources")
    counts = training["counts"] if training else {}
    sources = ", ".join(f"{_escape(o)} {counts[o]}" for o in model.origins if o in counts)
    return _CARD.format(
        name=json.dumps(name),
        model=model,
        origins="\n".join(f"- {_escape(o)}{families.get(o, '')}" for o in model.origins),
        encoder=_format_code(model.encoder["name"]),
        weights=_escape(str(model.encoder["weights_hash"])),
        dtype=_escape(str(model.encoder["dtype"])),
        blocks=", ".join(map(str, model.blocks)),
        threshold=_describe_threshold(model),
        sources=f"- Sources of the training images: {sources}\n" if sources else "",
        data=_format_code(Path(str(config.get("data") or "not recorded")).name),
        data_hash=_escape(model.data_hash),
        protocol=_escape(str(config.get("protocol", "not recorded"))),
        seeds=_format_code(json.dumps(dict(model.run_metadata.get("seeds", {})))),
        enrolled=f"- Enrolled later: {', '.join(map(_escape, enrolled_origins))}\n"
        if enrolled_origins
        else "",
        version=__version__,
        metrics=_describe_metrics(model),
    )


def _describe_threshold(model: OriginModel) -> str:
    """Describe how the threshold was chosen, as a continuation of ``Threshold: 0.5,``."""
    n, tpr = len(model.calibration.labels), 100 * model.tpr
    if not model.run_metadata.get("training_sources"):
        return f"which accepts at least {tpr:g} % of the known validation images."
    text = "chosen on held-out sources by the precision of named generators."
    if model.run_metadata.get("enrolled"):  # enrollment replaced the calibration data
        return text
    return f"{text} It accepts {tpr:.1f} % of {n} held-out known images."


def _describe_metrics(model: OriginModel) -> str:
    """Return a note on the sources of the test images, followed by a table of the metrics.

    If there are no metrics, return a sentence that says why.
    """
    values = {name: model.metrics.get(key) for key, name in TITLES.items()}
    rows = [f"| {n} | {100 * v:.1f} |" for n, v in values.items() if isinstance(v, int | float)]
    if not rows:
        return "Not available: the model was not tested after its last change."
    note = (
        "Measured on images whose sources are not recorded. Expect lower figures for images from "
        "sources other than those of the training images."
    )
    if record := model.run_metadata.get("test_sources"):
        note = SourceOverlap(**record).note
    return "\n".join([f"{note}\n", "| Metric | % |", "| --- | ---: |", *rows])


def _format_code(text: str) -> str:
    """Format text as Markdown inline code; remove backticks and merge white space."""
    return f"`{' '.join(text.replace('`', '').split())}`"


def _escape(text: str) -> str:
    r"""Return untrusted text on one line, with the characters ``\`*_[]<>#|`` escaped."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in " ".join(text.split()))
