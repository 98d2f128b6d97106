"""The model folder: what is saved is what is loaded, and damage is told."""

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
from whichgen.heads.methods import head_method
from whichgen.models.saved_model import (
    DESCRIPTION_FILE,
    FORMAT,
    HEAD_FILE,
    Exemplars,
    OriginModel,
    find_model,
    load_model,
    save_model,
)


def change(folder: Path, **values: Any) -> None:
    """Overwrites fields of the description."""
    file = folder / DESCRIPTION_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_what_is_saved_is_loaded_bit_by_bit(model: OriginModel, tmp_path: Path) -> None:
    loaded = load_model(save_model(model, tmp_path / "m"))
    for field in fields(OriginModel):
        if field.name != "head":
            assert getattr(loaded, field.name) == getattr(model, field.name), field.name
    for name, array in model.head.tensors().items():
        kept = loaded.head.tensors()[name]
        assert kept.dtype == array.dtype
        assert np.array_equal(kept, array)
    features = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    assert np.array_equal(loaded.head.predict_proba(features), model.head.predict_proba(features))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exemplars_are_kept_bit_by_bit(
    model: OriginModel, tmp_path: Path, dtype: type[np.floating[Any]]
) -> None:
    rng = np.random.default_rng(0)
    kept = Exemplars(
        rng.normal(size=(12, 32)).astype(dtype), np.arange(12) % 3, np.arange(12) % 2 == 1
    )
    pictures = (b"first", b"", *(bytes([i]) * i for i in range(10)))
    kept = replace(kept, thumbnails=pictures)
    loaded = load_model(save_model(replace(model, exemplars=kept), tmp_path / "m")).exemplars
    assert loaded is not None and loaded.features.dtype == dtype
    for name, array in vars(kept).items():
        assert np.array_equal(getattr(loaded, name), array), name
    features, labels = loaded.part(held_out=True)
    assert np.array_equal(features, kept.features[1::2].astype(np.float32))
    assert labels.tolist() == [1, 0, 2, 1, 0, 2]


@pytest.mark.parametrize("n_images", [20, 200], ids=["fewer-than-dimensions", "more"])
@pytest.mark.parametrize("method", ["linear", "knn"])
def test_a_loaded_head_answers_bit_by_bit_whatever_solver_made_it(
    models: dict[str, OriginModel], tmp_path: Path, method: str, n_images: int
) -> None:
    rng = np.random.default_rng(1)
    features, queries = rng.normal(size=(n_images, 30)), rng.normal(size=(50, 30))
    labels = np.arange(n_images) % 3
    head = head_method(method).fit(features, labels, 3, 5.0)
    saved = save_model(replace(models[method], head=head, value=5.0), tmp_path / "m")
    loaded = load_model(saved).head
    assert np.array_equal(loaded.predict_proba(queries), head.predict_proba(queries))


def test_an_array_in_fortran_order_is_saved_as_it_reads(
    models: dict[str, OriginModel], tmp_path: Path
) -> None:
    weights = np.asfortranarray(np.arange(15.0).reshape(3, 5))
    head = LinearHead(weights, np.arange(3.0))
    saved = save_model(replace(models["linear"], head=head), tmp_path / "m")
    assert np.array_equal(load_model(saved).head.tensors()["weights"], weights)


def test_the_folder_holds_one_json_and_one_safetensors_file(
    model: OriginModel, tmp_path: Path
) -> None:
    save_model(model, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [HEAD_FILE, DESCRIPTION_FILE]
    description = json.loads((tmp_path / DESCRIPTION_FILE).read_text())
    assert description["format"] == FORMAT
    assert description["parameter"] == {"linear": "C", "knn": "k"}[model.head_method]


def test_a_run_s_folder_serves_as_well_as_the_model_folder_in_it(
    model: OriginModel, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "model")
    assert find_model(tmp_path) == find_model(tmp_path / "model") == tmp_path / "model"
    assert load_model(tmp_path).threshold == model.threshold


@pytest.mark.parametrize("place", ["nothing", "file", "empty"])
def test_where_no_model_is_the_error_says_what_to_give(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match=rf"{place} holds no model .*Give the folder that"):
        load_model(tmp_path / place)


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, HEAD_FILE])
@pytest.mark.parametrize("share", [0, 0.01, 0.25, 0.5, 0.75, 0.99])
def test_a_file_cut_short_anywhere_is_refused(
    model: OriginModel, tmp_path: Path, name: str, share: float
) -> None:
    file = save_model(model, tmp_path) / name
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=f"is damaged: .*{name}.*fit again") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("position", [0.1, 0.5, 0.999])
def test_one_changed_bit_of_the_head_is_refused(
    model: OriginModel, tmp_path: Path, position: float
) -> None:
    file = save_model(model, tmp_path) / HEAD_FILE
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"is not what model\.json says it is"):
        load_model(tmp_path)


def test_a_missing_head_is_told(model: OriginModel, tmp_path: Path) -> None:
    (save_model(model, tmp_path) / HEAD_FILE).unlink()
    with pytest.raises(ModelFileError, match=f"is damaged: {HEAD_FILE} is missing"):
        load_model(tmp_path)


@pytest.mark.parametrize("version", [0, FORMAT + 1, "1", None, [1]])
def test_another_format_is_told_with_the_version_that_reads_this_one(
    model: OriginModel, tmp_path: Path, version: object
) -> None:
    change(save_model(model, tmp_path), format=version)
    with pytest.raises(ModelFileError, match=r"has model format .*; whichgen .* reads format 4"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head": "forest"}, "unknown head 'forest'; there are linear, knn, fusion"),
        ({"threshold": "high"}, "threshold: Input should be a valid number"),
        ({"origins": "real"}, "origins: "),
        ({"temperature": "hot"}, "temperature: Input should be a valid number"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"encoder": {"name": "x"}}, "encoder.weights_hash: Field required"),
        ({"blocks": [1, 99]}, r"names the blocks \[1, 99\] of an encoder of 3"),
        ({"blocks": []}, r"names the blocks \[\] of an encoder of 3"),
        ({"score": "magic"}, "unknown open-set score 'magic'; there are max_probability"),
        ({"blocks": [-1]}, r"names the blocks \[-1\] of an encoder of 3"),
    ],
)
def test_a_wrong_field_is_told_by_its_name(
    model: OriginModel, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    change(save_model(model, tmp_path), **values)
    with pytest.raises(ModelFileError, match=f"is damaged: .*{message}") as caught:
        load_model(tmp_path)
    assert "pydantic" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_head_of_another_kind_is_told(models: dict[str, OriginModel], tmp_path: Path) -> None:
    change(save_model(models["knn"], tmp_path), head="linear")
    with pytest.raises(ModelFileError, match=f"{HEAD_FILE} has no 'weights'"):
        load_model(tmp_path)


@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.integers(-3, 3) | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["format", "origins", "head"]), inner)
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION_FILE).write_bytes(content)
    with pytest.raises(ModelFileError, match=r"is damaged|has model format"):
        load_model(tmp_path)


def test_a_full_disk_leaves_the_model_that_was_there(
    model: OriginModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(model, tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    other = replace(model, threshold=0.123)
    write_text: Callable[..., None] = model_module.write_text
    monkeypatch.setattr(model_module, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(other, tmp_path)
    monkeypatch.setattr(model_module, "write_text", write_text)
    assert load_model(tmp_path).threshold == model.threshold
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(other, tmp_path)
    assert load_model(tmp_path).threshold == model.threshold
    assert sorted(p.name for p in tmp_path.iterdir()) == [HEAD_FILE, DESCRIPTION_FILE]
