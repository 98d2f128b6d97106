"""``extract``, and ``attribute`` into a folder: large collections (on a cluster: tests/cluster)."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from conftest import pack_images

from .conftest import Site, whichgen


def packed(site: Site) -> Path:
    """The images of two origins in a tar and a Parquet file."""
    folder = site.folder / "packed"
    for origin, suffix in (("real", "tar"), ("gan", "parquet")):
        files = sorted((site.images / origin).iterdir())
        contents = {file.name: file.read_bytes() for file in files}
        pack_images(folder / f"{origin}.{suffix}", contents)
    return folder


def test_what_is_extracted_is_not_extracted_again(site: Site) -> None:
    options = ["--backbone", site.clip, "--device", "cpu", "--cache-dir", site.folder / "new"]
    done = whichgen("extract", packed(site), "images/vae", *options)
    assert done.code == 0, done.err
    assert "30 images, 30 of them new. The features are in" in done.message
    done = whichgen("extract", "images", *options)
    assert "50 images, 20 of them new" in done.message
    # A fit on the same images finds all of them.
    (store,) = (site.folder / "new" / "features").iterdir()
    before = sorted(store.iterdir())
    done = whichgen(
        "linear", *site.options(out="again"), "--cache-dir", site.folder / "new", "--C", 1
    )
    assert done.code == 0, done.err
    assert sorted(store.iterdir()) == before


def test_what_is_no_image_is_told_and_the_rest_is_kept(site: Site) -> None:
    (site.folder / "images/real/000.png").write_text("no image")
    options = ["--backbone", site.clip, "--device", "cpu", "--cache-dir", site.folder / "new"]
    done = whichgen("extract", "images/real", *options)
    assert done.code == 1
    assert "10 images, 9 of them new" in done.message
    assert "1 of 10 images can't be read: images/real/000.png: not an image" in done.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "images", "--engine", "spark"], "engine 'spark': choose local or ray."),
        (["extract", "s3:/x"], "s3:/x does not exist"),
        (["attribute", "{run}", "images", "--engine", "ray"], "--parquet FOLDER"),
        (["attribute", "{run}", "images", "--parquet", "out", "--json"], "takes no --json"),
    ],
)
def test_wrong_options_are_one_message(site: Site, arguments: list[str], message: str) -> None:
    done = whichgen(*(a.format(run=site.run) for a in arguments))
    assert done.code == 1
    assert message in done.message


def test_the_extra_is_named_where_it_is_not_installed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    done = whichgen("extract", "images", "--engine", "ray")
    assert done.code == 1
    assert "pip install 'whichgen[ray]'" in done.message


def answers(folder: str) -> dict[str, dict[str, Any]]:
    """The rows of a folder by image; none is there twice."""
    rows = pq.read_table(folder).to_pylist()
    found = {row["image"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_attribution_into_a_folder_goes_on_where_it_stopped(site: Site) -> None:
    folder = packed(site)
    (site.folder / "images/vae/000.png").write_text("no image")
    done = whichgen("attribute", "-m", site.run, folder / "real.tar", "--parquet", "told")
    assert done.code == 0, done.err
    assert "10 images, 10 answers are new in told" in done.message
    (site.folder / "list.txt").write_text("images/vae/000.png\nimages/gone.png\n")
    done = whichgen("attribute", "-m", site.run, folder, "@list.txt", "--parquet", "told")
    assert done.code == 1
    assert "22 images, 11 answers are new in told" in done.message
    assert "1 of them are no images" in done.message
    assert "1 of 22 images can't be read: images/gone.png: no such file" in done.message
    found = answers("told")
    assert len(found) == 21
    assert found["images/vae/000.png"]["error"]
    by_file = json.loads(whichgen("attribute", "-m", site.run, "images/real", "--json").out)
    for answer in by_file:
        row = found[f"{folder}/real.tar/{Path(answer['image']).name}"]
        assert row["origin"] == answer["origin"]
        assert row["score"] == pytest.approx(answer["score"], abs=1e-6)
    about = json.loads(Path("told/_runs.json").read_text())
    assert [len(run["config"]["sources"]) for run in about["runs"]] == [1, 2]
    assert about["runs"][0]["encoder"]["weights_hash"]
