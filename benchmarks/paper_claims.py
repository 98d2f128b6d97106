"""Test the claims of the paper (UniversalAttribution, arXiv 2408.09153) with DINOv2 ViT-S/14.

    python benchmarks/paper_claims.py --images ../shared/images --wild ../shared/wild

Each of eight folds is tested by heads that are fitted on six other folds and selected on the
remaining one. Finished measurements are saved in ``--out``; run the script again to resume. It
writes the tables of ``docs/paper-claims.md`` to ``--out`` and the plots to ``docs/pictures``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paper_metrics import FoldMetrics
from paper_plots import draw
from paper_sweeps import Choice, Setting, perturb_folds, sweep_folds

from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.images.perturbations import parse_perturbation
from whichgen.encoders.loading import load_encoder
from whichgen.experiments.cross_source import SourceSplit
from whichgen.features.store import FeatureStore
from whichgen.heads.head import SweepMethod
from whichgen.heads.knn import KnnMethod
from whichgen.heads.linear import PAPER_C, LinearMethod
from whichgen.io.atomic_writes import write_text

#: Maximum numbers of training images per origin, in addition to 0 for all images.
SIZES = (1, 2, 5, 10, 20, 50, 100)
PERTURBATIONS = ("none", "jpeg:75", "blur:3", "crop:10", "resize:128")

#: Methods with every second of the paper's 45 values of C and, for faster sweeps, with every fourth
#: value up to 1000.
FINE, COARSE = LinearMethod(PAPER_C[::2]), LinearMethod(PAPER_C[:37:4])

#: Encoder of each method, and head method for each number of training images. Spectra represent
#: features of the frequency domain.
METHODS: dict[str, tuple[str, dict[int, SweepMethod]]] = {
    "linear": ("dinov2_small", {0: FINE, **dict.fromkeys(SIZES, COARSE)}),
    "knn": ("dinov2_small", dict.fromkeys((0, *SIZES), KnnMethod())),
    "spectra": ("spectra", {0: COARSE}),
}

#: Pairs of variants whose difference is tested.
COMPARED_VARIANTS = (
    ("linear size 0", "linear block 11"),
    ("linear size 0 OSCR", "linear size 0"),
    ("linear size 0 OSCR", "linear block 11"),
    ("linear block 5", "linear block 11"),
    ("knn block 5", "knn block 11"),
    ("linear size 0", "knn size 0"),
    ("linear size 0", "spectra size 0"),
    ("linear size 0 OSCR", "knn size 0 OSCR"),
    ("linear size 0 OSCR", "spectra size 0 OSCR"),
)

#: Unknown origins for validation, and known origins, of the images in ``--wild``.
WILD_VAL = ("stable_diffusion_3", "ideogram", "stylegan2")
WILD_KNOWN = {
    *("real", "openai_gpt_image", "dalle_3", "google_gemini_image", "google_imagen"),
    *("midjourney", "stable_diffusion_1", "sdxl", "flux_1"),
}


def list_settings(images: Path, wild: Path) -> dict[str, Setting]:
    """Return the settings by name.

    In the setting ``images``, the prompt of an image is used as its source, so that all images of a
    prompt are in one fold.
    """
    options = DatasetOptions(
        data=str(images), groups=str(images / "index.tsv"), group_column="content"
    )
    content = [replace(s, source=s.group) for s in options.list_samples()]
    val, test = ("simulacra", "stable_diffusion_beta"), ("dalle2", "disco_diffusion")
    sources = DatasetOptions(data=str(wild), sources="folders").list_samples()
    wild_test = sorted({s.origin for s in sources} - WILD_KNOWN - {*WILD_VAL})
    return {
        "images": Setting(content, val, test, SourceSplit(), step=2),
        "wild-same": Setting(sources, WILD_VAL, wild_test, SourceSplit(by_source=False), step=3),
        "wild-new": Setting(sources, WILD_VAL, wild_test, SourceSplit(), step=3),
    }


def measure_clean_images(setting: Setting, cache: Path) -> dict[str, Any]:
    """Return metrics by block, by number of images and by protocol, and paired differences."""
    origins, metrics, choices = setting.make_folds()[0].known, {}, {}
    for name, (encoder_name, heads) in METHODS.items():
        encoder = load_encoder(encoder_name, device="cpu", dtype="float32")
        store = FeatureStore(cache / "features", encoder)
        variants, choices[name] = sweep_folds(encoder, heads, setting, store)
        metrics |= {f"{name} {v}": FoldMetrics(pairs, origins) for v, pairs in variants.items()}
    differences = {f"{a} - {b}": metrics[a].compare(metrics[b]) for a, b in COMPARED_VARIANTS}
    intervals = {variant: of_variant.intervals() for variant, of_variant in metrics.items()}
    images = metrics["linear size 0"].images
    return {"images": images, "choices": choices, "metrics": intervals, "differences": differences}


def measure_perturbed_images(
    setting: Setting, cache: Path, choices: Mapping[str, Sequence[tuple[Choice, Choice]]]
) -> dict[str, Any]:
    """Return metrics by perturbation, for heads fitted and selected (by OSCR) on clean images."""
    origins, metrics = setting.make_folds()[0].known, {}
    for name, (encoder_name, heads) in METHODS.items():
        encoder = load_encoder(encoder_name, device="cpu", dtype="float32")
        store = FeatureStore(cache / "features", encoder)
        for p in PERTURBATIONS:
            perturbation = None if p == "none" else parse_perturbation(p)
            by_oscr = [oscr for _, oscr in choices[name]]
            pairs = perturb_folds(
                encoder, heads[0], setting, store, choices=by_oscr, perturbation=perturbation
            )
            metrics[f"{name} {p}"] = FoldMetrics(pairs, origins)
    intervals = {variant: of_variant.intervals() for variant, of_variant in metrics.items()}
    return {"images": metrics["linear none"].images, "metrics": intervals}


def main() -> None:
    """Run the missing measurements, draw the plots, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=Path("../shared/images"))
    parser.add_argument("--wild", type=Path, default=Path("../shared/wild"))
    parser.add_argument("--out", type=Path, default=Path("runs/paper-claims"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "whichgen")
    options = parser.parse_args()
    clean, perturbed = {}, {}
    settings = list_settings(options.images, options.wild)
    for name, setting in settings.items():
        file = options.out / f"{name}.json"
        if not file.is_file():
            write_text(file, json.dumps(measure_clean_images(setting, options.cache), indent=1))
        clean[name] = json.loads(file.read_text(encoding="utf-8"))
    for name, setting in settings.items():
        file = options.out / f"{name}-perturbed.json"
        if not file.is_file():
            record = measure_perturbed_images(setting, options.cache, clean[name]["choices"])
            write_text(file, json.dumps(record, indent=1))
        perturbed[name] = json.loads(file.read_text(encoding="utf-8"))
    draw(clean, perturbed, options.out, Path(__file__).parents[1] / "docs" / "pictures")


if __name__ == "__main__":
    main()
