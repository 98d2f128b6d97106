"""Malicious model folders: each gives one clear error or a usable model."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load, save

from whichgen.encoders.encoder import Encoder
from whichgen.errors import GalleryError, ModelFileError
from whichgen.gallery.gallery_description import GALLERY_FILE, read_description
from whichgen.heads.fusion import FusionMethod
from whichgen.inference.attributor import Attributor
from whichgen.models.array_validation import predict_and_validate
from whichgen.models.origin_model import Calibration, Exemplars, OriginModel
from whichgen.models.saved_model import (
    DESCRIPTION_FILE,
    HEAD_FILE,
    load_model,
    save_model,
)
from whichgen.openset.score_registry import SCORES

Arrays = dict[str, np.ndarray]


@pytest.fixture
def folder(models: dict[str, OriginModel], tmp_path: Path) -> Path:
    """The folder of a linear model with a score, exemplars, thumbnails and calibration data."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 32)).astype(np.float32)
    labels = np.arange(12) % 3
    model = models["linear"]
    score = SCORES["nearest"].fit(model.head.forward(features), labels, 3)
    exemplars = Exemplars(
        features, labels, np.arange(12) % 2 == 1, tuple(b"x" * i for i in range(12))
    )
    probabilities = model.head.forward(features).probabilities
    model = replace(
        model,
        score_method="nearest",
        score=score,
        exemplars=exemplars,
        calibration=Calibration(probabilities, labels, probabilities.max(axis=1)),
    )
    return save_model(model, tmp_path / "model")


def rewrite(folder: Path, change: Callable[[Arrays], Any] | None = None, **values: Any) -> None:
    """Change arrays and fields, and update the digest."""
    arrays = dict(load((folder / HEAD_FILE).read_bytes()))
    if change:
        change(arrays)
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    (folder / HEAD_FILE).write_bytes(content)
    file = folder / DESCRIPTION_FILE
    values["head_digest"] = hashlib.sha256(content).hexdigest()
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def assert_rejected(folder: Path, message: str) -> None:
    with pytest.raises(ModelFileError, match=rf"is damaged: .*{message}") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_unchanged_folder_loads(folder: Path, encoder: Encoder) -> None:
    rewrite(folder)
    (answer,) = Attributor(load_model(folder), encoder).attribute([Image.new("RGB", (40, 40))])
    assert answer.origin


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"format": 5, "a": ' * 20_000,
        b'{"format": ' + b"9" * 5000 + b"}",
        b"\xff",
        b'{"format": 5, "origins": ["\\ud800"]}',
    ],
    ids=["lists", "objects", "number", "bytes", "surrogate"],
)
def test_malformed_json_is_reported(folder: Path, text: bytes) -> None:
    (folder / DESCRIPTION_FILE).write_bytes(text)
    assert_rejected(folder, DESCRIPTION_FILE)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "huge"])
def test_special_files_are_rejected_at_once(folder: Path, kind: str) -> None:
    place = folder / HEAD_FILE
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    else:
        with place.open("wb") as holes:
            holes.truncate(2**41)
    assert_rejected(folder, "can't be read")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"origins": ["real", "real", "gan"]}, "at least two different names"),
        ({"origins": ["real"]}, "at least two different names"),
        ({"origins": ["real", "gan", "unknown"]}, "at least two different names"),
        ({"temperature": 0}, "temperature: "),
        ({"temperature": float("nan")}, "temperature: "),
        ({"threshold": float("inf")}, "threshold: "),
        ({"tpr": 0}, "tpr: "),
        ({"hyperparameter": float("nan")}, "hyperparameter: "),
        ({"run_metadata": {"config": "x"}}, "run_metadata.config: "),
        ({"run_metadata": {"enrolled": [{}]}}, "run_metadata.enrolled.0.origin: "),
        ({"hierarchy": None}, "hierarchy: "),
        ({"hierarchy": {"families": {}, "synthetic": "high"}}, "hierarchy.synthetic: "),
        ({"hierarchy": {"families": {}, "synthetic": 0, "real": 0, "family": 0}}, "has no family"),
    ],
    ids=str,
)
def test_invalid_fields_are_reported(folder: Path, values: dict[str, Any], message: str) -> None:
    rewrite(folder, **values)
    assert_rejected(folder, message)


def test_more_neighbors_than_exemplars_are_rejected(
    models: dict[str, OriginModel], tmp_path: Path
) -> None:
    # Every search would allocate memory for that many neighbors.
    folder = save_model(models["knn"], tmp_path)
    for value in (0, 25, 2.0**40, -1):
        rewrite(folder, hyperparameter=value)
        assert_rejected(folder, "k must be from 1 to 24, the number of training images")


_SIZES, _PICTURES = "exemplars.thumbnail_sizes", "exemplars.thumbnails"


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("score.k", np.array([2**40]), "k must be from 1 to"),
        ("score.k", np.array([0]), "k must be from 1 to"),
        ("score.k", np.array([1, 2]), HEAD_FILE),
        (_SIZES, np.full(12, -1), "the array of thumbnails or of their sizes"),
        (
            _SIZES,
            np.array([2**63 - 1, 2**63 - 1, 68, *[0] * 9]),
            "the array of thumbnails or of their sizes",
        ),
        (_SIZES, np.arange(12).astype(np.float32), "the array of thumbnails or of their sizes"),
        (_SIZES, np.array([66]), "1 thumbnails, expected 12"),
        (_PICTURES, np.zeros(66), "the array of thumbnails or of their sizes"),
        (_PICTURES, np.zeros(65, np.uint8), "the array of thumbnails or of their sizes"),
        ("exemplars.labels", np.full(12, 3), "labels must be from 0 to 2"),
        ("exemplars.labels", np.full(12, -1), "labels must be from 0 to 2"),
        ("exemplars.labels", np.zeros(12, np.float32), "exemplar labels have dtype float32"),
        ("exemplars.held_out", np.zeros(12, np.int64), "held_out flags have dtype int64"),
        ("exemplars.features", np.zeros((11, 32), np.float32), "exemplar features have dtype"),
        ("exemplars.features", np.zeros(12, np.float32), "exemplar features have dtype"),
        ("exemplars.features", np.full((12, 32), np.nan, np.float32), "NaN or infinity"),
        ("calibration.labels", np.full(12, 9), "labels must be from 0 to 2"),
        ("calibration.probabilities", np.full((12, 3), 2.0), "not between 0 and 1"),
        ("calibration.probabilities", np.full((12, 2), 0.5), "probabilities have dtype"),
        ("calibration.scores", np.zeros(11), "calibration scores have dtype"),
        ("calibration.sources", np.zeros(11, np.int64), "calibration sources have dtype"),
        ("bias", np.array([np.inf, 0, 0]), "bias contains NaN or infinity"),
    ],
    ids=str,
)
def test_inconsistent_arrays_are_reported(
    folder: Path, name: str, array: np.ndarray, message: str
) -> None:
    rewrite(folder, lambda arrays: arrays.update({name: array}))
    assert_rejected(folder, message)


@pytest.mark.parametrize("name", ["exemplars.features", _SIZES, "calibration.labels", "weights"])
def test_missing_array_is_named(folder: Path, name: str) -> None:
    rewrite(folder, lambda arrays: arrays.pop(name))
    assert_rejected(folder, f"has no array '{name}'")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("weights", np.zeros((3, 31))),
        ("weights", np.zeros((2, 32))),
        ("weights", np.zeros(32)),
        ("bias", np.zeros(2)),
        ("bias", np.zeros((3, 3))),
        ("bias", np.zeros((2, 3))),
        ("bias", np.zeros((1, 1, 3))),
        ("bias", np.full(3, 1e308)),
        ("score.exemplars", np.zeros((12, 31), np.float32)),
        ("score.exemplars", np.zeros((12, 32), np.float64)),
    ],
    ids=str,
)
def test_unusable_model_is_rejected_before_it_is_used(
    folder: Path, encoder: Encoder, name: str, array: np.ndarray
) -> None:
    def change(arrays: Arrays) -> None:
        arrays[name] = array
        if name == "bias" and array.ndim == 1 and array[0] > 1:
            arrays["weights"] = np.full((3, 32), 1e308)

    rewrite(folder, change)
    try:
        attributor = Attributor(load_model(folder), encoder)
        for n in (1, 2, 3):
            attributor.attribute([Image.effect_noise((40, 40), 90)] * n, nearest=2)
    except ModelFileError as error:
        assert "arrays are inconsistent" in str(error) or "is damaged" in str(error)
    else:
        assert name == "score.exemplars"  # faiss converts other floats


def test_missing_encoder_blocks_are_reported(folder: Path, encoder: Encoder) -> None:
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    rewrite(folder, encoder={**description["encoder"], "blocks": 99}, blocks=[98])
    with pytest.raises(ModelFileError, match="with blocks 99, but the given encoder has 3"):
        Attributor(load_model(folder), encoder)


def test_missing_permission_is_not_reported_as_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    for module in ("models.saved_model", "gallery.gallery_description"):
        monkeypatch.setattr(f"whichgen.{module}.read_regular_file", deny)
    message = r"{}.* can't be read \(Permission denied\)\. Check its permissions"
    with pytest.raises(ModelFileError, match=message.format(DESCRIPTION_FILE)):
        load_model(folder)
    with pytest.raises(GalleryError, match=message.format(GALLERY_FILE)):
        read_description(folder)


def test_view_widths_that_do_not_match_the_features_are_reported(
    models: dict[str, OriginModel],
) -> None:
    exemplars = models["linear"].exemplars
    head = FusionMethod().fit(exemplars.features, exemplars.labels, 3, 0.1)
    features = np.zeros((1, exemplars.features.shape[1] + 1), np.float32)
    with pytest.raises(ModelFileError, match=r"arrays are inconsistent .*widths of the views"):
        predict_and_validate(replace(models["linear"], head=head), features)
