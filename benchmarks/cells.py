"""One cell of the claims: a method, on one choice of unknown generators, with one seed.

A cell's figures and answers are kept in files of their own, so that a stopped run goes on.
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
from whichgen.encoders.base import Encoder
from whichgen.evaluation.predictions import Predictions
from whichgen.experiments.low_data import subsample_training
from whichgen.features.store import FeatureStore
from whichgen.heads.linear import LinearMethod
from whichgen.io.atomic import replace_file, write_text
from whichgen.models.saved_model import save_model
from whichgen.training.finalize import EvaluatedModel
from whichgen.training.fit_block import FitOptions, fit
from whichgen.training.fit_fusion import FusionOptions, fuse
from whichgen.training.split_features import FITTING_SPLITS, extract_splits

#: Every method chooses by this.
METRIC = "OSCR"

#: What robust training adds a copy of each image of.
AUGMENT = ("jpeg", "blur", "crop", "resize", "social")

#: Methods by name: the joined encoders' names after the first one, and what training is augmented
#: by.
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "paper": ("", ()),
    "fusion": ("+traces", ()),
    "paper augmented": ("", AUGMENT),
    "fusion augmented": ("+traces", AUGMENT),
}


@dataclass(frozen=True)
class Cell:
    """What is measured.

    Parameters
    ----------
    data, choice
        Name of the data set, and of the choice of unknown generators.
    method
        One of :data:`METHODS`.
    perturbation
        What every image went through, those of training too; empty: nothing.
    shots
        Training images a class, at most; 0: all.
    """

    data: str
    choice: str
    method: str
    seed: int
    perturbation: str = ""
    shots: int = 0

    @property
    def name(self) -> str:
        """The name of its files."""
        parts = [self.data, self.choice, self.method, f"seed{self.seed}"]
        parts += [self.perturbation.replace(":", "")] if self.perturbation else []
        parts += [f"shots{self.shots}"] if self.shots else []
        return "_".join(parts).replace(" ", "-")


def run_cell(
    cell: Cell, source: DatasetOptions, encoder: Encoder, cache: Path, out: Path
) -> Mapping[str, Any]:
    """The figures of a cell, in [0, 1]: measured, or read if they are there."""
    file = out / f"{cell.name}.json"
    if not file.is_file():
        found = _measure(cell, source, encoder, cache)
        save_model(found.model, out / "models" / cell.name)
        with replace_file(out / f"{cell.name}.npz") as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **_arrays(found))
        write_text(
            file,
            json.dumps(
                {
                    "cell": asdict(cell),
                    "figures": dict(found.model.metrics),
                    "chosen": {
                        "blocks": list(found.model.blocks),
                        "C": found.model.hyperparameter,
                        "score": found.model.score_method,
                    },
                    "images": {"known": len(found.known), "unknown": len(found.unknown)},
                    "run_metadata": dict(found.model.run_metadata),
                },
                indent=1,
            ),
        )
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept


@dataclass(frozen=True)
class Kept:
    """A measured cell's answers about test images."""

    known: Predictions
    unknown: Predictions
    origins: list[str]


def read_answers(cell: Cell, out: Path) -> Kept:
    """What :func:`run_cell` kept."""
    with np.load(out / f"{cell.name}.npz", allow_pickle=False) as arrays:
        fields = ("probabilities", "origins", "scores", "groups")
        known, unknown = (
            Predictions(*(arrays[f"{part}_{field}"] for field in fields))
            for part in ("known", "unknown")
        )
        return Kept(known, unknown, arrays["origins"].tolist())


def _measure(cell: Cell, source: DatasetOptions, encoder: Encoder, cache: Path) -> EvaluatedModel:
    _, augment = METHODS[cell.method]
    parts = extract_splits(
        source.open(cache),
        encoder,
        FeatureStore(cache / "features", encoder),
        augment=augment,
        augmented_splits=FITTING_SPLITS if cell.method.startswith("fusion") else ("train",),
        perturbation=parse_perturbation(cell.perturbation) if cell.perturbation else None,
        seed=cell.seed,
    )
    if cell.shots:
        parts = subsample_training(parts, cell.shots, cell.seed)
    config = {**source.as_config(), **asdict(cell)}
    if cell.method.startswith("paper"):
        options = FitOptions(LinearMethod(), metric=METRIC, seed=cell.seed)
        return fit(parts, encoder, options, config=config, cache=cache / "sweeps")
    return fuse(parts, encoder, FusionOptions(metric=METRIC, seed=cell.seed), config=config)


def _arrays(found: EvaluatedModel) -> dict[str, np.ndarray]:
    arrays = {"origins": np.array(found.model.origins)}
    tables = found.features.test_tables(found.protocol)
    for part, answers, table in zip(
        ("known", "unknown"), (found.known, found.unknown), tables, strict=True
    ):
        arrays |= {
            f"{part}_probabilities": answers.probabilities,
            f"{part}_scores": answers.scores,
            f"{part}_origins": answers.origins,
            f"{part}_groups": np.array([sample.group for sample in table.samples], dtype=str),
        }
    return arrays
