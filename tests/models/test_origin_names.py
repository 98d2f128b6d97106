"""Names of origins: refused before any work, or saved and read again everywhere."""

from __future__ import annotations

import csv
import io
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from cli.conftest import whichgen
from whichgen.data.benchmarks.benchmark_files import read_benchmark, write_benchmark
from whichgen.data.dataset import Dataset, Sample
from whichgen.data.layouts.folder_names import find_split
from whichgen.data.open_dataset import list_samples, open_dataset
from whichgen.data.origins.origin_names import validate_origin_names
from whichgen.data.splits.split_options import SplitOptions
from whichgen.errors import DataError
from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attribution import Attribution
from whichgen.io.folder_listing import is_system_path
from whichgen.io.result_files import format_csv, write_parquet
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import load_model, save_model
from whichgen.sklearn import OriginClassifier

REFUSED = {
    "": "it is empty",
    "  ": "it is empty",
    " gan": "white space",
    "unknown": "unknown is a reserved name",
    "Unknown": "unknown is a reserved name",
    "SYNTHETIC": "synthetic is a reserved name",
    "a,b": "a comma",
    "a/b": "a slash",
    "a\\b": "a backslash",
    "..": "relative path",
    "a\tb": r"invisible character '\\t'",
    "a\nb": r"invisible character '\\n'",
    "a\0b": r"invisible character '\\x00'",
    "a\u2028b": "invisible character",
    "a\u200bb": "invisible character",
    "\u202egan": "invisible character",
    os.fsdecode(b"\xff gan"): "invisible character",
    "g" * 201: "more than 200 bytes",
    "字" * 67: "more than 200 bytes",
}


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"is not a valid origin name: .*{REFUSED[name]}.*[.]$"):
        validate_origin_names(["real", name])


@pytest.mark.parametrize(
    "names", [("gan", "GAN"), ("é", "e\u0301"), ("É", "e\u0301"), ("straße", "STRASSE")]
)
def test_names_that_look_alike_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="differ only in"):
        validate_origin_names(names)


@pytest.mark.parametrize(
    "name",
    ["Stable Diffusion 1.5", "a|b", "图像", "🦊", "👩‍🎨", "0", "-x", "p(real)", "'; DROP", "=1+1"],
)
def test_usual_names_are_accepted(name: str) -> None:
    validate_origin_names(["real", name])


def accepted(names: list[str]) -> list[str]:
    """Return the names if they are accepted; otherwise skip the example."""
    try:
        validate_origin_names(names)
    except DataError:
        assume(False)
    return names


NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    min_size=3,
    max_size=3,
    unique=True,
)


@pytest.mark.filterwarnings("ignore::whichgen.errors.WhichgenWarning")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES)
@example(names=["real", "a|b", "a b"])
@example(names=["1", "0", "2"])
@example(names=["#x", '"q"', "'"])
@example(names=["p(a)", "=1", "`*_<b>"])
def test_accepted_names_are_saved_and_read_again(
    names: list[str], models: dict[str, OriginModel], tmp_path: Path
) -> None:
    known = tuple(accepted(names))
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    # Model
    families = dict.fromkeys(known, "GAN")
    hierarchy = replace(models["linear"].hierarchy, families=families)
    model = replace(models["linear"], origins=known, hierarchy=hierarchy)
    assert load_model(save_model(model, tmp_path / "model")).origins == known
    # Annotations
    samples = tuple(Sample(tmp_path / f"{i}.png", name) for i, name in enumerate(known))
    dataset = Dataset("d", known[:2], known[2:], samples[:2], samples[:2], samples[:2])
    dataset = replace(dataset, val_unknown=samples[2:], test_unknown=samples[2:])
    write_benchmark(dataset, tmp_path, "d")
    again = read_benchmark("d", tmp_path)
    assert (again.known, again.unknown) == (known[:2], known[2:])
    assert (again.train, again.test_unknown) == (samples[:2], samples[2:])
    # Folders. A name such as `test images` can't be the folder of an origin, but of a split.
    assume(not any(map(find_split, known)))
    for name in known:
        (tmp_path / "folder" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "folder" / name / "a.png")
    folder_names = {name for name in known if not is_system_path(Path(name))}
    listed = list_samples(str(tmp_path / "folder"))
    assert {sample.origin for sample in listed} == folder_names
    # Tables
    schema = make_answer_schema(known, prediction_sets=True)
    probabilities = dict(zip(known, (0.5, 0.3, 0.2), strict=True))
    answer = Attribution("a.png", known[0], probabilities, 0.5, 0.1, known[0], known)
    row = answer.as_row(schema)
    write_parquet(tmp_path / "a.parquet", [row], schema)
    (stored,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    (printed,) = csv.DictReader(io.StringIO(format_csv([row]), newline=""))
    for table in (stored, printed):
        assert table["origin"] == known[0]
        assert tuple(table["prediction_set"].split(", ")) == known
        assert [float(table[f"p({name})"]) for name in known] == [0.5, 0.3, 0.2]


@pytest.mark.parametrize("names", [("unknown",), ("gan", "Gan"), ("a,b",)])
def test_folders_are_refused_before_an_image_is_read(
    image_folder: Callable[..., Path], tmp_path: Path, names: tuple[str, ...]
) -> None:
    folder = image_folder({"real": 4, **dict.fromkeys(names, 4)})
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"not a valid origin name|differ only"):
        open_dataset(str(folder), SplitOptions(), cache=tmp_path / "cache")


def test_benchmarks_are_refused(tmp_path: Path) -> None:
    samples = tuple(Sample(tmp_path / f"{i}.png", o) for i, o in enumerate(("real", "synthetic")))
    write_benchmark(Dataset("d", ("real", "synthetic"), (), *[samples] * 3), tmp_path, "d")
    with pytest.raises(DataError, match="'synthetic' is not a valid origin name"):
        read_benchmark("d", tmp_path)


@pytest.mark.parametrize("name", ["a,b", "unknown", "../a", "x" * 201, "a\u202eb"])
def test_enroll_refuses_a_name_before_the_model_is_loaded(tmp_path: Path, name: str) -> None:
    result = whichgen("enroll", name, tmp_path, "-m", tmp_path / "none", "-o", tmp_path / "out")
    assert result.code == 1
    assert "is not a valid origin name" in result.message


def test_estimator_refuses_names_before_images_are_encoded() -> None:
    def images() -> Iterator[object]:
        raise AssertionError("an image was read")
        yield

    for labels in (["real", "unknown"], ["gan", "GAN"], ["real", "a,b"]):
        with pytest.raises(ValueError, match=r"not a valid origin name|differ only"):
            OriginClassifier(backbone="traces").fit(images(), labels)
    with pytest.raises(ValueError, match="is both a class and the value of `unknown`"):
        OriginClassifier(backbone="traces", unknown="none").fit(images(), ["real", "none"])
    with pytest.raises(ValueError, match="is both a class and the value of `unknown`"):
        OriginClassifier(unknown=-1).fit(np.eye(4), [-1, -1, 1, 1])


def test_name_in_another_unicode_form_is_explained(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    folder = image_folder({"real": 4, "gan": 4, decomposed: 4})
    with pytest.raises(DataError, match=r"has no origin café.*Use the spelling 'cafe\\u0301'"):
        open_dataset(str(folder), SplitOptions(unknown=("café",)), cache=tmp_path)
