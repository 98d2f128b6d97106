"""Measure one cell of a benchmark: a method, a choice of unknown generators, and a seed.

The metrics and the predictions of each cell are saved in files of their own, so that an interrupted
run can resume.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichgen.data.dataset_options import DatasetOptions
from whichgen.data.images.perturbations import parse_perturbation
from whichgen.encoders.encoder import Encoder
from whichgen.evaluation.predictions import Predictions
from whichgen.experiments.low_data import subsample_training
from whichgen.features.store import FeatureStore
from whichgen.heads.linear import LinearMethod
from whichgen.io.atomic_writes import replace_file, write_text
from whichgen.models.saved_model import save_model
from whichgen.training.finalize_model import EvaluatedModel
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.split_features import FITTING_SPLITS, extract_splits

#: Selection metric of every method.
METRIC = "OSCR"

#: Kinds of perturbation for augmented training: one copy of each image per kind.
AUGMENT = ("jpeg", "blur", "crop", "resize", "social")

#: For each method, the encoders that are combined with the base encoder, and the kinds of
#: perturbation for augmented training.
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "paper": ("", ()),
    "fusion": ("+traces", ()),
    "paper augmented": ("", AUGMENT),
    "fusion augmented": ("+traces", AUGMENT),
}


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Parameters
    ----------
    data, choice
        Names of the dataset and of the choice of unknown generators.
    method
        One of :data:`METHODS`.
    seed
        Seed of the split and of training.
    perturbation
        Perturbation of all images, including training images; empty for none.
    shots
        Maximum number of training images per origin; 0 for all.
    """

    data: str
    choice: str
    method: str
    seed: int
    perturbation: str = ""
    shots: int = 0

    @property
    def name(self) -> str:
        """Name of the cell's files, without suffix."""
        parts = [self.data, self.choice, self.method, f"seed{self.seed}"]
        parts += [self.perturbation.replace(":", "")] if self.perturbation else []
        parts += [f"shots{self.shots}"] if self.shots else []
        return "_".join(parts).replace(" ", "-")


def run_cell(
    cell: Cell, source: DatasetOptions, encoder: Encoder, cache: Path, out: Path
) -> Mapping[str, Any]:
    """Return the saved record of a cell; measure and save it first if necessary.

    ``source`` are the options of the dataset. The metrics are in [0, 1], under the key ``figures``.
    """
    file = out / f"{cell.name}.json"
    if not file.is_file():
        result = _measure(cell, source, encoder, cache)
        save_model(result.model, out / "models" / cell.name)
        with replace_file(out / f"{cell.name}.npz") as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **_collect_arrays(result))
        write_text(
            file,
            json.dumps(
                {
                    "cell": asdict(cell),
                    "figures": dict(result.model.metrics),
                    "chosen": {
                        "blocks": list(result.model.blocks),
                        "C": result.model.hyperparameter,
                        "score": result.model.score_method,
                    },
                    "images": {"known": len(result.known), "unknown": len(result.unknown)},
                    "run_metadata": dict(result.model.run_metadata),
                },
                indent=1,
            ),
        )
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


@dataclass(frozen=True)
class CellPredictions:
    """Predictions for the known and the unknown test images of a cell, and the known origins."""

    known: Predictions
    unknown: Predictions
    origins: list[str]


def read_predictions(cell: Cell, out: Path) -> CellPredictions:
    """Read the predictions that :func:`run_cell` saved."""
    with np.load(out / f"{cell.name}.npz", allow_pickle=False) as arrays:
        fields = ("probabilities", "origins", "scores", "groups")
        known, unknown = (
            Predictions(*(arrays[f"{part}_{field}"] for field in fields))
            for part in ("known", "unknown")
        )
        return CellPredictions(known, unknown, arrays["origins"].tolist())


def _measure(cell: Cell, source: DatasetOptions, encoder: Encoder, cache: Path) -> EvaluatedModel:
    _, augment = METHODS[cell.method]
    features = extract_splits(
        source.open(cache),
        encoder,
        FeatureStore(cache / "features", encoder),
        augment=augment,
        augmented_splits=FITTING_SPLITS if cell.method.startswith("fusion") else ("train",),
        perturbation=parse_perturbation(cell.perturbation) if cell.perturbation else None,
        seed=cell.seed,
    )
    if cell.shots:
        features = subsample_training(features, cell.shots, cell.seed)
    config = {**source.as_config(), **asdict(cell)}
    if cell.method.startswith("paper"):
        options = FitOptions(LinearMethod(), metric=METRIC, seed=cell.seed)
        return fit(features, encoder, options, config=config, cache=cache / "sweeps")
    return fuse(features, encoder, FusionOptions(metric=METRIC, seed=cell.seed), config=config)


def _collect_arrays(result: EvaluatedModel) -> dict[str, np.ndarray]:
    """Return the arrays to save, by name."""
    arrays = {"origins": np.array(result.model.origins)}
    tables = result.features.select_test_tables(result.protocol)
    for part, predictions, table in zip(
        ("known", "unknown"), (result.known, result.unknown), tables, strict=True
    ):
        arrays |= {
            f"{part}_probabilities": predictions.probabilities,
            f"{part}_scores": predictions.scores,
            f"{part}_origins": predictions.origins,
            f"{part}_groups": np.array([sample.group for sample in table.samples], dtype=str),
        }
    return arrays
