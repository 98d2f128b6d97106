"""Attribution of shards: the same answers as `attribute`, without duplicates, in a folder."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from conftest import pack_images
from whichgen.data.shards.find_shards import find_shards, hash_name
from whichgen.encoders.encoder import Encoder
from whichgen.errors import DataError
from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.features.shard_extraction import KeySet
from whichgen.inference import bulk_answers
from whichgen.inference.attribution import Attribution
from whichgen.inference.attributor import Attributor
from whichgen.inference.bulk_answers import AnswerFolder
from whichgen.inference.bulk_job import AttributionJob, ShardAnswers
from whichgen.models.origin_model import OriginModel

ORIGINS = ("real", "gan", "vae")


@pytest.fixture
def tar(images: list[Image.Image], tmp_path: Path) -> Path:
    """Write a tar of nine files; the fourth is not an image."""
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
    batches = list(AttributionJob(models["linear"], encoder.name, "cpu", 4).start()(shard))
    assert [batch.n_images for batch in batches] == [4, 4, 1]
    answers = {a.image.rpartition("/")[2]: a for batch in batches for a in batch.answers}
    files = [tar.parent / name for name in answers if name not in ("3.png", "8.png")]
    for expected in attributor.attribute(files, batch_size=3):
        answer = answers[Path(expected.image).name]
        # Sums in the head depend on the batch.
        assert answer.probabilities == pytest.approx(expected.probabilities, rel=1e-6)
        assert answer.score == pytest.approx(expected.score, rel=1e-6)
        values = {"probabilities": answer.probabilities, "score": answer.score}
        assert answer == replace(expected, image=answer.image, **values)
    assert answers["3.png"].error.endswith(
        "a.tar/3.png: a text file, not an image; replace it with the image"
    )
    assert answers["3.png"].origin is None
    # A job on a cluster worker skips known images.
    known = KeySet([hash_name(answers["0.png"].image), hash_name(answers["5.png"].image)])
    job = AttributionJob(models["linear"], encoder.name, "cpu", 4, keys_to_skip=known)
    again = {answer.image for batch in job.start()(shard) for answer in batch.answers}
    assert again == {a.image for n, a in answers.items() if n not in ("0.png", "5.png")}


def test_evidence_is_that_of_each_file(
    models: dict[str, OriginModel], encoder: Encoder, images: list[Image.Image], tmp_path: Path
) -> None:
    contents = {}
    for i, image in enumerate(images[:7]):
        info = PngInfo()
        info.add_text("Software", f"toy{i}" if i % 2 else "Midjourney")
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=info)
        contents[f"{i}.png"] = buffer.getvalue()
    contents["4.png"] = contents["4.png"][:-600]  # the pixels can't be decoded
    (shard,) = find_shards([str(pack_images(tmp_path / "a.tar", contents))])
    known = KeySet([hash_name(f"{tmp_path}/a.tar/2.png")])
    job = AttributionJob(models["linear"], encoder.name, "cpu", 3, evidence=EvidenceOptions())
    job = replace(job, keys_to_skip=known)
    answers = {a.image[-5]: a for batch in job.start()(shard) for a in batch.answers}
    assert sorted(answers) == ["0", "1", "3", "4", "5", "6"]
    attributor = Attributor(models["linear"], encoder)
    direct = attributor.attribute(list(contents.values()), evidence=EvidenceOptions())
    for number, answer in answers.items():
        is_named = int(number) % 2 == 0
        assert answer.describe_evidence()["evidence_origin"] == ("midjourney" if is_named else "")
        assert answer.provenance == direct[int(number)].provenance
    assert answers["4"].error and answers["4"].origin is None
    folder = AnswerFolder(tmp_path / "out", "m", ORIGINS, evidence=True)
    folder.record_run({})
    folder.write([ShardAnswers(6, tuple(answers.values()))])
    row = rows_of(tmp_path / "out")[0]
    assert list(row)[1:5] == [
        *("evidence", "evidence_origin", "evidence_strength", "evidence_agrees")
    ]
    assert (row["evidence"], row["evidence_strength"]) == ("Software: “Midjourney”", "strong")
    with pytest.raises(DataError, match="or `evidence`"):
        AnswerFolder(tmp_path / "out", "m", ORIGINS)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Read all answers in a folder."""
    rows: list[dict[str, Any]] = pq.read_table(folder).to_pylist()
    return rows


def attribution(name: str, error: str = "") -> Attribution:
    """Create an answer for one image."""
    if error:
        return Attribution(name, None, {}, None, 0.1, error=error)
    return Attribution(name, "gan", {"gan": 0.5}, 0.5, 0.1, "gan")


def folder_of(
    path: Path, model: str = "m", coverage: float | None = None, stability: bool = False
) -> AnswerFolder:
    """Open the folder of the answers of one model."""
    return AnswerFolder(path, model, ORIGINS, coverage, stability=stability)


def test_folder_grows_and_a_rerun_skips_answered_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_answers, "PART_ROWS", 2)
    out = tmp_path / "out"
    folder = folder_of(out)
    folder.record_run({"time": "first"})

    def interrupted() -> Iterator[ShardAnswers]:
        # A file that contains only errors has the same columns.
        yield ShardAnswers(2, (attribution("a", "no image"), attribution("b", "no image")))
        yield ShardAnswers(1, (attribution("\udcff.png"),))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.write(interrupted())
    assert [r["image"] for r in rows_of(out)] == ["a", "b", "\\xff.png"]
    folder = folder_of(out)
    known = folder.read_image_keys()
    assert [hash_name(n) in known for n in ("a", "b", "\udcff.png", "c")] == [
        True,
        True,
        True,
        False,
    ]
    folder.record_run({"time": "second"})
    errors = ("d: no such file", "e: no such file")
    summary = folder.write([ShardAnswers(3, (attribution("c"),), errors)])
    assert (summary.n_images, summary.n_written, summary.n_invalid) == (3, 1, 0)
    assert summary.read_errors == list(errors)
    assert [file.name for file in sorted(out.iterdir())] == [
        "_runs.json",
        *(f"part-0000{i}.parquet" for i in range(3)),
    ]
    rows = rows_of(out)
    assert [r["image"] for r in rows] == ["a", "b", "\\xff.png", "c"]
    assert list(rows[0]) == [
        *("image", "origin", "score", "score_percentile", "threshold", "coarse_origin"),
        *("width", "height", "notes"),
        *(f"p({origin})" for origin in ORIGINS),
        "error",
    ]
    record = json.loads((out / "_runs.json").read_text())
    assert [run["time"] for run in record["runs"]] == ["first", "second"]
    expected = {"model": "m", "coverage": None, "stability": False, "evidence": False}
    assert record["settings"] == expected


def damage(name: str) -> Callable[[Path], None]:
    """Overwrite one file of a folder."""
    return lambda folder: (folder / name).write_text("{") and None


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (
            lambda _: None,
            {"model": "other"},
            "contains answers of another model, or with other settings of `coverage`",
        ),
        (
            lambda _: None,
            {"coverage": 0.9},
            "contains answers of another model, or with other settings of `coverage`",
        ),
        (
            lambda _: None,
            {"stability": True},
            "contains answers of another model, or with other settings of `coverage`",
        ),
        (damage("_runs.json"), {}, r"_runs.json is damaged"),
        (lambda f: (f / "_runs.json").unlink(), {}, r"contains Parquet files"),
        (damage("part-00000.parquet"), {}, r"part-00000.parquet can't be read.*delete it"),
    ],
)
def test_other_folder_is_rejected(
    tmp_path: Path, change: Callable[[Path], None], settings: dict[str, Any], message: str
) -> None:
    folder = folder_of(tmp_path / "out")
    folder.record_run({})
    folder.write([ShardAnswers(1, (attribution("a"),))])
    change(tmp_path / "out")
    with pytest.raises(DataError, match=message):
        folder_of(tmp_path / "out", **settings).read_image_keys()


def test_run_that_stopped_before_its_first_answer_does_not_fix_the_settings(tmp_path: Path) -> None:
    folder_of(tmp_path).record_run({"time": "first"})
    folder = folder_of(tmp_path, coverage=0.9)
    folder.record_run({"time": "second"})
    record = json.loads((tmp_path / "_runs.json").read_text())
    assert record["settings"]["coverage"] == 0.9
    assert [run["time"] for run in record["runs"]] == ["second"]


def test_record_without_runs_is_damaged(tmp_path: Path) -> None:
    folder_of(tmp_path).record_run({"time": "first"})
    record = json.loads((tmp_path / "_runs.json").read_text())
    del record["runs"]
    (tmp_path / "_runs.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"_runs\.json is damaged"):
        folder_of(tmp_path)
