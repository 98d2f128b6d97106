"""Compare whichgen with the reference implementation: the reference protocol at realistic size.

The encoder is DINOv2 ViT-S/14 with pretrained weights and all twelve blocks; the hyperparameter
values are the paper's 45 values of C and 20 values of k. The reference implementation runs in full
only on the selected block. Its time is multiplied by the number of blocks, because it repeats all
steps for each block. :mod:`agreement` compares the results.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agreement import count_equal_blocks, test_metrics
from processes import WHICHGEN, Usage, measure

from whichgen.io.result_files import Row

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
DEMO = ROOT / "demo" / "images"

ENCODER, BLOCKS = "dinov2_small", 12

#: Origins of the images in ``shared/``: eight known and two unknown.
_KNOWN = (
    *("real", "stable_diffusion_1", "midjourney", "openai_gpt_image", "google_gemini_image"),
    *("flux_1", "dalle_mini", "latent_diffusion"),
)
_UNKNOWN = ("glid3_xl", "dalle_3")
#: Origins in ``shared/images`` that have another name in ``shared/wild``.
_RENAMED = {"stable_diffusion_beta": "stable_diffusion_1", "midjourney_2022": "midjourney"}

#: Unknown origins of the demo's images.
_DEMO_UNKNOWN = ("vqvae", "wgan-gp")

#: Annotation name and hyperparameter of each head method.
METHODS = {"linear": ("linear-probe", "C"), "knn": ("knn", "k")}


@dataclass(frozen=True)
class Comparison:
    """Results of one head method for both implementations.

    Parameters
    ----------
    method
        ``linear`` or ``knn``.
    cold, cached
        Time and memory of whichgen's command with an empty cache, and with features but no sweeps
        in the cache.
    reference
        Results of the reference implementation (:func:`reference_process.run_method`),
        and of linear probes on the same features (:mod:`same_features`).
    results
        ``results.json`` of whichgen's run.
    """

    method: str
    cold: Usage
    cached: Usage
    reference: dict[str, Any]
    results: dict[str, Any]


def collect_images(folder: Path, limit: int = 0) -> tuple[Path, tuple[str, ...], str]:
    """Write links to the images in one folder per origin.

    ``limit`` is the maximum number of images per origin; 0 for all. Returns the parent folder, the
    unknown origins, and a description of the images.
    """
    files: dict[str, list[Path]] = {}
    if SHARED.is_dir():
        images = [*SHARED.glob("images/*/*"), *SHARED.glob("wild/*/*/*")]
        for file in sorted(images):
            origin = file.relative_to(SHARED).parts[1]
            files.setdefault(_RENAMED.get(origin, origin), []).append(file)
        unknown, description = _UNKNOWN, "photographs and images of generators from 2022 to 2025"
        files = {origin: files[origin] for origin in (*_KNOWN, *_UNKNOWN)}
    else:
        files = {origin.name: sorted(origin.iterdir()) for origin in DEMO.iterdir()}
        unknown, description = _DEMO_UNKNOWN, "the images of the demo"
    for origin, paths in files.items():
        (folder / origin).mkdir(parents=True)
        for number, path in enumerate(paths[: limit or None]):
            (folder / origin / f"{number:04}{path.suffix}").symlink_to(path)
    return folder, unknown, description


def compare(folder: Path, limit: int = 0) -> tuple[list[Comparison], str]:
    """Run both implementations in an empty folder; return the comparisons and a text on the data.

    ``limit`` is the maximum number of images per origin; 0 for all.
    """
    images, unknown, description = collect_images(folder / "pack", limit)
    os.environ["WHICHGEN_CACHE"] = str(folder / "weights")
    measure(
        [
            *(WHICHGEN, "dataset", "split", str(images), "--unknown", ",".join(unknown)),
            *("--share-unknown", "--fractions", "0.62,0.19,0.19", "-o", str(folder / "dataset")),
        ]
    )
    code = f"from whichgen.encoders.loading import load_encoder as load; load({ENCODER!r})"
    conversion = measure([sys.executable, "-c", code])
    splits = folder / "dataset" / "pack"
    usages, results = {}, {}
    for method in METHODS:
        cold = run_whichgen(method, folder)
        shutil.rmtree(folder / method / "sweeps")
        usages[method] = (cold, run_whichgen(method, folder))
        results[method] = read_results(folder)
    reference = run_reference(splits, results, folder)
    comparisons = [
        Comparison(method, *usages[method], reference[method], results[method])
        for method in METHODS
    ]
    sizes = comparisons[0].results["images"]
    counts = {part: sum(origins.values()) for part, origins in sizes.items()}
    return comparisons, (
        f"{description[0].upper()}{description[1:]}: {counts['train']} training, {counts['val']} "
        f"known and {counts['val_unknown']} unknown validation, {counts['test_unknown']} unknown "
        "test images; the known validation images are also the known test images. The weights were "
        f"converted before the measurement, in {conversion.seconds:.0f} s."
    )


def whichgen_arguments(method: str, folder: Path, cache: Path) -> list[str]:
    """Return the arguments of whichgen's command, with all controls and plots."""
    return [
        *(method, "--protocol", "paper", "--backbone", ENCODER, "--cache-dir", str(cache)),
        *("--data", f"pack:split=split1:root={folder / 'dataset'}", "-o", str(folder / "output")),
    ]


def run_whichgen(method: str, folder: Path) -> Usage:
    """Run and measure whichgen's command with the cache of earlier runs."""
    shutil.rmtree(folder / "output", ignore_errors=True)
    usage = measure([WHICHGEN, *whichgen_arguments(method, folder, folder / method)])
    print(f"whichgen {method}: {usage}", flush=True)
    return usage


def read_results(folder: Path) -> dict[str, Any]:
    """Read the results of the last run."""
    (file,) = (folder / "output").rglob("results.json")
    results: dict[str, Any] = json.loads(file.read_text())
    return results


def run_reference(
    splits: Path, results: dict[str, dict[str, Any]], folder: Path
) -> dict[str, dict[str, Any]]:
    """Run the reference implementation in a separate process, and return its results by method.

    ``splits`` is the folder of annotation files, and ``results`` maps each method to whichgen's
    results.
    """
    methods = {
        method: {
            "block": method_results["selection"]["block"],
            "selected": {block["block"]: block["value"] for block in method_results["blocks"]},
        }
        for method, method_results in results.items()
    }
    file = folder / "reference.json"
    request = {
        "splits": str(splits),
        "features": str(folder / "features.npz"),
        "encoder": ENCODER,
        "store": str(folder / "linear" / "features"),
        "methods": methods,
    }
    file.write_text(json.dumps(request))
    usages = {}
    for program in ("reference_process", "same_features"):
        script = Path(__file__).with_name(f"{program}.py")
        usages[program] = measure([sys.executable, str(script), str(file)])
        print(f"{program}: {usages[program]}", flush=True)
    usage, reference = usages["reference_process"], json.loads(file.read_text())["results"]
    return {method: {**values, "peak": usage.peak} for method, values in reference.items()}


def time_rows(comparisons: list[Comparison]) -> Iterator[Row]:
    """Yield the rows of the table of times."""
    for comparison in comparisons:
        reference = comparison.reference
        extraction, fits = BLOCKS * reference["extraction"], BLOCKS * reference["fit_seconds"]
        for name, seconds, usage in (
            ("from image files", extraction + fits, comparison.cold),
            ("from cached features", fits, comparison.cached),
        ):
            yield {
                "command": f"{comparison.method}, {name}",
                "reference implementation, s": f"{seconds:.0f}",
                "whichgen, s": f"{usage.seconds:.1f}",
                "ratio": f"{seconds / usage.seconds:.0f}",
                "whichgen, CPU s": f"{usage.cpu:.0f}",
                "reference, peak MiB": f"{reference['peak']:.0f}",
                "whichgen, peak MiB": f"{usage.peak:.0f}",
            }


def reference_rows(comparisons: list[Comparison]) -> Iterator[Row]:
    """Yield the rows of the table of measured times of the reference implementation."""
    for comparison in comparisons:
        reference, parameter = comparison.reference, METHODS[comparison.method][1]
        parts = {
            f"decode and encode {reference['images']} images": reference["extraction"],
            f"fit {reference['values']} values of {parameter}, and test": reference["fit_seconds"],
        }
        for part, seconds in parts.items():
            yield {
                "method": comparison.method,
                "part": f"{part}, for one block",
                "seconds": f"{seconds:.1f}",
                f"times {BLOCKS} blocks": f"{BLOCKS * seconds:.0f}",
            }


def metric_rows(comparisons: list[Comparison]) -> Iterator[Row]:
    """Yield the rows of the table of test metrics, in percent."""
    for comparison in comparisons:
        selection = comparison.results["selection"]
        parameter = METHODS[comparison.method][1]
        for implementation, value, metrics in (
            ("reference", comparison.reference["value"], comparison.reference["test"]),
            ("whichgen", selection["value"], test_metrics(comparison.results)),
        ):
            yield {
                "method": comparison.method,
                "implementation": implementation,
                "equal blocks": count_equal_blocks(comparison),
                "selected": f"block {selection['block']}, {parameter} = {value:.4g}",
                "accuracy": f"{metrics['accuracy']:.2f}",
                "AUROC": f"{metrics['auroc']:.2f}",
                "OSCR": f"{metrics['oscr']:.2f}",
            }
