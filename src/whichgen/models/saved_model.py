"""Save and load model folders: ``model.json`` (description) and ``head.safetensors`` (arrays).

Nothing in a model folder is code or a pickle, so an untrusted folder can be loaded safely. The
description holds the digest of the arrays: a folder truncated by a full disk or an incomplete copy
is rejected. A model card (``README.md``) and checksums (``SHA256SUMS``) are written with the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from whichgen.constants import REAL, UNKNOWN
from whichgen.errors import FitError, ModelFileError
from whichgen.heads.methods import head_method
from whichgen.io.atomic import replace_file, write_text
from whichgen.io.files import read_regular_file
from whichgen.models.card import CARD_FILE, model_card
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.models.signatures import resolve_key, verify_signature, write_checksums
from whichgen.models.validation import (
    check_calibration,
    check_exemplars,
    check_finite,
    split_bytes,
)
from whichgen.openset.hierarchy import Hierarchy
from whichgen.openset.registry import score_method
from whichgen.version import __version__

FORMAT = 5
DESCRIPTION_FILE = "model.json"
HEAD_FILE = "head.safetensors"

# Limits in bytes, so that an untrusted file cannot exhaust the memory.
_MAX_DESCRIPTION_BYTES, _MAX_ARRAY_BYTES = 2**26, 2**34

_SCORE_PREFIX = "score."
_CALIBRATION = ("calibration.probabilities", "calibration.labels", "calibration.scores")
_EXEMPLARS = ("exemplars.features", "exemplars.labels", "exemplars.held_out")
# All thumbnails concatenated, and the size of each.
_THUMBNAILS = ("exemplars.thumbnails", "exemplars.thumbnail_sizes")


class _Encoder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    weights_hash: str
    preprocessing: dict[str, Any]
    dtype: str
    blocks: int


class _Hierarchy(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    families: dict[str, str]
    synthetic: float | None
    real: float | None
    family: float | None


class _Enrollment(BaseModel):
    model_config = ConfigDict(extra="allow")
    origin: str


class _RunMetadata(BaseModel):
    # Everything else is for people to read; the program reads only these fields.
    model_config = ConfigDict(extra="allow")
    config: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    enrolled: list[_Enrollment] = []


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    format: int
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
    hierarchy: _Hierarchy | None = None


def save_model(model: OriginModel, folder: Path, *, name: str = "") -> Path:
    """Write a model folder: arrays, model card, checksums and, last, the description.

    Parameters
    ----------
    name
        The path or hub id that the card tells readers to load; empty: the folder.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    arrays = model.head.tensors() | {
        _SCORE_PREFIX + key: array for key, array in model.score.tensors().items()
    }
    if model.calibration:
        arrays |= {f"calibration.{key}": array for key, array in vars(model.calibration).items()}
    if model.exemplars:
        exemplars = model.exemplars
        arrays |= {key: getattr(exemplars, key.partition(".")[2]) for key in _EXEMPLARS}
        if exemplars.thumbnails:
            content = np.frombuffer(b"".join(exemplars.thumbnails), dtype=np.uint8)
            sizes = np.array([len(t) for t in exemplars.thumbnails], dtype=np.int64)
            arrays |= dict(zip(_THUMBNAILS, (content, sizes), strict=True))
    # safetensors writes memory in its physical order: Fortran-ordered arrays (scikit-learn's
    # weights) would come back permuted.
    data = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    description = _Description(
        format=FORMAT,
        whichgen=__version__,
        origins=model.origins,
        encoder=_Encoder(**model.encoder),
        blocks=model.blocks,
        head_method=model.head_method,
        hyperparameter=model.hyperparameter,
        score_method=model.score_method,
        temperature=model.temperature,
        threshold=model.threshold,
        tpr=model.tpr,
        data_hash=model.data_hash,
        metrics=dict(model.metrics),
        run_metadata=_RunMetadata(**model.run_metadata),
        head_digest=hashlib.sha256(data).hexdigest(),
        hierarchy=_Hierarchy(**vars(model.hierarchy)) if model.hierarchy else None,
    )
    text = description.model_dump_json(indent=1, exclude_unset=True) + "\n"
    with replace_file(folder / HEAD_FILE) as temporary:
        temporary.write_bytes(data)
    write_text(folder / CARD_FILE, model_card(model, name or str(folder)))
    write_checksums(folder, {DESCRIPTION_FILE: text.encode()})
    write_text(folder / DESCRIPTION_FILE, text)
    return folder


def find_model_folder(path: Path) -> Path:
    """Return ``path`` or, if it is the folder of a run, ``path/model``."""
    for folder in (path, path / "model"):
        if (folder / DESCRIPTION_FILE).is_file():
            return folder
    raise ModelFileError(
        f"no model found in {path} ({DESCRIPTION_FILE} is missing). Give the output folder of "
        "`whichgen linear`, `whichgen knn` or `whichgen fuse`."
    )


def description_digest(path: Path) -> str:
    """Return the SHA-256 of a model's description, which identifies the saved model: 64 digits."""
    return hashlib.sha256((find_model_folder(path) / DESCRIPTION_FILE).read_bytes()).hexdigest()


def load_model(path: str | Path, *, key: str | Path | None = None) -> OriginModel:
    """Load a model folder, or the model in the folder of a run.

    Parameters
    ----------
    key
        A public key (PEM): a folder that is not signed with it is rejected. ``None``: the key
        named by the environment variable ``WHICHGEN_VERIFY_KEY``, if it is set.

    Raises
    ------
    ModelFileError
        There is no model, it is damaged, its format is not supported, or its signature is not
        valid.

    Examples
    --------
    >>> model = load_model("output/my-run")  # doctest: +SKIP
    >>> model.origins  # doctest: +SKIP
    ('real', 'dalle2', 'midjourney')
    """
    folder = find_model_folder(Path(path))
    if required := resolve_key(key):
        verify_signature(folder, required)
    try:
        text = read_regular_file(folder / DESCRIPTION_FILE, _MAX_DESCRIPTION_BYTES).decode()
        version = json.loads(text)["format"]
    except OSError as error:
        raise _damaged(folder, f"{DESCRIPTION_FILE} can't be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # RecursionError: deeply nested JSON
        raise _damaged(folder, f"{DESCRIPTION_FILE} is not valid: {error}") from None
    except (KeyError, TypeError):
        raise _damaged(folder, f"{DESCRIPTION_FILE} does not state a format") from None
    if version != FORMAT:
        raise ModelFileError(
            f"{folder} has model format {version!r}, but whichgen {__version__} reads format "
            f"{FORMAT}. Install the version of whichgen that wrote it, or fit the model again."
        )
    try:
        description = _Description.model_validate_json(text)
        data = read_regular_file(folder / HEAD_FILE, _MAX_ARRAY_BYTES)
        if hashlib.sha256(data).hexdigest() != description.head_digest:
            raise _damaged(folder, f"{HEAD_FILE} does not match its digest in {DESCRIPTION_FILE}")
        return _restore(description, load(data))
    except FileNotFoundError:
        raise _damaged(folder, f"{HEAD_FILE} is missing") from None
    except OSError as error:
        raise _damaged(folder, f"{HEAD_FILE} can't be read ({error.strerror})") from None
    except ValidationError as error:
        details = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _damaged(folder, f"{DESCRIPTION_FILE}: {'; '.join(details)}") from None
    except KeyError as error:
        raise _damaged(folder, f"{HEAD_FILE} has no {error}") from None
    except (SafetensorError, FitError) as error:
        raise _damaged(folder, str(error)) from None
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        # Arrays whose dtypes and shapes are not those of a head or a score.
        raise _damaged(folder, f"{HEAD_FILE}: {' '.join(str(error).split())[:200]}") from None


def _restore(description: _Description, arrays: Mapping[str, np.ndarray]) -> OriginModel:
    n_origins = len(description.origins)
    _check_description(description)
    check_finite(arrays)
    score_arrays = {
        name.removeprefix(_SCORE_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(_SCORE_PREFIX)
    }
    calibration = exemplars = None
    if _CALIBRATION[0] in arrays:
        calibration = Calibration(*(arrays[name] for name in _CALIBRATION))
        check_calibration(calibration, n_origins)
    if _EXEMPLARS[0] in arrays:
        thumbnails: tuple[bytes, ...] = ()
        if _THUMBNAILS[0] in arrays:
            thumbnails = split_bytes(*(arrays[name] for name in _THUMBNAILS))
        features, labels, held_out = (arrays[name] for name in _EXEMPLARS)
        exemplars = Exemplars(features, labels, held_out, thumbnails)
        check_exemplars(exemplars, n_origins)
    return OriginModel(
        origins=description.origins,
        encoder=description.encoder.model_dump(),
        blocks=description.blocks,
        head_method=description.head_method,
        hyperparameter=description.hyperparameter,
        head=head_method(description.head_method).restore(
            arrays, n_origins, description.hyperparameter
        ),
        threshold=description.threshold,
        tpr=description.tpr,
        data_hash=description.data_hash,
        metrics=description.metrics,
        run_metadata=description.run_metadata.model_dump(exclude_unset=True),
        score_method=description.score_method,
        score=score_method(description.score_method).score.restore(score_arrays),
        temperature=description.temperature,
        calibration=calibration,
        exemplars=exemplars,
        hierarchy=Hierarchy(**description.hierarchy.model_dump())
        if description.hierarchy
        else None,
    )


def _check_description(description: _Description) -> None:
    origins, n_blocks = description.origins, description.encoder.blocks
    if len(origins) < 2 or len(set(origins)) < len(origins) or UNKNOWN in origins:
        raise FitError(f"{list(origins)} are not at least two different known origins")
    if description.hierarchy:
        missing = set(origins) - description.hierarchy.families.keys() - {REAL}
        if missing:
            raise FitError(f"{min(missing)!r} has no family")
    if not description.blocks or not all(0 <= block < n_blocks for block in description.blocks):
        raise FitError(f"blocks {list(description.blocks)} of an encoder with {n_blocks} blocks")


def _damaged(folder: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        f"{folder} is damaged: {reason}. Copy the folder again, or fit the model again."
    )
