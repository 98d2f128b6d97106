"""The model folder: ``model.json`` says what it is, ``head.safetensors`` holds its arrays.

Among the arrays are features of some images that the model was fitted and chosen on, so that a new
origin can be enrolled without those images. Nothing in the folder is code or a pickle, so one from
a stranger can be read safely. The JSON carries the digest of the arrays: a folder cut in half by a
full disk or a broken copy is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from whichgen.constants import REAL, UNKNOWN
from whichgen.errors import FitError, ModelFileError
from whichgen.heads.base import Head
from whichgen.heads.methods import head_method
from whichgen.io.atomic import replace_file, write_text
from whichgen.io.untrusted import read_regular_file
from whichgen.models.validation import check_calibration, check_exemplars, check_finite, cut
from whichgen.openset.base import OpenSetScore
from whichgen.openset.hierarchy import Hierarchy, most_specific_answers, said_by
from whichgen.openset.prediction import predict
from whichgen.openset.registry import MAX_PROBABILITY, score_method
from whichgen.version import __version__

FORMAT = 4
DESCRIPTION_FILE = "model.json"
HEAD_FILE = "head.safetensors"

# Bytes of either file at most, so that a stranger's can't take all memory.
_MOST_DESCRIPTION, _MOST_ARRAYS = 2**26, 2**34

# The open-set score's arrays, beside the head's.
_SCORE_PREFIX = "score."
_CALIBRATION = ("calibration.probabilities", "calibration.labels")
_EXEMPLARS = ("exemplars.features", "exemplars.labels", "exemplars.held_out")
# All thumbnails one after the other, and how long each is.
_THUMBNAILS = ("exemplars.thumbnails", "exemplars.thumbnail_sizes")


@dataclass(frozen=True)
class Exemplars:
    """Features of some images that a model was fitted or chosen on.

    Parameters
    ----------
    features
        What the head reads of each image: float array (n, d), float16 where its range is enough.
    labels
        The index of each image's origin: int64 array (n,).
    held_out
        Whether it is a validation image, which the head was not fitted on: bool array (n,).
    thumbnails
        A small JPEG of each image, to show; empty where there is none, or for all of them ``()``.
    """

    features: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    thumbnails: tuple[bytes, ...] = ()

    def part(self, *, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
        """Features, float32 (m, d), and labels of the training or of the validation images."""
        rows = self.held_out == held_out
        return self.features[rows].astype(np.float32), self.labels[rows]


@dataclass(frozen=True)
class OriginModel:
    """A fitted head with all that is needed to ask it about a new image.

    Parameters
    ----------
    origins
        The known origins, in the order of the head's probabilities.
    encoder
        What :meth:`whichgen.encoders.base.Encoder.describe` said of the encoder.
    blocks
        The blocks, counted from 0, whose features the head reads side by side.
    head_method, value
        The head's kind (``linear``, ``knn``, ``fusion``) and its hyperparameter (C, k).
    score_name, score
        The open-set score, one of :data:`whichgen.openset.registry.SCORES`.
    temperature
        Logits are divided by it before the softmax; it changes no order of origins.
    calibration
        Probabilities (n, origins) and label indices (n,) of known validation images, from which
        prediction sets of any coverage follow (:mod:`whichgen.evaluation.conformal`).
    exemplars
        Features of some of the images it was fitted and chosen on.
    hierarchy
        Families of generators, and what makes an answer above a single one certain.
    threshold, tpr
        Open-set scores below the threshold are ``unknown``; it keeps at least the share ``tpr`` of
        known validation images.
    data_hash
        A digest of the images and origins that the model was fitted and chosen on.
    metrics
        Test figures, as JSON values.
    run_metadata
        What made the model (:func:`whichgen.io.run_metadata.collect_run_metadata`).
    """

    origins: tuple[str, ...]
    encoder: Mapping[str, Any]
    blocks: tuple[int, ...]
    head_method: str
    value: float
    head: Head
    threshold: float
    tpr: float
    data_hash: str
    metrics: Mapping[str, Any]
    run_metadata: Mapping[str, Any]
    score_name: str = "max_probability"
    score: OpenSetScore = MAX_PROBABILITY
    temperature: float = 1.0
    calibration: tuple[np.ndarray, np.ndarray] | None = None
    exemplars: Exemplars | None = None
    hierarchy: Hierarchy | None = None

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What features say: those of :attr:`blocks`, side by side, a float array (n, d).

        Returns
        -------
        probabilities, scores
            float64 arrays (n, origins) and (n,).
        """
        return predict(self.head, features, self.score, self.temperature)

    def most_specific_answers(self, features: np.ndarray, decided: np.ndarray) -> list[str]:
        """The most_specific_answers certain answer for features (n, d).

        ``decided``, int (n,), are the indices of the origins answered, -1 for ``unknown``
        (:func:`whichgen.openset.threshold.decide`).
        """
        if self.hierarchy is None:
            return [UNKNOWN if i < 0 else self.origins[i] for i in decided.tolist()]
        return most_specific_answers(
            said_by(self.head, features), decided, self.origins, self.hierarchy
        )


class _Encoder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    weights_hash: str
    preprocessing: dict[str, Any]
    dtype: str
    blocks: int


class _Levels(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    families: dict[str, str]
    synthetic: float | None
    real: float | None
    family: float | None


class _Enrolled(BaseModel):
    model_config = ConfigDict(extra="allow")
    origin: str


class _RunMetadata(BaseModel):
    # What else there is is for people to read; this much is asked for.
    model_config = ConfigDict(extra="allow")
    config: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    enrolled: list[_Enrolled] = []


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    format: int
    whichgen: str
    origins: tuple[str, ...]
    encoder: _Encoder
    blocks: tuple[int, ...]
    head: str
    parameter: str
    value: float
    score: str
    temperature: float = Field(gt=0)
    threshold: float
    tpr: float = Field(gt=0, le=1)
    data_hash: str
    metrics: dict[str, Any]
    run_metadata: _RunMetadata
    head_digest: str
    levels: _Levels | None = None


def save_model(
    model: OriginModel,
    folder: Path,
    *,
    before_description: Callable[[Mapping[str, bytes]], None] | None = None,
) -> Path:
    """Writes the model's two files into ``folder``, the description last; returns the folder.

    ``before_description`` is called with the description's name and content before it is written.
    """
    # safetensors writes an array's memory as it lies: one in Fortran's order (as scikit-learn's
    # weights are) would come back with its entries in other places.
    arrays = model.head.tensors() | {
        _SCORE_PREFIX + name: array for name, array in model.score.tensors().items()
    }
    if model.calibration:
        arrays |= dict(zip(_CALIBRATION, model.calibration, strict=True))
    if model.exemplars:
        kept = model.exemplars
        arrays |= dict(zip(_EXEMPLARS, (kept.features, kept.labels, kept.held_out), strict=True))
        if kept.thumbnails:
            joined = np.frombuffer(b"".join(kept.thumbnails), dtype=np.uint8)
            sizes = np.array([len(t) for t in kept.thumbnails], dtype=np.int64)
            arrays |= dict(zip(_THUMBNAILS, (joined, sizes), strict=True))
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    description = _Description(
        format=FORMAT,
        whichgen=__version__,
        origins=model.origins,
        encoder=_Encoder(**model.encoder),
        blocks=model.blocks,
        head=model.head_method,
        parameter=head_method(model.head_method).parameter,
        value=model.value,
        score=model.score_name,
        temperature=model.temperature,
        threshold=model.threshold,
        tpr=model.tpr,
        data_hash=model.data_hash,
        metrics=dict(model.metrics),
        run_metadata=_RunMetadata(**model.run_metadata),
        head_digest=_digest(content),
        levels=_Levels(**vars(model.hierarchy)) if model.hierarchy else None,
    )
    with replace_file(folder / HEAD_FILE) as temporary:
        temporary.write_bytes(content)
    text = description.model_dump_json(indent=1, exclude_unset=True) + "\n"
    if before_description:
        before_description({DESCRIPTION_FILE: text.encode()})
    write_text(folder / DESCRIPTION_FILE, text)
    return folder


def find_model(path: Path) -> Path:
    """The model folder: ``path`` itself, or ``path/model`` if ``path`` is a run's folder."""
    for folder in (path, path / "model"):
        if (folder / DESCRIPTION_FILE).is_file():
            return folder
    raise ModelFileError(
        f"{path} holds no model ({DESCRIPTION_FILE}). Give the folder that `whichgen linear` or "
        "`whichgen knn` wrote, e.g. output/linear-probe/….",
    )


def model_digest(path: Path) -> str:
    """64 hex digits by which the model in a folder is known."""
    return _digest((find_model(path) / DESCRIPTION_FILE).read_bytes())


def load_model(path: Path) -> OriginModel:
    """Reads a model folder, or the model in a run's folder.

    Raises
    ------
    ModelFileError
        There is none, it is damaged, or another version of whichgen is needed to read it.
    """
    folder = find_model(path)
    try:
        text = read_regular_file(folder / DESCRIPTION_FILE, _MOST_DESCRIPTION).decode()
        version = json.loads(text)["format"]
    except OSError as error:
        raise _damaged(folder, f"{DESCRIPTION_FILE} can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # also of numbers and lists without an end
        raise _damaged(folder, f"{DESCRIPTION_FILE} is cut or changed: {error}") from None
    except (KeyError, TypeError):
        raise _damaged(folder, f"{DESCRIPTION_FILE} does not state a format") from None
    if version != FORMAT:
        raise ModelFileError(
            f"{folder} has model format {version!r}; whichgen {__version__} reads format {FORMAT}. "
            "Install the version of whichgen that wrote it, or fit the model anew."
        )
    try:
        description = _Description.model_validate_json(text)
        content = read_regular_file(folder / HEAD_FILE, _MOST_ARRAYS)
        if _digest(content) != description.head_digest:
            raise _damaged(folder, f"{HEAD_FILE} is not what {DESCRIPTION_FILE} says it is")
        method = head_method(description.head)
        n_origins = len(description.origins)
        _check_origins(description)
        arrays = load(content)
        check_finite(arrays)
        head = method.restore(arrays, n_origins, description.value)
        score = score_method(description.score).restore(
            {
                name.removeprefix(_SCORE_PREFIX): array
                for name, array in arrays.items()
                if name.startswith(_SCORE_PREFIX)
            }
        )
        calibration = None
        if _CALIBRATION[0] in arrays:
            calibration = arrays[_CALIBRATION[0]], arrays[_CALIBRATION[1]]
            check_calibration(*calibration, n_origins)
        exemplars = _exemplars(arrays) if _EXEMPLARS[0] in arrays else None
        if exemplars is not None:
            check_exemplars(exemplars, n_origins)
    except FileNotFoundError:
        raise _damaged(folder, f"{HEAD_FILE} is missing") from None
    except OSError as error:
        raise _damaged(folder, f"{HEAD_FILE} can't be read ({error.strerror})") from None
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _damaged(folder, f"{DESCRIPTION_FILE}: {'; '.join(wrong)}") from None
    except KeyError as error:
        raise _damaged(folder, f"{HEAD_FILE} has no {error}") from None
    except (SafetensorError, FitError) as error:
        raise _damaged(folder, str(error)) from None
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        # Arrays of other types and shapes than a head's or a score's.
        raise _damaged(folder, f"{HEAD_FILE}: {' '.join(str(error).split())[:200]}") from None
    if not description.blocks or not all(
        0 <= block < description.encoder.blocks for block in description.blocks
    ):
        raise _damaged(
            folder,
            f"{DESCRIPTION_FILE} names the blocks {list(description.blocks)} of an encoder of "
            f"{description.encoder.blocks}",
        )
    return OriginModel(
        origins=description.origins,
        encoder=description.encoder.model_dump(),
        blocks=description.blocks,
        head_method=description.head,
        value=description.value,
        head=head,
        threshold=description.threshold,
        tpr=description.tpr,
        data_hash=description.data_hash,
        metrics=description.metrics,
        run_metadata=description.run_metadata.model_dump(exclude_unset=True),
        score_name=description.score,
        score=score,
        temperature=description.temperature,
        calibration=calibration,
        exemplars=exemplars,
        hierarchy=Hierarchy(**description.levels.model_dump()) if description.levels else None,
    )


def _exemplars(arrays: Mapping[str, np.ndarray]) -> Exemplars:
    features, labels, held_out = (arrays[name] for name in _EXEMPLARS)
    if _THUMBNAILS[0] not in arrays:
        return Exemplars(features, labels, held_out)
    return Exemplars(features, labels, held_out, cut(*(arrays[name] for name in _THUMBNAILS)))


def _check_origins(description: _Description) -> None:
    origins = description.origins
    if len(set(origins)) < max(2, len(origins)) or UNKNOWN in origins:
        raise FitError(f"{len(origins)} origins, of which two at least must be known by their name")
    families = description.levels.families if description.levels else dict.fromkeys(origins, "")
    if lost := set(origins) - families.keys() - {REAL}:
        raise FitError(f"{sorted(lost)[0]!r} has no family")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(folder: Path, why: str) -> ModelFileError:
    return ModelFileError(f"{folder} is damaged: {why}. Copy the folder anew, or fit again.")
