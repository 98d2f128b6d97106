"""Train the built-in model: ``python -m tools.starter WILD SMALL``, or ``make starter``.

WILD is a folder of images ``origin/source/file`` (``../shared/wild``). Origins with at least
:data:`MIN_SOURCES` sources are known. The model is fitted on all images. Its metrics are those of
the cross-source experiment with the same method, in which each image is tested with a model that is
fitted on other sources. SMALL is a folder of small images ``origin/file`` (``../shared/images``).
They are used only for a test of the model, as one more source.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from tools.starter.photographs import write_copies
from whichgen.cli.console import show_progress
from whichgen.constants import REAL
from whichgen.data.dataset import Dataset, Sample
from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.splits.source_folds import assign_folds
from whichgen.defaults import CACHE_DIR
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.answer_metrics import is_synthetic
from whichgen.evaluation.bootstrap import bootstrap_intervals
from whichgen.evaluation.calibration import compute_calibration_metrics
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
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table
from whichgen.models.builtin_model import BUILTIN_MODEL
from whichgen.models.model_card import CARD_FILE
from whichgen.models.origin_model import Exemplars
from whichgen.models.saved_model import save_model
from whichgen.report.cross_source_report import tabulate_cross_source_results
from whichgen.training.finalize_model import predict_table
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.split_features import SplitFeatures

#: DINOv2 at native resolution distinguishes photographs from synthetic images. The other encoders
#: distinguish generators.
BACKBONE = "traces+traces:half+spectra+dinov2_small:crops"

#: Name of the model.
NAME = "built-in"

#: Minimum number of sources of a known origin.
MIN_SOURCES = 4

#: Unknown generators for model selection; the other unknown generators are for testing.
UNKNOWN_VAL = ("stylegan2", "stable_diffusion_2", "leonardo", "seedream")

#: Sections of the model card about the images and the test results.
TESTS = """\
## Images and sources

{images} images from {sources} sources, collected until {date}. A source is one public repository. \
Many images are crops of the published ones. Other generators served as unknown.

{table}

## Test results on new sources

Eight folds of sources: each image is tested by a model whose training, selection and thresholds \
have not seen its source. The model that ships is trained on all sources. In parentheses: 95 % \
intervals, resampled over sources.

{metrics}

Training, thresholds and tests also included two copies of each photograph, as on a website: one \
scaled down and recompressed, the other a thumbnail. Of the copies, {copies} are called synthetic.

The model was also tested with a source of small images (240 × 240 pixels, stored without loss) \
that it has not used: of the photographs, {small_photographs} are called synthetic, and of the \
images by generators of 2022, {small_synthetic}.
"""

#: First items of the section about limits in the model card.
LIMITS = """
- The model is not for accusing anyone. It does not replace the search for the original \
publication and the examination of the file's metadata (`whichgen evidence`).
- It names a generator only for a few percent of the images; most answers are `synthetic`, `real` \
or `unknown`.
- It has not seen generators of the last months before the date above, nor any video frame, \
drawing, scan or screenshot from a known source.
"""

#: Families of the generators: services on the internet, and models that anyone can run.
SERVICE, OPEN = "online service", "open weights"
SERVICES = (
    *("dalle_3", "openai_gpt_image", "google_gemini_image", "google_imagen", "midjourney"),
    *("ideogram", "leonardo", "seedream", "adobe_firefly"),
)

#: Target for the fraction of photographs and their copies that are classified as synthetic. Copies
#: are rarely classified as synthetic. Therefore, the fraction is two to three times as high for the
#: photographs themselves.
FPR = 0.0075

#: Number of training exemplars and number of held-out exemplars per origin, to keep the model
#: small.
EXEMPLARS = 6


def train_builtin_model(wild: Path, small: Path, cache: Path, folder: Path) -> None:
    """Train the model on ``wild``, test it also on ``small``, and write it to ``folder``."""
    options = DatasetOptions(data=str(wild), sources="folders")
    samples = options.list_samples()
    sources: dict[str, set[str]] = {}
    for sample in samples:
        sources.setdefault(sample.origin, set()).add(sample.source)
    unknown = [o for o, s in sources.items() if len(s) < MIN_SOURCES or o in UNKNOWN_VAL]
    unknown_test = [o for o in unknown if o not in UNKNOWN_VAL]
    encoder = load_encoder(BACKBONE, device="cpu")
    store = FeatureStore(cache / "features", encoder)
    copies = write_copies(samples, cache / "starter")
    images = extract([*samples, *copies], encoder, store, progress=show_progress)
    fusion = FusionOptions(**FUSION_GRID, fpr=FPR)

    split = SourceSplit()
    folds = make_fold_datasets(wild.name, images.samples, UNKNOWN_VAL, unknown_test, split)
    families = {origin: SERVICE if origin in SERVICES else OPEN for origin in sources}
    families["stylegan2"] = "GAN"
    folds = [replace(fold, families=families) for fold in folds]
    result = evaluate_cross_source(folds, images, encoder, fusion, split, progress=show_progress)

    dataset = folds[0]
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
    full_dataset = Dataset(
        name=wild.name,
        known=dataset.known,
        unknown=dataset.unknown,
        families=families,
        **{name: table.samples for name, table in tables.items()},  # type: ignore[arg-type]
    )
    config = {
        **options.as_config(),
        "data": wild.name,
        "sources": f"{len({s.source for s in samples})} sources, {len(samples)} images",
        "metrics": "cross-source: eight folds of sources, pooled",
    }
    model = fuse(SplitFeatures(full_dataset, tables), encoder, fusion, config=config).model
    published_result = remove_copies(result, copies)
    model = replace(
        model,
        metrics={name: interval.value for name, interval in published_result.metrics.items()},
        exemplars=_draw_exemplars(model.exemplars),
        head=replace(model.head, components=model.head.components[:16]),
    )
    save_model(model, folder, name=NAME)
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    start, limits = card.split("## Limits")
    answers = dict(zip(result.paths, result.answers, strict=True))
    small_samples = DatasetOptions(data=str(small)).list_samples()
    small_images = extract(small_samples, encoder, store, progress=show_progress)
    small_answers, _, small_origins = predict_table(model, small_images)[1]
    is_photograph = np.array(small_origins) == REAL
    tests = TESTS.format(
        date=date.today().isoformat(),
        images=len(samples),
        sources=len({sample.source for sample in samples}),
        table=format_markdown_table(count_images(samples, result.origins)),
        metrics=format_markdown_table(tabulate_cross_source_results([published_result])),
        copies=count_synthetic([answers[str(copy.path)] for copy in copies]),
        small_photographs=count_synthetic(np.array(small_answers)[is_photograph]),
        small_synthetic=count_synthetic(np.array(small_answers)[~is_photograph]),
    )
    start = start.split("## Test results")[0] + tests
    start = start.replace(f'from_pretrained("{NAME}")', "load()")
    write_text(folder / CARD_FILE, f"{start}\n## Limits\n{LIMITS}{limits.lstrip()}")


def count_synthetic(answers: Sequence[str] | np.ndarray) -> str:
    """Count the answers that mean that the image is synthetic: ``3 of 144``."""
    return f"{is_synthetic(np.array(answers)).sum()} of {len(answers)}"


def count_images(samples: Sequence[Sample], origins: Sequence[str]) -> list[Row]:
    """Return the numbers of images and sources of each origin, as rows of a table."""
    images = Counter(sample.origin for sample in samples)
    sources = Counter(origin for origin, _ in {(s.origin, s.source) for s in samples})
    return [{"origin": o, "images": images[o], "sources": sources[o]} for o in origins]


def remove_copies(result: CrossSourceResult, copies: Sequence[Sample]) -> CrossSourceResult:
    """Return the result for the published images, without the copies of photographs."""
    copy_paths = {str(copy.path) for copy in copies}
    published_rows = [i for i, path in enumerate(result.paths) if path not in copy_paths]
    rows = np.array([i for i in published_rows if i < len(result.known)])
    known = Predictions(
        result.known.probabilities[rows],
        result.known.origins[rows],
        result.known.scores[rows],
        sources=None if result.known.sources is None else result.known.sources[rows],
    )
    answers = tuple(result.answers[i] for i in published_rows)
    return replace(
        result,
        known=known,
        answers=answers,
        paths=tuple(result.paths[i] for i in published_rows),
        metrics=bootstrap_intervals(known, result.unknown, result.origins, answers=answers),
        calibration_error=compute_calibration_metrics(
            known.probabilities, known.get_labels(result.origins)
        ).ece,
    )


def _draw_exemplars(exemplars: Exemplars) -> Exemplars:
    """Return the first :data:`EXEMPLARS` training and held-out exemplars of each origin."""
    rows: list[int] = []
    for label in np.unique(exemplars.labels):
        for held_out in (False, True):
            chosen = (exemplars.labels == label) & (exemplars.held_out == held_out)
            rows += np.flatnonzero(chosen)[:EXEMPLARS].tolist()
    kept = np.sort(rows)
    return Exemplars(exemplars.features[kept], exemplars.labels[kept], exemplars.held_out[kept])


if __name__ == "__main__":
    train_builtin_model(Path(sys.argv[1]), Path(sys.argv[2]), CACHE_DIR, BUILTIN_MODEL)
