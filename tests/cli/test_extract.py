"""``extract`` and ``attribute-bulk``: large collections (on a cluster: tests/distributed)."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from conftest import pack_images

from .conftest import Site, whichgen


def pack_origins(site: Site) -> Path:
    """Pack the images of two origins into a tar and a Parquet file."""
    folder = site.folder / "packed"
    for origin, suffix in (("real", "tar"), ("gan", "parquet")):
        files = sorted((site.images / origin).iterdir())
        contents = {file.name: file.read_bytes() for file in files}
        pack_images(folder / f"{origin}.{suffix}", contents)
    return folder


def test_extracted_features_are_reused(site: Site) -> None:
    options = ["--backbone", site.clip, "--device", "cpu", "--cache-dir", site.folder / "new"]
    result = whichgen("extract", pack_origins(site), "images/vae", *options)
    assert result.code == 0, result.err
    assert "30 images, 30 newly encoded. Features: " in result.message
    result = whichgen("extract", "images", *options)
    assert "50 images, 20 newly encoded" in result.message
    # Training on the same images reuses all features.
    (store,) = (site.folder / "new" / "features").iterdir()
    before = sorted(store.iterdir())
    result = whichgen(
        "linear", *site.options(out="again"), "--cache-dir", site.folder / "new", "--C", 1
    )
    assert result.code == 0, result.err
    assert sorted(store.iterdir()) == before


def test_unreadable_files_are_listed_and_other_features_stored(site: Site) -> None:
    (site.folder / "images/real/000.png").write_text("no image")
    options = ["--backbone", site.clip, "--device", "cpu", "--cache-dir", site.folder / "new"]
    result = whichgen("extract", "images/real", *options)
    assert result.code == 1
    assert "10 images, 9 newly encoded" in result.message
    assert "or replace or remove the file: images/real/000.png: a text file" in result.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "s3:/x"], "s3:/x does not exist"),
        (["attribute-bulk", "-m", "{run}", "gone/x"], "gone/x does not exist"),
    ],
)
def test_invalid_options_are_reported(site: Site, arguments: list[str], message: str) -> None:
    result = whichgen(*(a.format(run=site.run) for a in arguments))
    assert result.code == 1
    assert message in result.message
    assert whichgen("extract", "images", "--engine", "spark").code == 2


def test_missing_extra_is_reported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def import_without_ray(name: str, *rest: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", import_without_ray)
    result = whichgen("extract", "images", "--engine", "ray")
    assert result.code == 1
    assert "pip install 'whichgen[ray]'" in result.message


def read_answers(folder: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a folder by image; no image may occur twice."""
    rows = pq.read_table(folder).to_pylist()
    by_image = {row["image"]: row for row in rows}
    assert len(by_image) == len(rows)
    return by_image


def test_attribute_bulk_resumes(site: Site) -> None:
    folder = pack_origins(site)
    (site.folder / "images/vae/000.png").write_text("no image")
    result = whichgen("attribute-bulk", folder / "real.tar", "-m", site.run, "-o", "results")
    assert result.code == 0, result.err
    assert "10 images, 10 new results. Results: results" in result.message
    (site.folder / "list.txt").write_text("images/vae/000.png\nimages/gone.png\n")
    result = whichgen("attribute-bulk", folder, "@list.txt", "-m", site.run, "-o", "results")
    assert result.code == 1
    assert "22 images, 11 new results" in result.message
    assert "Images that can't be decoded: 1. See the column" in result.message
    assert "can't be read. Check the path, or replace or remove the file: " in result.message
    assert "images/gone.png: no such file" in result.message
    rows = read_answers("results")
    assert len(rows) == 21
    assert rows["images/vae/000.png"]["error"]
    single = json.loads(
        whichgen("attribute", "-m", site.run, "images/real", "--no-stability", "--json").out
    )
    for answer in single:
        row = rows[f"{folder}/real.tar/{Path(answer['image']).name}"]
        assert row["origin"] == answer["origin"]
        assert row["score"] == pytest.approx(answer["score"], abs=1e-6)
    record = json.loads(Path("results/_runs.json").read_text())
    assert [len(run["config"]["sources"]) for run in record["runs"]] == [1, 2]
    assert record["runs"][0]["encoder"]["weights_hash"]
