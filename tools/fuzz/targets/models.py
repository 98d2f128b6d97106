"""Fuzz the reader of model folders."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from functools import cache
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from tools.fuzz.case_limits import enforce_limits, require
from tools.fuzz.choices import Choices, mutate
from tools.fuzz.fixtures import ENCODER, make_image, make_models
from tools.fuzz.targets.store import corrupt_header
from tools.fuzz.temporary_folders import make_folder
from whichgen.errors import FitError, ModelFileError, WhichgenError
from whichgen.inference.attributor import Attributor
from whichgen.models.model_card import create_model_card
from whichgen.models.saved_model import (
    DESCRIPTION_FILE,
    HEAD_FILE,
    load_model,
    save_model,
)

_ROOT = make_folder("models")
_FOLDER = _ROOT / "model"
_FOLDER.mkdir()
_IMAGES = [make_image(90), make_image(91)]
_DTYPES = ("<f4", "<f8", "<f2", "<i8", "<i4", "|u1", "|b1", "<u8", "|i1")
_FIELDS = (
    *("format", "origins", "encoder", "blocks", "head_method", "score_method"),
    *("hyperparameter", "temperature", "tpr"),
    *("threshold", "metrics", "run_metadata", "hierarchy", "data_hash", "name", "families", "real"),
)


@cache
def _list_model_files() -> list[tuple[str, bytes]]:
    files = []
    for model in make_models().values():
        save_model(model, _FOLDER)
        description = (_FOLDER / DESCRIPTION_FILE).read_text()
        files.append((description, (_FOLDER / HEAD_FILE).read_bytes()))
    return files


def seeds() -> list[bytes]:
    """Return decisions for every model, unchanged and mutated."""
    n = len(make_models())
    cases = [bytes([m, kind, *([k] * 10)]) for m in range(n) for kind in range(6) for k in (0, 7)]
    return [*cases, bytes(range(64)), bytes(range(255, 0, -1))]


def check(data: bytes) -> None:
    """Check that a model folder is loaded and gives valid answers, or is rejected."""
    choices = Choices(data)
    text, content = choices.choose(_list_model_files())
    kind = choices.draw_below(6)
    if kind == 0:
        raw = mutate(choices, text.encode())
    else:
        description = json.loads(text)
        if kind in (1, 4):
            _mutate_json(description, choices)
        if kind in (2, 4):
            content = _mutate_arrays(content, choices)
        elif kind == 3:
            content = corrupt_header(content, choices)
        elif kind == 5:
            content = mutate(choices, content)
        if description.get("head_digest") and (kind != 5 or choices.draw_below(2)):
            description["head_digest"] = hashlib.sha256(content).hexdigest()
        raw = json.dumps(description).encode()
        if choices.draw_below(64) == 1:
            depth = 500 * choices.draw_below(256)
            raw = raw[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"
    (_FOLDER / DESCRIPTION_FILE).write_bytes(raw)
    (_FOLDER / HEAD_FILE).write_bytes(content)
    with enforce_limits(_ROOT), np.errstate(all="ignore"):
        _check_model()


def _check_model() -> None:
    try:
        model = load_model(_FOLDER)
    except WhichgenError as error:
        require(isinstance(error, ModelFileError), f"a {type(error).__name__}")
        require("\n" not in str(error), "an error of several lines")
        return
    origins = model.origins
    require(len(origins) == len(set(origins)), "a duplicate origin")
    require(model.temperature > 0 and math.isfinite(model.temperature), "no temperature")
    require(not math.isnan(model.threshold), "no threshold")
    create_model_card(model).encode()
    try:
        attributor = Attributor(model, ENCODER)
    except ModelFileError:
        return
    try:
        answers = attributor.attribute(_IMAGES, nearest=3)
    except (ModelFileError, FitError):
        return  # the model is valid, but not for these images, or has no exemplars
    for answer in answers:
        total = sum(answer.probabilities.values())
        require(abs(total - 1) < 1e-6, f"probabilities sum to {total}")
        require(answer.score is not None and not math.isnan(answer.score), "no score")
        require(answer.origin in (*origins, "unknown"), f"the answer {answer.origin}")
        json.dumps(answer.as_dict()).encode()
    try:
        attributor.attribute(_IMAGES, coverage=0.9)
    except FitError:
        return
    exemplars = model.exemplars
    require(
        len(exemplars.labels) == len(exemplars.held_out) == len(exemplars.features), "exemplars"
    )
    require(len(exemplars.thumbnails) in (0, len(exemplars.labels)), "thumbnails")


def _mutate_json(value: Any, choices: Choices) -> None:
    """Change the JSON value at some places."""
    for _ in range(choices.draw_below(4)):
        place = value
        while True:
            if isinstance(place, dict):
                key: Any = choices.choose([*place, *_FIELDS])
                inner = place.get(key)
            else:
                key = choices.draw_below(len(place))
                inner = place[key]
            if not isinstance(inner, dict | list) or not inner or choices.draw_below(3) == 0:
                break
            place = inner
        if choices.draw_below(6) == 0 and isinstance(place, dict):
            place.pop(key, None)
        elif choices.draw_below(6) == 0:
            place[key] = [
                choices.choose(("real", "gan", "ldm", 0, 1)) for _ in range(choices.draw_below(5))
            ]
        else:
            place[key] = copy.deepcopy(choices.draw_value())


def _mutate_arrays(content: bytes, choices: Choices) -> bytes:
    """Return a valid safetensors file in which the arrays have other shapes, types and values."""
    arrays = dict(load(content))
    for _ in range(1 + choices.draw_below(3)):
        name = choices.choose(sorted(arrays))
        array = arrays[name].copy()
        kind = choices.draw_below(8)
        if kind == 0:
            del arrays[name]
            if not arrays:
                break
            continue
        if kind == 1:
            array = array.astype(choices.choose(_DTYPES))
        elif kind == 2 and array.size:
            flat = array.reshape(-1)
            new = choices.choose(
                (0, 1, -1, 2, 99, -(2**31), 2**31, 1e30, 1e308, np.nan, np.inf, -np.inf)
            )
            at = choices.draw_below(min(len(flat), 65_535))
            flat[at : at + 1 + choices.draw_below(4)] = np.float64(new).astype(array.dtype)
        elif kind == 3:
            array = array.reshape(-1)[: choices.draw_below(min(array.size, 65_535) + 1)]
        elif kind == 4:
            array = (
                array.reshape(choices.choose(((-1,), (1, -1), (-1, 1), (1, 1, -1))))
                if array.size
                else array
            )
        elif kind == 5:
            array = np.concatenate([array, array]) if array.ndim else array
        elif kind == 6:
            array = array[: choices.draw_below(min(len(array), 255) + 1)] if array.ndim else array
        else:
            array = np.ascontiguousarray(array.T)
        arrays[name] = np.ascontiguousarray(array)
        if choices.draw_below(16) == 1:
            arrays[
                choices.choose(("exemplars.thumbnails", "score.k", "99.bias", "gate.x", "weights"))
            ] = array
    return save(arrays)
