"""A run's folder, read back into what wrote it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from whichgen.data.perturbations import parse_perturbation
from whichgen.errors import DataError
from whichgen.evaluation.all_metrics import Evaluation
from whichgen.evaluation.bootstrap import Interval
from whichgen.evaluation.calibration import CalibrationMetrics
from whichgen.evaluation.hierarchical_accuracy import LevelResult
from whichgen.evaluation.predictions import Predictions
from whichgen.evaluation.protocols import Protocol
from whichgen.experiments.comparison import RunPredictions, read_run_predictions
from whichgen.experiments.low_data import LowDataPoint
from whichgen.experiments.robustness import RobustnessPoint
from whichgen.openset.threshold import decide
from whichgen.training.controls import ShuffleControl
from whichgen.training.fit_fusion import FusionCandidate
from whichgen.training.shortcuts import ShortcutReport
from whichgen.version import __version__

_Parsed = TypeVar("_Parsed", bound=BaseModel)

#: Figures that may be NaN, which JSON has not: there they are null.
_MAY_BE_NAN = frozenset({"rejection_rate", "recall", "confidence", "accuracy", "low", "high"})


def _nan(value: Any, name: str = "") -> Any:
    """The value with NaN where the figure ``name`` is null."""
    if isinstance(value, dict):
        return {key: _nan(v, key) for key, v in value.items()}
    if isinstance(value, list):
        return [_nan(v, name) for v in value]
    return float("nan") if value is None and name in _MAY_BE_NAN else value


_WithNan = BeforeValidator(_nan)


class _Threshold(BaseModel):
    value: float
    tpr: float
    tpr_interval: tuple[float, float] | None = None


class _RunMetadata(BaseModel):
    model_config = ConfigDict(extra="allow")

    config: dict[str, Any] = {}
    encoder: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    data_hash: str = "–"
    whichgen: str = "–"
    python: str = "–"
    machine: str = "–"
    time: str = "–"
    command: str = "–"


class _Selection(BaseModel):
    metric: str = "validation"
    block: int | None = None
    parameter: str = "value"
    members: str = ""
    value: float = float("nan")
    shrinkage: float = 1.0


class Expert(BaseModel):
    """A fusion's expert of one perturbation (empty: none), with its validation figures."""

    perturbation: str = ""
    members: str = "–"
    accuracy: float | None = None
    auroc: float | None = None
    oscr: float | None = None


class _Coverage(BaseModel):
    target: float
    coverage: float
    mean_size: float


class Results(BaseModel):
    """``results.json``: its parts as the dataclasses that they were written from.

    What an older version did not write yet, or only a fit or only a fusion has, is empty.
    """

    model_config = ConfigDict(frozen=True)

    run_metadata: _RunMetadata
    protocol: Protocol
    threshold: _Threshold
    test: Annotated[Evaluation, _WithNan]
    score: str = "max_probability"
    temperature: float = 1.0
    selection: _Selection = _Selection()
    images: dict[str, dict[str, int]] = {}
    intervals: Annotated[dict[str, Interval], _WithNan] = {}
    calibration: Annotated[CalibrationMetrics | None, _WithNan] = None
    coverage: _Coverage | None = None
    hierarchy: tuple[LevelResult, ...] = ()
    blocks: tuple[dict[str, float | None], ...] = ()
    members: tuple[FusionCandidate, ...] = ()
    scores: tuple[FusionCandidate, ...] = ()
    experts: tuple[Expert, ...] = ()
    shortcut_check: ShortcutReport | None = None
    shuffled_labels: ShuffleControl | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _RobustnessPoint(BaseModel):
    perturbation: str | None
    test: Annotated[Evaluation, _WithNan]
    skipped: tuple[str, ...] = ()


class _Robustness(BaseModel):
    points: tuple[_RobustnessPoint, ...]


class _LowData(BaseModel):
    points: tuple[LowDataPoint, ...]


@dataclass(frozen=True)
class MapPoints:
    """Where test images lie on the map: paths, origins (str arrays (m,)), points float (m, 2)."""

    paths: np.ndarray
    origins: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Run:
    """All that the page tells of one run.

    ``map`` is ``None``, and ``robustness`` empty, where the folder does not hold them.
    """

    folder: Path
    results: Results
    predictions: RunPredictions
    map: MapPoints | None
    robustness: tuple[RobustnessPoint, ...]

    @property
    def origins(self) -> tuple[str, ...]:
        """The known origins."""
        return self.predictions.origins

    @property
    def known(self) -> Predictions:
        """Answers about the test images of known origins."""
        return self.predictions.answers[0]

    @property
    def unknown(self) -> Predictions:
        """Answers about the test images of unknown origins."""
        return self.predictions.answers[1]

    @property
    def threshold(self) -> float:
        """Scores below it are answered ``unknown``."""
        return self.results.threshold.value

    @property
    def fused(self) -> bool:
        """It is a fusion's."""
        return bool(self.results.members)

    @property
    def head(self) -> str:
        """The kind of head: ``linear``, ``knn`` or ``fusion``."""
        if self.fused:
            return "fusion"
        head = self.results.run_metadata.config.get("head")
        return str(head.get("name", "head")) if isinstance(head, dict) else "head"

    def decided(self, answers: Predictions) -> np.ndarray:
        """The index of each answer's origin, -1 for ``unknown``: int64 (n,)."""
        return decide(answers.probabilities, answers.scores, self.threshold)


def read_run(folder: Path) -> Run:
    """Everything of a run that the page tells.

    Raises
    ------
    DataError
        The folder holds no run, one that is damaged, or one of a version that is too old or new.
    """
    results = _parsed(folder / "results.json", Results)
    predictions = read_run_predictions(folder)
    test = results.test
    said = (test.origins, test.known_images, test.unknown_images)
    if said != (predictions.origins, *map(len, predictions.answers)):
        raise DataError(
            f"{folder}: results.json and predictions.csv are not of the same run. Run it again."
        )
    robustness = folder / "robustness.json"
    return Run(
        folder,
        results,
        predictions,
        _read_map(folder / "embedding.csv"),
        _read_robustness(robustness) if robustness.is_file() else (),
    )


def read_low_data(folder: Path) -> tuple[LowDataPoint, ...]:
    """The fits in a folder that ``whichgen low-data`` wrote; :class:`DataError` if it is none."""
    return _parsed(folder / "lowdata.json", _LowData).points


def _read_robustness(file: Path) -> tuple[RobustnessPoint, ...]:
    return tuple(
        RobustnessPoint(
            parse_perturbation(point.perturbation) if point.perturbation else None,
            point.test,
            "",
            point.skipped,
        )
        for point in _parsed(file, _Robustness).points
    )


def _parsed(file: Path, kind: type[_Parsed]) -> _Parsed:
    record: Any = {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return kind.model_validate(record)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{file} is not there. Give the folder of a run of `whichgen linear`, `knn` or `fuse` "
            "(and for --low-data one of `whichgen low-data`)."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(
            f"{file} is not as whichgen {__version__} writes it ({where}: {first['msg']}); "
            f"{_made_by(record)}. Run it again, or report it with the version that wrote it."
        ) from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise DataError(f"{file} is damaged ({error}). Run it again.") from None


def _made_by(record: Any) -> str:
    made = record.get("run_metadata") if isinstance(record, Mapping) else None
    version = made.get("whichgen") if isinstance(made, Mapping) else None
    return f"whichgen {version} wrote it" if version else "it does not say which version wrote it"


def _read_map(file: Path) -> MapPoints | None:
    try:
        with file.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        points = np.array([[float(row["x"]), float(row["y"])] for row in rows]).reshape(-1, 2)
        paths, origins = (np.array([r[c] for r in rows], dtype=str) for c in ("path", "origin"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error!r}). Delete it, or run again.") from None
    return MapPoints(paths, origins, points) if rows else None
