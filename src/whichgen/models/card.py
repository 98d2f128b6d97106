"""Create the model card in Markdown: origins, training, test results and limits.

The card begins with metadata for the Hugging Face hub. Model cards were proposed by Mitchell et
al., *Model Cards for Model Reporting* (2019).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichgen.evaluation.headline_metrics import METRIC_TITLES
from whichgen.models.origin_model import OriginModel
from whichgen.version import __version__

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
- Threshold: {model.threshold:.6g}, which accepts {tpr:g} % of the known validation images.
- Data: {data}, digest {data_hash}
- Protocol: {protocol}. Seeds: {seeds}
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


def model_card(model: OriginModel, name: str = "PATH/OR/HUB-ID") -> str:
    """Return the model card in Markdown.

    Parameters
    ----------
    name
        Path of the model folder or hub repository ``owner/name``, for the code example of the card.
    """
    config: Mapping[str, Any] = model.run_metadata.get("config", {})
    families = {o: f" ({_escape(name)})" for o, name in model.hierarchy.families.items()}
    enrolled = [str(record["origin"]) for record in model.run_metadata.get("enrolled", ())]
    return _CARD.format(
        name=json.dumps(name),
        model=model,
        origins="\n".join(f"- {_escape(o)}{families.get(o, '')}" for o in model.origins),
        encoder=_code(model.encoder["name"]),
        weights=_escape(str(model.encoder["weights_hash"])),
        dtype=_escape(str(model.encoder["dtype"])),
        blocks=", ".join(map(str, model.blocks)),
        tpr=100 * model.tpr,
        data=_code(Path(str(config.get("data", ""))).name),
        data_hash=_escape(model.data_hash),
        protocol=_escape(str(config.get("protocol", "not recorded"))),
        seeds=_code(json.dumps(dict(model.run_metadata.get("seeds", {})))),
        enrolled=f"- Enrolled later: {', '.join(map(_escape, enrolled))}\n" if enrolled else "",
        version=__version__,
        metrics=_metric_table(model.metrics),
    )


def _metric_table(metrics: Mapping[str, Any]) -> str:
    values = {name: metrics.get(key) for key, name in METRIC_TITLES.items()}
    rows = [f"| {n} | {100 * v:.1f} |" for n, v in values.items() if isinstance(v, int | float)]
    if not rows:
        return "Not available: the model was not tested after its last change."
    return "\n".join(["| Metric | % |", "| --- | ---: |", *rows])


def _code(text: str) -> str:
    """Format text as Markdown inline code, without backticks and with single spaces only."""
    return f"`{' '.join(text.replace('`', '').split())}`"


def _escape(text: str) -> str:
    """Escape Markdown's special characters in untrusted text, and collapse it to one line."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in " ".join(text.split()))
