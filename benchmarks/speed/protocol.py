"""The reference protocol at realistic size: whichgen beside the reference implementation.

DINOv2 ViT-S/14 with its pretrained weights, all twelve blocks, the paper's 45 values of C and 20 of
k. The reference implementation runs in full on one block, the one that it selects, and that time
counts once per block: it repeats everything for each. Both must select the same block and value,
and their metrics must be equal to 0.1 points.
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

from processes import WHICHGEN, Usage, measure

from whichgen.io.result_files import Row

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
PACK = ROOT / "demo" / "images"

ENCODER, BLOCKS = "dinov2_small", 12

#: Largest difference between metrics of the two, in percentage points.
TOLERANCE = 0.1

#: Origins of the images in ``shared/``: eight known and two unknown.
_KNOWN = (
    *("real", "stable_diffusion_1", "midjourney", "openai_gpt_image", "google_gemini_image"),
    *("flux_1", "dalle_mini", "latent_diffusion"),
)
_UNKNOWN = ("glid3_xl", "dalle_3")
#: Origins in ``shared/images`` that have another name in ``shared/wild``.
_RENAMED = {"stable_diffusion_beta": "stable_diffusion_1", "midjourney_2022": "midjourney"}

#: Unknown origins of the demo's images.
_UNKNOWN_OF_PACK = ("vqvae", "wgan-gp")

#: Start of the text if whichgen and the reference implementation do not agree.
DIFFERENT = "**Results differ:**"

METHODS = {"linear": ("linear-probe", "C"), "knn": ("knn", "k")}


@dataclass(frozen=True)
class Comparison:
    """One head method, run by both.

    Parameters
    ----------
    method
        ``linear`` or ``knn``.
    cold, cached
        whichgen's command with an empty cache, and with features but no sweeps in the cache.
    reference
        What the reference implementation measured (see :mod:`reference_process`).
    results
        ``results.json`` of whichgen's run.
    """

    method: str
    cold: Usage
    cached: Usage
    reference: dict[str, Any]
    results: dict[str, Any]


def collect_images(folder: Path, limit: int = 0) -> tuple[Path, tuple[str, ...], str]:
    """Link the images into a folder per origin.

    ``limit`` is the maximum number of images per origin; 0: no limit. Returns the folder, the
    unknown origins, and a description.
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
        files = {origin.name: sorted(origin.iterdir()) for origin in PACK.iterdir()}
        unknown, description = _UNKNOWN_OF_PACK, "the images of the demo"
    for origin, paths in files.items():
        (folder / origin).mkdir(parents=True)
        for number, path in enumerate(paths[: limit or None]):
            (folder / origin / f"{number:04}{path.suffix}").symlink_to(path)
    return folder, unknown, description


def compare(folder: Path, limit: int = 0) -> tuple[list[Comparison], str]:
    """Run everything in an empty folder.

    Returns the comparisons, and a sentence on the data.
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
        "test images; the known validation images are the known test images, too. The weights were "
        f"converted before, once per machine, in {conversion.seconds:.0f} s."
    )


def whichgen_arguments(method: str, folder: Path, cache: Path) -> list[str]:
    """Return the arguments of the command as a user writes it, with all controls and plots."""
    return [
        *(method, "--protocol", "paper", "--backbone", ENCODER, "--cache-dir", str(cache)),
        *("--data", f"pack:split=split1:root={folder / 'dataset'}", "-o", str(folder / "output")),
    ]


def run_whichgen(method: str, folder: Path) -> Usage:
    """Run the command; the cache is kept."""
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
    """Run the reference implementation in a process of its own, for all methods.

    ``results[method]`` are whichgen's.
    """
    methods = {
        method: {
            "block": found["selection"]["block"],
            "selected": {block["block"]: block["value"] for block in found["blocks"]},
        }
        for method, found in results.items()
    }
    file = folder / "reference.json"
    file.write_text(json.dumps({"splits": str(splits), "methods": methods}))
    program = Path(__file__).with_name("reference_process.py")
    usage = measure([sys.executable, str(program), str(file)])
    print(f"reference implementation: {usage}", flush=True)
    measured = json.loads(file.read_text())
    return {method: {**values, "peak": usage.peak} for method, values in measured.items()}


def find_differences(comparison: Comparison) -> list[str]:
    """Return what differs: the selected block or value, or metrics of the selected classifier."""
    ours, theirs, method = comparison.results, comparison.reference, comparison.method
    selection = ours["selection"]
    validation = {int(block): metrics for block, metrics in theirs["validation"].items()}
    best = max(validation, key=lambda block: validation[block]["auroc"])
    (selected,) = (block for block in ours["blocks"] if block["block"] == selection["block"])
    metrics = test_metrics(ours)
    pairs = {
        "block": (best, selection["block"], 0),
        METHODS[method][1]: (theirs["value"], selection["value"], 0),
        **{f"test {name}": (theirs["test"][name], metrics[name], TOLERANCE) for name in metrics},
        **{
            f"validation {name}": (
                validation[selection["block"]][name],
                100 * selected[f"val_{name}"],
                TOLERANCE,
            )
            for name in metrics
        },
    }
    return [
        f"{method}, {name}: reference {their_value:g}, whichgen {our_value:g}"
        for name, (their_value, our_value, tolerance) in pairs.items()
        if abs(their_value - our_value) > tolerance
    ]


def describe_agreement(comparisons: list[Comparison]) -> str:
    """Return a sentence on the agreement; it starts with :data:`DIFFERENT` if there is none."""
    differences = [d for comparison in comparisons for d in find_differences(comparison)]
    if differences:
        return f"{DIFFERENT} {'; '.join(differences)}."
    return (
        "Both select the same block and value, and all metrics of the selected classifiers are "
        f"equal to {TOLERANCE} points (checked)."
    )


def count_equal_blocks(comparison: Comparison) -> int:
    """Return the number of blocks of which the validation AUROC of both is equal."""
    theirs = comparison.reference["validation"]
    return sum(
        abs(theirs[str(block["block"])]["auroc"] - 100 * block["val_auroc"]) <= TOLERANCE
        for block in comparison.results["blocks"]
    )


def test_metrics(results: dict[str, Any]) -> dict[str, float]:
    """Return whichgen's test metrics in percent."""
    test = results["test"]
    values = {"accuracy": test["closed"]["accuracy"], "auroc": test["detection"]["auroc"]}
    return {name: 100 * value for name, value in {**values, "oscr": test["oscr"]}.items()}


def time_rows(comparisons: list[Comparison]) -> Iterator[Row]:
    """Yield the rows of the table of times."""
    for comparison in comparisons:
        reference = comparison.reference
        extraction, fits = BLOCKS * reference["extraction"], BLOCKS * reference["fits"]
        for name, theirs, ours in (
            ("from image files", extraction + fits, comparison.cold),
            ("from cached features", fits, comparison.cached),
        ):
            yield {
                "command": f"{comparison.method}, {name}",
                "reference implementation, s": f"{theirs:.0f}",
                "whichgen, s": f"{ours.seconds:.1f}",
                "ratio": f"{theirs / ours.seconds:.0f}",
                "whichgen's CPU seconds": f"{ours.cpu:.0f}",
                "reference's peak MiB": f"{reference['peak']:.0f}",
                "whichgen's peak MiB": f"{ours.peak:.0f}",
            }


def measured_rows(comparisons: list[Comparison]) -> Iterator[Row]:
    """Yield the rows of what was measured of the reference implementation."""
    for comparison in comparisons:
        reference, parameter = comparison.reference, METHODS[comparison.method][1]
        parts = {
            f"decode and encode {reference['images']} images": reference["extraction"],
            f"{reference['values']} values of {parameter}, and the test": reference["fits"],
        }
        for part, seconds in parts.items():
            yield {
                "method": comparison.method,
                "part": f"{part}, for one block",
                "seconds": f"{seconds:.1f}",
                f"times {BLOCKS} blocks": f"{BLOCKS * seconds:.0f}",
            }


def metric_rows(comparisons: list[Comparison]) -> Iterator[Row]:
    """Yield the rows of the test metrics in percent."""
    for comparison in comparisons:
        ours = test_metrics(comparison.results)
        selection = comparison.results["selection"]
        parameter = METHODS[comparison.method][1]
        for who, value, metrics in (
            ("reference", comparison.reference["value"], comparison.reference["test"]),
            ("whichgen", selection["value"], ours),
        ):
            yield {
                "method": comparison.method,
                "by": who,
                "equal blocks": count_equal_blocks(comparison),
                "selected": f"block {selection['block']}, {parameter} = {value:.4g}",
                "accuracy": f"{metrics['accuracy']:.2f}",
                "AUROC": f"{metrics['auroc']:.2f}",
                "OSCR": f"{metrics['oscr']:.2f}",
            }
