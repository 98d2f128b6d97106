"""Train the built-in model: ``python -m tools.starter WILD IMAGES``, or ``make starter``.

WILD is a folder ``origin/source/file`` (``../shared/wild``), and IMAGES is a folder ``origin/file``
with images of one source (``../shared/images``). Origins with at least :data:`MIN_SOURCES` sources
are known. Most other generators are the background class ``synthetic``. The model is fitted on all
images. Its metrics are those of the cross-source experiment with the same method, in which each
image is tested by a model fitted on other sources.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from tools.starter.photographs import write_copies
from whichgen.cli.console import progress
from whichgen.constants import REAL, SYNTHETIC
from whichgen.data.dataset import Dataset, Sample
from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.splits.source_folds import assign_folds
from whichgen.defaults import CACHE_DIR
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.answer_metrics import is_synthetic
from whichgen.evaluation.bootstrap import bootstrap_intervals
from whichgen.evaluation.calibration import calibration_metrics
from whichgen.evaluation.predictions import Predictions
from whichgen.experiments.cross_source import (
    FUSION_GRID,
    CrossSourceResult,
    SourceSplit,
    evaluate_cross_source,
    make_fold_datasets,
)
from whichgen.features.extraction import extract
from whichgen.features.store import FeatureStore
from whichgen.io.atomic import write_text
from whichgen.io.result_files import Row, markdown_table
from whichgen.models.builtin import BUILTIN_MODEL
from whichgen.models.model_card import CARD_FILE
from whichgen.models.origin_model import Exemplars
from whichgen.models.saved_model import save_model
from whichgen.report.cross_source_report import tabulate_cross_source_results
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.split_features import SplitFeatures

#: DINOv2 at native resolution tells photographs from synthetic images, the others tell generators.
BACKBONE = "traces+traces:half+spectra+dinov2_small:crops"

NAME = "built-in"

#: Minimum number of sources of a known origin.
MIN_SOURCES = 4

#: Unknown generators for selection; the other unknown generators are for testing.
UNKNOWN_VAL = ("stylegan2", "stable_diffusion_2", "leonardo", "seedream")

#: Section of the model card.
TESTS = """\
## Images and sources

{images} images from {sources} sources, collected until {date}. A source is one public repository. \
Many images are crops of the published ones. Other generators are the background class: they are \
detected as `synthetic`, but not named.

{table}

## Test results on new sources

Eight folds of sources: each image is tested by a model whose training, selection and thresholds \
have not used its source. Images of unknown generators are tested by a model that has not used \
their generator either. The model that ships is trained on all sources. In parentheses: 95 % \
intervals, resampled over sources.

{metrics}

Training, thresholds and tests also included two copies of each photograph, as on a website: one \
scaled down and recompressed, the other a thumbnail. Of the copies, {copies} are called synthetic. \
They also included a source of small images (240 × 240 pixels): of its photographs, {small_real} \
are called synthetic, and of its images by generators of 2022, {small_synthetic}.
"""

#: First entries of the limits in the model card.
LIMITS = """
- The model is not for accusing anyone. It does not replace the search for the original \
publication and the examination of the file's metadata (`whichgen evidence`).
- It names a generator only for a few percent of the images; most answers are `synthetic`, `real` \
or `unknown`.
- It has not seen generators of the last months before the date above, nor any video frame, \
drawing, scan or screenshot from a known source.
"""

#: Coarser answers: is the generator an online service, or a model that anyone can run?
SERVICE, OPEN = "online service", "open weights"
SERVICES = (
    *("dalle_3", "openai_gpt_image", "google_gemini_image", "google_imagen", "midjourney"),
    *("ideogram", "leonardo", "seedream", "adobe_firefly", "dalle2", "midjourney_2022"),
)

#: Maximum fraction of photographs, including their copies, that are called synthetic. Copies are
#: called synthetic less often, so that about three times this fraction of the photographs is.
FPR = 0.005

#: Number of exemplars per origin of each kind, training and held-out: the model must stay small.
EXEMPLARS = 6


def train_builtin_model(wild: Path, small: Path, cache: Path, folder: Path) -> None:
    """Train the model on the images in ``wild`` and ``small``, and write it to ``folder``."""
    options = DatasetOptions(data=str(wild), sources="folders")
    samples = options.list_samples()
    small_samples = [
        replace(sample, source=small.name)
        for sample in DatasetOptions(data=str(small)).list_samples()
    ]
    sources: dict[str, set[str]] = {}
    for sample in (*samples, *small_samples):
        sources.setdefault(sample.origin, set()).add(sample.source)
    unknown = [o for o, s in sources.items() if len(s) < MIN_SOURCES or o in UNKNOWN_VAL]
    unknown_test = [o for o in unknown if o not in UNKNOWN_VAL]
    encoder = load_encoder(BACKBONE, device="cpu")
    store = FeatureStore(cache / "features", encoder)
    copies = write_copies(samples, cache / "starter")
    images = extract([*samples, *copies, *small_samples], encoder, store, progress=progress)
    fusion = FusionOptions(**FUSION_GRID, fpr=FPR)

    split = SourceSplit()
    folds = make_fold_datasets(
        wild.name, images.samples, UNKNOWN_VAL, unknown_test, split, background=True
    )
    families = {origin: SERVICE if origin in SERVICES else OPEN for origin in sources}
    families |= {"stylegan2": "GAN", SYNTHETIC: SYNTHETIC}
    folds = [replace(fold, families=families) for fold in folds]
    result = evaluate_cross_source(folds, images, encoder, fusion, split, progress=progress)

    dataset = folds[0]
    samples_to_fit = [
        replace(s, origin=SYNTHETIC) if s.origin in unknown_test else s for s in images.samples
    ]
    images = replace(images, samples=tuple(samples_to_fit))
    known = np.array([s.origin in dataset.known for s in images.samples])
    val = assign_folds(images.samples, split.n_folds) == 0
    rows = {
        "train": known & ~val,
        "val": known & val,
        "val_unknown": ~known,
        "test": known & val,
        "test_unknown": np.zeros(len(known), dtype=bool),
    }
    tables = {name: images.take(np.flatnonzero(mask)) for name, mask in rows.items()}
    whole = Dataset(
        name=wild.name,
        known=dataset.known,
        unknown=dataset.unknown,
        families=families,
        **{name: table.samples for name, table in tables.items()},  # type: ignore[arg-type]
    )
    config = {
        **options.as_config(),
        "data": wild.name,
        "sources": f"{len({s.source for s in images.samples})} sources, {len(images)} images",
        "metrics": "cross-source: eight folds of sources, pooled",
    }
    model = fuse(SplitFeatures(whole, tables), encoder, fusion, config=config).model
    published = select_images(result, {str(sample.path) for sample in samples})
    model = replace(
        model,
        metrics={name: interval.value for name, interval in published.metrics.items()},
        exemplars=_draw_exemplars(model.exemplars),
        head=replace(model.head, components=model.head.components[:16]),
    )
    save_model(model, folder, name=NAME)
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    start, limits = card.split("## Limits")
    small_real = [sample for sample in small_samples if sample.origin == REAL]
    small_synthetic = [sample for sample in small_samples if sample.origin != REAL]
    tests = TESTS.format(
        date=date.today().isoformat(),
        images=len(samples),
        sources=len({sample.source for sample in samples}),
        table=markdown_table(count_images(samples, result.origins)),
        metrics=markdown_table(tabulate_cross_source_results([published])),
        copies=count_synthetic(result, copies),
        small_real=count_synthetic(result, small_real),
        small_synthetic=count_synthetic(result, small_synthetic),
    )
    start = start.split("## Test results")[0] + tests
    start = start.replace(f'from_pretrained("{NAME}")', "load()")
    write_text(folder / CARD_FILE, f"{start}\n## Limits\n{LIMITS}{limits.lstrip()}")


def count_images(samples: Sequence[Sample], origins: Sequence[str]) -> list[Row]:
    """Return the numbers of images and sources of each origin, as rows of a table."""
    images = Counter(sample.origin for sample in samples)
    sources = Counter(origin for origin, _ in {(s.origin, s.source) for s in samples})
    return [{"origin": o, "images": images[o], "sources": sources[o]} for o in origins]


def count_synthetic(result: CrossSourceResult, samples: Sequence[Sample]) -> str:
    """Count the samples whose answer means that the image is synthetic: ``3 of 144``."""
    answers = dict(zip(result.paths, result.answers, strict=True))
    synthetic = is_synthetic(np.array([answers[str(sample.path)] for sample in samples]))
    return f"{synthetic.sum()} of {len(synthetic)}"


def select_images(result: CrossSourceResult, paths: Collection[str]) -> CrossSourceResult:
    """Compute the metrics of the images with these paths alone."""
    rows = [i for i, path in enumerate(result.paths) if path in paths]
    n_known = len(result.known)
    known = _take(result.known, [i for i in rows if i < n_known])
    unknown = _take(result.unknown, [i - n_known for i in rows if i >= n_known])
    answers = tuple(result.answers[i] for i in rows)
    return replace(
        result,
        known=known,
        unknown=unknown,
        answers=answers,
        paths=tuple(result.paths[i] for i in rows),
        metrics=bootstrap_intervals(known, unknown, result.origins, answers=answers),
        calibration_error=calibration_metrics(
            known.probabilities, known.labels(result.origins)
        ).ece,
    )


def _take(predictions: Predictions, rows: Sequence[int]) -> Predictions:
    assert predictions.sources is not None
    return Predictions(
        predictions.probabilities[rows],
        predictions.origins[rows],
        predictions.scores[rows],
        sources=predictions.sources[rows],
    )


def _draw_exemplars(exemplars: Exemplars) -> Exemplars:
    """Keep the first :data:`EXEMPLARS` training and held-out exemplars of each origin."""
    rows: list[int] = []
    for label in np.unique(exemplars.labels):
        for held_out in (False, True):
            chosen = (exemplars.labels == label) & (exemplars.held_out == held_out)
            rows += np.flatnonzero(chosen)[:EXEMPLARS].tolist()
    kept = np.sort(rows)
    return Exemplars(exemplars.features[kept], exemplars.labels[kept], exemplars.held_out[kept])


if __name__ == "__main__":
    train_builtin_model(Path(sys.argv[1]), Path(sys.argv[2]), CACHE_DIR, BUILTIN_MODEL)
