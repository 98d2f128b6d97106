"""Read the run folders of training runs and of low-data experiments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from whichgen.errors import DataError
from whichgen.evaluation.bootstrap import Interval
from whichgen.evaluation.calibration import CalibrationMetrics
from whichgen.evaluation.conformal import CoverageMetrics
from whichgen.evaluation.evaluate_predictions import Evaluation
from whichgen.evaluation.hierarchical_accuracy import LevelResult
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.protocols import Protocol
from whichgen.evaluation.source_counts import SourceResult, count_by_source
from whichgen.evaluation.training_sources import TrainingSources
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.experiments.run_comparison import (
    RunPredictions,
    convert_file_errors,
    read_csv,
    read_json,
    read_run_predictions,
)
from whichgen.openset.threshold import decide
from whichgen.training.fit_block import BlockResult
from whichgen.training.label_shuffle import ShuffleControl
from whichgen.training.selection import FusionCandidate
from whichgen.training.shortcut_check import ShortcutReport
from whichgen.version import __version__

_Model = TypeVar("_Model", bound=BaseModel)

#: Names of values that can be NaN. JSON files contain null instead of NaN.
_MAY_BE_NAN = frozenset({"rejection_rate", "recall", "confidence", "accuracy", "low", "high"})


def _restore_nan(value: Any, name: str = "") -> Any:
    """Return a JSON value with NaN instead of ``None`` under the names in :data:`_MAY_BE_NAN`."""
    if isinstance(value, dict):
        return {key: _restore_nan(v, key) for key, v in value.items()}
    if isinstance(value, list):
        return [_restore_nan(v, name) for v in value]
    return float("nan") if value is None and name in _MAY_BE_NAN else value


class _Threshold(BaseModel):
    value: float
    tpr: float
    tpr_interval: tuple[float, float]
    images: int | None = None


class _Encoder(BaseModel):
    name: str
    weights_hash: str


class _RunMetadata(BaseModel):
    model_config = ConfigDict(extra="allow")

    config: dict[str, Any]
    encoder: _Encoder
    data_hash: str
    whichgen: str
    time: str
    training_sources: TrainingSources | None = None


class _Selection(BaseModel):
    metric: str
    value: float
    block: int = -1
    parameter: str = "C"
    members: str = ""
    shrinkage: float = 1.0


@dataclass(frozen=True)
class _Coverage(CoverageMetrics):
    target: float


@dataclass(frozen=True, kw_only=True)
class _Expert(FusionCandidate):
    perturbation: str


class Results(BaseModel):
    """Fields of ``results.json``.

    Parameters
    ----------
    run_metadata
        Configuration, encoder, digest of the data, version and time of the run.
    protocol
        Protocol that defines the images for selection and for testing.
    images
        ``images[split][origin]`` is the number of images.
    threshold
        ``value`` and ``tpr``: fields ``threshold`` and ``tpr`` of the model
        (:class:`~whichgen.models.origin_model.OriginModel`); ``tpr_interval``: 95 % confidence
        interval of the fraction of new known images that the threshold accepts; ``images``: number
        of held-out known images, or ``None`` if it is not recorded.
    head_method, score_method, temperature
        Settings of the model (:class:`~whichgen.models.origin_model.OriginModel`).
    families
        Maps each known origin, except ``real``, to its family.
    test, intervals, calibration, hierarchy
        Metrics of the test images (:class:`~whichgen.training.finalize_model.EvaluatedModel`).
    coverage
        Coverage and mean size of the prediction sets of known test images, and target coverage.
    skipped
        Error message of each unreadable file.
    notes
        Notes on the selection, the dataset and the fit.
    selection
        Selection metric and selected settings.
    blocks
        Metrics of each block; empty for a fusion.
    members, scores, experts
        Metrics of the sets of members, open-set scores and experts of a fusion; empty for a run
        that is not a fusion.
    shortcut_check
        Result of the shortcut check; ``None`` if the check is disabled.
    shuffled_labels
        Result of the shuffled-label control; ``None`` if the control is disabled or failed.
    """

    model_config = ConfigDict(frozen=True)

    run_metadata: _RunMetadata
    protocol: Protocol
    images: dict[str, dict[str, int]]
    threshold: _Threshold
    head_method: str
    score_method: str
    temperature: float
    families: dict[str, str]
    test: Evaluation
    intervals: dict[str, Interval]
    calibration: CalibrationMetrics
    hierarchy: tuple[LevelResult, ...]
    coverage: _Coverage
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    selection: _Selection
    blocks: tuple[BlockResult, ...] = ()
    members: tuple[FusionCandidate, ...] = ()
    scores: tuple[FusionCandidate, ...] = ()
    experts: tuple[_Expert, ...] = ()
    shortcut_check: ShortcutReport | None = None
    shuffled_labels: ShuffleControl | None = None


class _Robustness(BaseModel):
    points: tuple[RobustnessPoint, ...]


class _LowData(BaseModel):
    points: tuple[LowDataPoint, ...]


@dataclass(frozen=True)
class ImageMap:
    """Two-dimensional t-SNE coordinates of m test images; m can be 0.

    Parameters
    ----------
    paths, origins
        Path and true origin of each image: str arrays (m,).
    points
        Coordinates: float64 array (m, 2).
    """

    paths: np.ndarray
    origins: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Run(RunPredictions):
    """Metrics and predictions of a run, read from its run folder.

    Parameters
    ----------
    results
        Fields of ``results.json``, validated.
    image_map
        t-SNE coordinates of test images, from ``embedding.csv``.
    robustness
        Metrics for each perturbation, from ``robustness.json``; empty if the file does not exist.
    """

    results: Results
    image_map: ImageMap
    robustness: tuple[RobustnessPoint, ...]

    @property
    def known(self) -> Predictions:
        """Predictions for test images of known origins."""
        return self.predictions[0]

    @property
    def unknown(self) -> Predictions:
        """Predictions for test images of unknown generators."""
        return self.predictions[1]

    @cached_property
    def source_results(self) -> list[SourceResult]:
        """Counts of answers for each source of each origin.

        The list is empty if a test image has no source or the run does not record the answers.
        """
        images = Predictions.concatenate(self.predictions)
        if images.sources is None or not self.coarse_origins:
            return []
        return count_by_source(images, self.coarse_origins, self.origins)

    @property
    def threshold(self) -> float:
        """Open-set score below which an image is classified as ``unknown``."""
        return self.results.threshold.value

    def decide(self, predictions: Predictions) -> np.ndarray:
        """Return the index of the predicted origin of each image, with rejection at the threshold.

        Returns
        -------
        numpy.ndarray
            Index in :attr:`origins`, or -1 for ``unknown``: int64 array (n,).
        """
        return decide(predictions.probabilities, predictions.scores, self.threshold)


def read_run(folder: Path) -> Run:
    """Read the run folder of ``whichgen linear``, ``whichgen knn`` or ``whichgen fuse``.

    Raises
    ------
    DataError
        A file is missing or damaged, or was written by an incompatible version of whichgen;
        ``results.json`` and ``predictions.csv`` are from different runs; or there is no test image
        of a known origin.
    OSError
        A file can't be opened, for example because permission is missing.
    """
    predictions = read_run_predictions(folder)
    results = _validate(folder / "results.json", predictions.results, Results)
    test = results.test
    recorded_test_set = (test.origins, test.known_images, test.unknown_images)
    if recorded_test_set != (predictions.origins, *map(len, predictions.predictions)):
        raise DataError(
            f"results.json and predictions.csv in {folder} belong to different runs. Rerun the "
            "command that wrote them."
        )
    parts: dict[str, Any] = vars(predictions) | {"results": results, "robustness": ()}
    parts["image_map"] = _read_image_map(folder / "embedding.csv")
    if (file := folder / "robustness.json").is_file():
        parts["robustness"] = _validate(file, read_json(file), _Robustness).points
    return Run(**parts)


def read_low_data(folder: Path) -> tuple[LowDataPoint, ...]:
    """Read ``lowdata.json`` from the run folder of ``whichgen low-data``.

    Raises
    ------
    DataError
        The file is missing or damaged, or was written by an incompatible version of whichgen.
    OSError
        The file can't be opened, for example because permission is missing.
    """
    file = folder / "lowdata.json"
    return _validate(file, read_json(file), _LowData).points


def _validate(file: Path, record: Any, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(_restore_nan(record))
    except ValidationError as error:
        first_error = error.errors()[0]
        location = ".".join(map(str, first_error["loc"])) or "top level"
        raise DataError(
            f"{file} does not have the format of whichgen {__version__} ({location}: "
            f"{first_error['msg']}). Rerun the command that wrote it."
        ) from None


def _read_image_map(file: Path) -> ImageMap:
    rows = read_csv(file)
    with convert_file_errors(file):
        points = np.array([[float(row["x"]), float(row["y"])] for row in rows]).reshape(-1, 2)
        paths, origins = (np.array([r[c] for r in rows], dtype=str) for c in ("path", "origin"))
    return ImageMap(paths, origins, points)
