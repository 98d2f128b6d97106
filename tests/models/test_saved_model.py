"""Model folders: lossless round trips, and one clear error for whatever else is in the folder."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whichgen.models.saved_model as model_module
from whichgen.errors import ModelFileError
from whichgen.heads.linear import LinearHead
from whichgen.heads.method_registry import make_head_method
from whichgen.models.origin_model import Exemplars, OriginModel
from whichgen.models.saved_model import (
    DESCRIPTION_FILE,
    FORMAT,
    HEAD_FILE,
    find_model_folder,
    load_model,
    save_model,
)

FILES = ["README.md", "SHA256SUMS", HEAD_FILE, DESCRIPTION_FILE]


def change(folder: Path, **values: Any) -> None:
    """Replace fields of the description."""
    file = folder / DESCRIPTION_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_round_trip_is_lossless(model: OriginModel, tmp_path: Path) -> None:
    loaded = load_model(save_model(model, tmp_path / "m"))
    for field in fields(OriginModel):
        if field.name not in ("head", "calibration", "exemplars"):
            assert getattr(loaded, field.name) == getattr(model, field.name), field.name
    for name, array in vars(model.calibration).items():
        restored = getattr(loaded.calibration, name)
        assert (restored is None) == (array is None), name
        assert array is None or np.array_equal(restored, array), name
    for name, array in model.head.tensors().items():
        restored = loaded.head.tensors()[name]
        assert restored.dtype == array.dtype
        assert np.array_equal(restored, array)
    features = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    assert np.array_equal(
        loaded.head.forward(features).probabilities, model.head.forward(features).probabilities
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_round_trip_of_exemplars_is_lossless(
    model: OriginModel, tmp_path: Path, dtype: type[np.floating[Any]]
) -> None:
    exemplars = Exemplars(
        np.random.default_rng(0).normal(size=(12, 32)).astype(dtype),
        np.arange(12) % 3,
        np.arange(12) % 2 == 1,
        (b"first", b"", *(bytes([i]) * i for i in range(10))),
    )
    loaded = load_model(save_model(replace(model, exemplars=exemplars), tmp_path / "m")).exemplars
    assert loaded.features.dtype == dtype
    for name, array in vars(exemplars).items():
        assert np.array_equal(getattr(loaded, name), array), name
    features, labels = loaded.select(held_out=True)
    assert np.array_equal(features, exemplars.features[1::2].astype(np.float32))
    assert labels.tolist() == [1, 0, 2, 1, 0, 2]


@pytest.mark.parametrize("n_images", [20, 200], ids=["fewer-than-dimensions", "more"])
@pytest.mark.parametrize("method", ["linear", "knn"])
def test_loaded_head_predicts_the_same_whatever_solver_fitted_it(
    models: dict[str, OriginModel], tmp_path: Path, method: str, n_images: int
) -> None:
    rng = np.random.default_rng(1)
    features, queries = rng.normal(size=(n_images, 30)), rng.normal(size=(50, 30))
    head = make_head_method(method).fit(features, np.arange(n_images) % 3, 3, 5.0)
    folder = save_model(replace(models[method], head=head, hyperparameter=5.0), tmp_path / "m")
    loaded = load_model(folder).head
    assert np.array_equal(
        loaded.forward(queries).probabilities, head.forward(queries).probabilities
    )


def test_fortran_ordered_array_is_saved_correctly(
    models: dict[str, OriginModel], tmp_path: Path
) -> None:
    weights = np.asfortranarray(np.arange(15.0).reshape(3, 5))
    head = LinearHead(weights, np.arange(3.0))
    folder = save_model(replace(models["linear"], head=head), tmp_path / "m")
    assert np.array_equal(load_model(folder).head.tensors()["weights"], weights)


def test_model_is_found_in_its_folder_and_in_the_run(model: OriginModel, tmp_path: Path) -> None:
    folder = save_model(model, tmp_path / "model")
    assert sorted(p.name for p in folder.iterdir()) == FILES
    assert find_model_folder(tmp_path) == find_model_folder(folder) == folder
    assert load_model(tmp_path).threshold == model.threshold


@pytest.mark.parametrize("place", ["nothing", "file", "empty"])
def test_missing_model_is_reported(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match=rf"no model found in .*{place} .*Use the run folder"):
        load_model(tmp_path / place)


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, HEAD_FILE])
@pytest.mark.parametrize("share", [0, 0.01, 0.25, 0.5, 0.75, 0.99])
def test_truncated_file_is_rejected(
    model: OriginModel, tmp_path: Path, name: str, share: float
) -> None:
    file = save_model(model, tmp_path) / name
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=f"is damaged: .*{name}.*fit the model again") as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("position", [0.1, 0.5, 0.999])
def test_flipped_bit_of_the_head_is_rejected(
    model: OriginModel, tmp_path: Path, position: float
) -> None:
    file = save_model(model, tmp_path) / HEAD_FILE
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"does not match its digest in model\.json"):
        load_model(tmp_path)


def test_missing_head_is_reported(model: OriginModel, tmp_path: Path) -> None:
    (save_model(model, tmp_path) / HEAD_FILE).unlink()
    with pytest.raises(
        ModelFileError, match=f"is damaged: {HEAD_FILE} can't be read .No such file"
    ):
        load_model(tmp_path)


@pytest.mark.parametrize("version", [0, FORMAT + 1])
def test_other_format_is_rejected(
    models: dict[str, OriginModel], tmp_path: Path, version: int
) -> None:
    change(save_model(models["linear"], tmp_path), format=version)
    with pytest.raises(ModelFileError, match=r"has model format .*, but whichgen .* reads format"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": None}, "format: Input should be a valid integer"),
        ({"format": [1]}, "format: Input should be a valid integer"),
        ({"head_method": "forest"}, "'forest'.* linear, knn, fusion"),
        ({"head_method": "knn"}, f"{HEAD_FILE} has no array '"),
        ({"score_method": "magic"}, "'magic'.* max_probability"),
        ({"threshold": "high"}, "threshold: Input should be a valid number"),
        ({"origins": "real"}, "origins: "),
        ({"temperature": "hot"}, "temperature: Input should be a valid number"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"encoder": {"name": "x"}}, "encoder.weights_hash: Field required"),
        ({"blocks": [1, 99]}, r"blocks must be one or more indices from 0 to 2, not \[1, 99\]"),
        ({"blocks": []}, r"blocks must be one or more indices from 0 to 2, not \[\]"),
        ({"blocks": [-1]}, r"blocks must be one or more indices from 0 to 2, not \[-1\]"),
    ],
)
def test_wrong_field_is_named(
    models: dict[str, OriginModel], tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    change(save_model(models["linear"], tmp_path), **values)
    with pytest.raises(ModelFileError, match=f"is damaged: .*{message}") as error:
        load_model(tmp_path)
    assert "pydantic" not in str(error.value)
    assert "\n" not in str(error.value)


@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.integers(-3, 3) | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["format", "origins", "head_method"]), inner)
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION_FILE).write_bytes(content)
    with pytest.raises(ModelFileError, match=r"is damaged|has model format"):
        load_model(tmp_path)


def test_full_disk_keeps_the_previous_model(
    model: OriginModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(model, tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    other = replace(model, threshold=0.123)
    write_text: Callable[..., None] = model_module.write_text
    monkeypatch.setattr(model_module, "write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        save_model(other, tmp_path)
    monkeypatch.setattr(model_module, "write_text", write_text)
    assert load_model(tmp_path).threshold == model.threshold
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        save_model(other, tmp_path)
    assert load_model(tmp_path).threshold == model.threshold
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES
