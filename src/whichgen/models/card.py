"""A model card: what a model is, how it did, and what it must not be used for, as Markdown.

Its first lines are the metadata that the hub reads (Mitchell et al., *Model Cards for Model
Reporting*, 2019, is the idea).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from whichgen.io.atomic import write_text
from whichgen.models.saved_model import OriginModel, save_model
from whichgen.models.signatures import write_sums
from whichgen.version import __version__

CARD_FILE = "README.md"

_FIGURES = {
    "accuracy": "Closed-set accuracy",
    "macro_f1": "Macro F1",
    "auroc": "AUROC, known against unknown",
    "oscr": "OSCR",
    "tnr_at_tpr95": "TNR at 95 % TPR",
    "open_accuracy": "Accuracy, unknown among the answers",
}


def save_with_card(model: OriginModel, run: Path) -> None:
    """Writes ``run/model``, with its card (:func:`write_folder`)."""
    write_folder(model, run / "model", str(run))


def write_folder(model: OriginModel, folder: Path, name: str) -> None:
    """Writes a model (:func:`whichgen.models.saved_model.save_model`), its card, their checksums.

    The model's description comes last: where it is, all is. ``name`` is what the card tells readers
    to load.
    """
    write_text(folder / CARD_FILE, model_card(model, name))
    save_model(model, folder, before_description=partial(write_sums, folder))


def model_card(model: OriginModel, name: str = "PATH/OR/HUB-ID") -> str:
    """The card; ``name`` is what it tells readers to load."""
    config: Mapping[str, Any] = model.run_metadata.get("config", {})
    enrolled = [str(record["origin"]) for record in model.run_metadata.get("enrolled", ())]
    blocks = ", ".join(map(str, model.blocks))
    lines = [
        "---",
        "library_name: whichgen",
        "pipeline_tag: image-classification",
        "tags: [synthetic-image-attribution, open-set-recognition, image-forensics]",
        "---",
        "",
        "# Which generative model made this image?",
        "",
        "A whichgen model: it names one of the origins below, or answers `unknown`.",
        "",
        "```python",
        "from whichgen import Attributor",
        "",
        f"attributor = Attributor.from_pretrained({json.dumps(name)})",
        'print(attributor.attribute(["photo.jpg"])[0].origin)',
        "```",
        "",
        "## Known origins",
        "",
        *(f"- {_escaped(origin)}{_family(model, origin)}" for origin in model.origins),
        "",
        "## How it was made",
        "",
        f"- encoder: {_code(model.encoder['name'])}, weights "
        f"{_escaped(str(model.encoder['weights_hash']))}, "
        f"{_escaped(str(model.encoder['dtype']))}, blocks {blocks}; its weights are not in this "
        "folder",
        f"- head: {model.head_method}, {model.value:g}; open-set score: {model.score_name}",
        f"- threshold {model.threshold:.6g}: keeps {100 * model.tpr:g} % of known validation "
        "images",
        f"- data: {_code(Path(str(config.get('data', ''))).name)}, digest "
        f"{_escaped(model.data_hash)}",
        f"- protocol: {_escaped(str(config.get('protocol', 'not told')))}; seeds: "
        f"{_code(json.dumps(dict(model.run_metadata.get('seeds', {}))))}",
        *([f"- enrolled since: {', '.join(map(_escaped, enrolled))}"] if enrolled else []),
        f"- whichgen {__version__}",
        "",
        "## Test figures",
        "",
        *_figures(model.metrics),
        "",
        "## Limits",
        "",
        "- An answer is evidence, not proof. It must not be the only ground for accusing anybody.",
        "- `unknown` means unlike the known origins. A generator that resembles one is taken for "
        "it.",
        "- Resized, cropped or re-compressed images, screenshots, other subjects and other formats "
        "lower every figure; `whichgen robustness` measures it.",
        "- The probability is calibrated, if at all, for images of known origins; of others it "
        "says nothing.",
        "",
    ]
    return "\n".join(lines)


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    found = {name: metrics.get(key) for key, name in _FIGURES.items()}
    rows = [f"| {n} | {100 * v:.1f} |" for n, v in found.items() if isinstance(v, int | float)]
    if not rows:
        return ["None: the model was changed since it was tested."]
    return ["| figure | % |", "| --- | --- |", *rows]


def _family(model: OriginModel, origin: str) -> str:
    family = model.hierarchy.families.get(origin) if model.hierarchy else None
    return f" ({_escaped(family)})" if family else ""


def _code(text: str) -> str:
    """Text as code, in which nothing ends it early."""
    return f"`{' '.join(text.replace('`', '').split())}`"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: a name may be anything."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in " ".join(text.split()))
