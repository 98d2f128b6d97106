"""Attribution of shards: the answers of `attribute`, once each, in a growing folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

import whichgen.inference.answer_folder as answers_module
from conftest import pack_images
from whichgen.data.shards import find_shards, hash_name
from whichgen.encoders.base import Encoder
from whichgen.errors import DataError
from whichgen.features.shard_extraction import KeySet
from whichgen.inference.answer_folder import AnswerFolder
from whichgen.inference.attributor import Attributor
from whichgen.inference.bulk import AttributeJob, ShardAnswers, ShardAttributor
from whichgen.models.origin_model import OriginModel

ORIGINS = ("real", "gan", "vae")
SETTINGS = {"model": "m", "coverage": None}


@pytest.fixture
def tar(images: list[Image.Image], tmp_path: Path) -> Path:
    """A tar of nine files, of which the fourth is not an image."""
    contents = {}
    for i, image in enumerate(images[::3]):
        image.save(tmp_path / f"{i}.png")
        contents[f"{i}.png"] = (tmp_path / f"{i}.png").read_bytes()
    return pack_images(tmp_path / "a.tar", contents | {"3.png": b"no image", "8.png": b"8"})


def test_answers_equal_those_of_attribute(
    models: dict[str, OriginModel], encoder: Encoder, tar: Path
) -> None:
    attributor = Attributor(models["linear"], encoder, pad_to=4)
    (shard,) = find_shards([str(tar)])
    found = list(ShardAttributor(attributor, batch_size=4, threads=2)(shard))
    assert [part.n_images for part in found] == [4, 4, 1]
    rows = {row["image"].rpartition("/")[2]: row for part in found for row in part.rows}
    files = [tar.parent / name for name in rows if name not in ("3.png", "8.png")]
    for answer in attributor.attribute(files, batch_size=3):
        row = rows[Path(answer.image).name]
        expected = answer.as_row() | {"image": row["image"]}
        assert list(row) == list(expected)
        # The head sums in another order in another batch.
        for key, value in expected.items():
            same = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
            assert row[key] == same
    assert rows["3.png"]["error"].endswith("a.tar/3.png: not an image that can be read")
    assert rows["3.png"]["origin"] is None
    # The job of a cluster worker skips known images.
    known = KeySet([hash_name(rows["0.png"]["image"]), hash_name(rows["5.png"]["image"])])
    job = AttributeJob(models["linear"], encoder.name, "cpu", 4, known=known)
    again = {row["image"] for part in job.start(1)(shard) for row in part.rows}
    assert again == {row["image"] for n, row in rows.items() if n not in ("0.png", "5.png")}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All answers in a folder."""
    rows: list[dict[str, Any]] = pq.read_table(folder).to_pylist()
    return rows


def row(name: str, error: str = "") -> dict[str, Any]:
    """The row of one image."""
    values = {} if error else {"origin": "gan", "score": 0.5, "coarse_origin": "gan", "p(gan)": 0.5}
    return {"image": name, "threshold": 0.1, **values, "error": error}


def folder_of(path: Path, **settings: Any) -> AnswerFolder:
    """The folder of one model's answers."""
    return AnswerFolder(path, {**SETTINGS, **settings}, ORIGINS, prediction_sets=False)


def test_folder_grows_and_a_rerun_skips_answered_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "PART_ROWS", 2)
    out = tmp_path / "out"
    folder = folder_of(out)
    folder.record_run({"time": "first"})

    def interrupted() -> Iterator[ShardAnswers]:
        # A part with errors only has the same columns as others.
        yield ShardAnswers(2, (row("a", "no image"), row("b", "no image")))
        yield ShardAnswers(1, (row("\udcff.png"),))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.write(interrupted())
    assert [r["image"] for r in rows_of(out)] == ["a", "b", "\\udcff.png"]
    folder = folder_of(out)
    known = folder.answered_images()
    assert [hash_name(n) in known for n in ("a", "b", "\udcff.png", "c")] == [
        True,
        True,
        True,
        False,
    ]
    folder.record_run({"time": "second"})
    summary = folder.write([ShardAnswers(3, (row("c"),), ("d: no such file", "e: no such file"))])
    assert (summary.n_images, summary.n_written, summary.n_invalid) == (3, 1, 0)
    assert summary.unavailable == ("d: no such file", "e: no such file")
    assert [file.name for file in sorted(out.iterdir())] == [
        "_runs.json",
        *(f"part-0000{i}.parquet" for i in range(3)),
    ]
    found = rows_of(out)
    assert [r["image"] for r in found] == ["a", "b", "\\udcff.png", "c"]
    assert list(found[0]) == [
        *("image", "origin", "score", "score_percentile", "threshold", "coarse_origin"),
        *(f"p({origin})" for origin in ORIGINS),
        "error",
    ]
    record = json.loads((out / "_runs.json").read_text())
    assert [run["time"] for run in record["runs"]] == ["first", "second"]
    assert record["settings"] == SETTINGS


def damage(name: str) -> Callable[[Path], None]:
    """Overwrite one file of a folder."""
    return lambda folder: (folder / name).write_text("{") and None


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda _: None, {"model": "other"}, r"answers of another model or coverage"),
        (lambda _: None, {"coverage": 0.9}, r"answers of another model or coverage"),
        (damage("_runs.json"), {}, r"_runs.json is damaged"),
        (lambda f: (f / "_runs.json").unlink(), {}, r"other Parquet files"),
        (damage("part-00000.parquet"), {}, r"part-00000.parquet can't be read.*Delete it"),
    ],
)
def test_other_folder_is_rejected(
    tmp_path: Path, change: Callable[[Path], None], settings: dict[str, Any], message: str
) -> None:
    folder = folder_of(tmp_path / "out")
    folder.record_run({})
    folder.write([ShardAnswers(1, (row("a"),))])
    change(tmp_path / "out")
    with pytest.raises(DataError, match=message):
        folder_of(tmp_path / "out", **settings).answered_images()
