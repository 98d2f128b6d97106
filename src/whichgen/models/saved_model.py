"""Save and load model folders: ``model.json`` (description) and ``head.safetensors`` (arrays).

A model folder contains no code and no pickles, so an untrusted folder can be loaded safely.
``model.json`` contains the SHA-256 of ``head.safetensors``, so a truncated or incomplete copy is
rejected. A model card (``README.md``) and checksums (``SHA256SUMS``) are written with the model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from whichgen.constants import REAL, UNKNOWN
from whichgen.data.images.reliability_traits import TrainingSizes
from whichgen.errors import FitError, ModelFileError
from whichgen.evaluation.training_sources import SourceOverlap, TrainingSources
from whichgen.heads.method_registry import make_head_method
from whichgen.io.atomic_writes import is_permission_error, replace_file, write_text
from whichgen.io.untrusted_files import read_regular_file
from whichgen.models.array_validation import (
    check_calibration,
    check_exemplars,
    check_finite,
    split_bytes,
)
from whichgen.models.model_card import CARD_FILE, create_model_card
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.models.signatures import KEY_VARIABLE, verify_signature, write_checksums
from whichgen.openset.hierarchy import Hierarchy
from whichgen.openset.score_registry import get_score_class
from whichgen.version import __version__

#: Version of the format of model folders. Folders with another version are rejected.
FORMAT = 5

#: Names of the files in a model folder.
DESCRIPTION_FILE = "model.json"
HEAD_FILE = "head.safetensors"

# Maximum file sizes in bytes, so that an untrusted file can't exhaust the memory.
_MAX_DESCRIPTION_BYTES, _MAX_ARRAY_BYTES = 2**26, 2**34


class _Format(BaseModel):
    format: int


class _Encoder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    weights_hash: str
    preprocessing: dict[str, Any]
    dtype: str
    blocks: int


class _Enrollment(BaseModel):
    model_config = ConfigDict(extra="allow")
    origin: str


class _RunMetadata(BaseModel):
    # whichgen reads only these fields. All other fields are for people.
    model_config = ConfigDict(extra="allow")
    config: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    enrolled: list[_Enrollment] = []
    training_sources: TrainingSources | None = None
    test_sources: SourceOverlap | None = None
    training_sizes: TrainingSizes | None = None


class _Description(_Format):
    """Fields of ``model.json``.

    These are the fields of :class:`OriginModel` that contain no arrays, the version of the format,
    the version of whichgen that wrote the file, and the SHA-256 of ``head.safetensors``.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    whichgen: str
    origins: tuple[str, ...]
    encoder: _Encoder
    blocks: tuple[int, ...]
    head_method: str
    hyperparameter: float
    score_method: str
    temperature: float = Field(gt=0)
    threshold: float
    tpr: float = Field(gt=0, le=1)
    data_hash: str
    metrics: dict[str, Any]
    run_metadata: _RunMetadata
    head_digest: str
    hierarchy: Hierarchy


def save_model(model: OriginModel, folder: Path, *, name: str = "") -> Path:
    """Write a model folder: arrays, model card, description and checksums.

    Parameters
    ----------
    model
        The model to save.
    folder
        Path of the model folder, which is created if it does not exist. An existing model in it is
        replaced; an existing signature (``model.sig``) is kept, but does not match the new model.
    name
        Path of the model folder or hub repository ``owner/name``, for the code example of the card;
        default: ``folder``.

    Returns
    -------
    pathlib.Path
        ``folder``.

    Raises
    ------
    OSError
        The folder can't be written.
    """
    exemplars = dict(vars(model.exemplars))
    if thumbnails := exemplars.pop("thumbnails"):
        exemplars["thumbnails"] = np.frombuffer(b"".join(thumbnails), dtype=np.uint8)
        exemplars["thumbnail_sizes"] = np.array([len(t) for t in thumbnails], dtype=np.int64)
    arrays = (
        model.head.tensors()
        | {f"score.{name}": array for name, array in model.score.tensors().items()}
        | {
            f"calibration.{name}": array
            for name, array in vars(model.calibration).items()
            if array is not None
        }
        | {f"exemplars.{name}": array for name, array in exemplars.items()}
    )
    # safetensors writes arrays in memory order. Without the conversion, Fortran-ordered arrays,
    # such as scikit-learn's weights, would be loaded with permuted values.
    data = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    description = _Description(
        **{key: value for key, value in vars(model).items() if key in _Description.model_fields},
        format=FORMAT,
        whichgen=__version__,
        head_digest=hashlib.sha256(data).hexdigest(),
    )
    text = description.model_dump_json(indent=1, exclude_unset=True) + "\n"
    with replace_file(folder / HEAD_FILE) as temporary:
        temporary.write_bytes(data)
    write_text(folder / CARD_FILE, create_model_card(model, name or str(folder)))
    write_checksums(folder, {DESCRIPTION_FILE: text.encode()})
    # Write the description last, so that a new folder that contains it is complete.
    write_text(folder / DESCRIPTION_FILE, text)
    return folder


def find_model_folder(path: Path) -> Path:
    """Return ``path`` if it is a model folder, or ``path/model`` if it is a run folder.

    Raises
    ------
    ModelFileError
        Neither ``path`` nor ``path/model`` contains ``model.json``.
    """
    for folder in (path, path / "model"):
        if (folder / DESCRIPTION_FILE).is_file():
            return folder
    raise ModelFileError(
        f"no model found in {path} ({DESCRIPTION_FILE} is missing). Use the run folder of "
        f"`whichgen linear`, `whichgen knn` or `whichgen fuse`{suggest_runs(path)}."
    )


def suggest_runs(folder: Path) -> str:
    """Suggest up to three run folders in ``folder`` or its subfolders, for an error message.

    Return a string such as ``, e.g. output/a or output/b``, or an empty string if there are none.
    """
    runs = islice(folder.rglob(f"model/{DESCRIPTION_FILE}"), 3)
    text = " or ".join(sorted(str(file.parents[1]) for file in runs))
    return text and f", e.g. {text}"


def hash_description(path: Path) -> str:
    """Return the SHA-256 of ``model.json`` (64 hex digits), which identifies a saved model.

    ``path`` is a model folder or a run folder.

    Raises
    ------
    ModelFileError
        ``path`` contains no model.
    OSError
        ``model.json`` can't be read.
    """
    return hashlib.sha256((find_model_folder(path) / DESCRIPTION_FILE).read_bytes()).hexdigest()


def load_model(path: str | Path, *, key: str | Path | None = None) -> OriginModel:
    """Load a model, after verifying its signature if a public key is set.

    Parameters
    ----------
    path
        A model folder or a run folder.
    key
        PEM file of the public key that must verify the signature of the model folder; default: the
        file named by the environment variable ``WHICHGEN_VERIFY_KEY``. Without either, the
        signature is not verified.

    Raises
    ------
    ModelFileError
        The folder contains no model, its signature can't be verified with the key, its format is
        not supported, or it is damaged or unreadable.

    Examples
    --------
    >>> model = load_model("output/my-run")  # doctest: +SKIP
    >>> model.origins  # doctest: +SKIP
    ('real', 'dalle2', 'midjourney')
    """
    folder = find_model_folder(Path(path))
    if public_key := key or os.environ.get(KEY_VARIABLE):
        verify_signature(folder, Path(public_key))
    try:
        text = _read_file(folder, DESCRIPTION_FILE, _MAX_DESCRIPTION_BYTES)
        version = _Format.model_validate_json(text).format
        if version != FORMAT:
            raise ModelFileError(
                f"{folder} has model format {version}, but whichgen {__version__} reads format "
                f"{FORMAT}. Install the version of whichgen that saved the model, or fit the model "
                "again."
            )
        description = _Description.model_validate_json(text)
        data = _read_file(folder, HEAD_FILE, _MAX_ARRAY_BYTES)
        if hashlib.sha256(data).hexdigest() != description.head_digest:
            raise _make_damage_error(
                folder, f"{HEAD_FILE} does not match its digest in {DESCRIPTION_FILE}"
            )
        return _restore(description, load(data))
    except ValidationError as error:
        details = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        reason = "; ".join(detail.removeprefix(": ") for detail in details)
        raise _make_damage_error(folder, f"{DESCRIPTION_FILE}: {reason}") from None
    except KeyError as error:
        raise _make_damage_error(folder, f"{HEAD_FILE} has no array {error}") from None
    except (SafetensorError, FitError) as error:
        raise _make_damage_error(folder, str(error)) from None
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        # Heads and scores raise these errors for arrays of wrong dtypes, shapes or values.
        raise _make_damage_error(
            folder, f"{HEAD_FILE}: {' '.join(str(error).split())[:200]}"
        ) from None


def _read_file(folder: Path, name: str, max_bytes: int) -> bytes:
    """Read a file of a model folder; convert errors to :class:`ModelFileError`."""
    try:
        return read_regular_file(folder / name, max_bytes)
    except OSError as error:
        if is_permission_error(error):
            raise ModelFileError(
                f"{folder / name} can't be read ({error.strerror}). Check its permissions."
            ) from None
        raise _make_damage_error(folder, f"{name} can't be read ({error.strerror})") from None


def _restore(description: _Description, arrays: Mapping[str, np.ndarray]) -> OriginModel:
    """Build the model from its description and arrays, and validate both.

    If they are invalid, raise :class:`FitError` or an error of Python or NumPy.
    """
    n_origins = len(description.origins)
    _check_description(description)
    check_finite(arrays)
    score_arrays = {
        name.removeprefix("score."): array
        for name, array in arrays.items()
        if name.startswith("score.")
    }
    calibration = Calibration(
        arrays["calibration.probabilities"],
        arrays["calibration.labels"],
        arrays["calibration.scores"],
        arrays.get("calibration.sources"),
    )
    check_calibration(calibration, n_origins)
    exemplars = Exemplars(
        arrays["exemplars.features"],
        arrays["exemplars.labels"],
        arrays["exemplars.held_out"],
        split_bytes(arrays["exemplars.thumbnails"], arrays["exemplars.thumbnail_sizes"])
        if "exemplars.thumbnails" in arrays
        else (),
    )
    check_exemplars(exemplars, n_origins)
    method = make_head_method(description.head_method)
    names = {field.name for field in fields(OriginModel)} - {"hierarchy"}
    values = description.model_dump(include=names, exclude_unset=True)
    return OriginModel(
        **values,
        head=method.restore(arrays, n_origins, description.hyperparameter),
        score=get_score_class(description.score_method).restore(score_arrays),
        calibration=calibration,
        exemplars=exemplars,
        hierarchy=description.hierarchy,
    )


def _check_description(description: _Description) -> None:
    """Raise :class:`FitError` if the origins, families or blocks are invalid."""
    origins, n_blocks = description.origins, description.encoder.blocks
    if len(origins) < 2 or len(set(origins)) < len(origins) or UNKNOWN in origins:
        raise FitError(
            f"origins must be at least two different names other than {UNKNOWN!r}, not "
            f"{list(origins)}"
        )
    if origins_without_family := {*origins} - {*description.hierarchy.families, REAL}:
        raise FitError(f"the origin {min(origins_without_family)!r} has no family")
    if not description.blocks or not all(0 <= block < n_blocks for block in description.blocks):
        raise FitError(
            f"blocks must be one or more indices from 0 to {n_blocks - 1}, not "
            f"{list(description.blocks)}"
        )


def _make_damage_error(folder: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        f"{folder} is damaged: {reason.rstrip('.')}. Copy the folder again, or fit the model again."
    )
