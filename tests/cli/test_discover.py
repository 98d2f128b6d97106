"""``discover``: group a folder of images and enroll a group."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from sklearn.metrics import normalized_mutual_info_score

from whichgen.models.saved_model import load_model

from .conftest import Site, whichgen


def test_discovered_group_can_be_enrolled(site: Site) -> None:
    (site.images / "flow" / "broken.png").write_bytes(b"no image")
    result = whichgen(
        *(
            "discover",
            "-m",
            site.run,
            site.images,
            "--all",
            "--n-clusters",
            5,
            "-o",
            "groups",
            "--device",
            "cpu",
        )
    )
    assert result.code == 1
    assert "1 of 51 images can't be read" in result.message
    folder = site.folder / "groups"
    with (folder / "groups.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 50
    assert {r["group"] for r in rows} == {f"unknown-{i}" for i in range(1, 6)}
    record = json.loads((folder / "groups.json").read_text())
    assert record["run_metadata"]["config"]["n_clusters"] == 5
    expected = normalized_mutual_info_score(
        [Path(r["path"]).parent.name for r in rows], [r["group"] for r in rows]
    )
    assert record["agreement"]["nmi"] == pytest.approx(expected)
    assert "NMI" in result.message
    result = whichgen(
        *(
            "enroll",
            "-m",
            site.run,
            "new",
            f"@{folder / 'unknown-5.txt'}",
            "-o",
            "e",
            "--device",
            "cpu",
        )
    )
    assert result.code == 0, result.err
    assert load_model(site.folder / "e").origins[-1] == "new"


def test_too_few_images_to_group_is_an_error(site: Site) -> None:
    (site.folder / "empty").mkdir()
    for folder, message in (
        ("empty", "empty contains no images"),
        ("nowhere", "nowhere is not a folder"),
    ):
        result = whichgen("discover", "-m", site.run, site.folder / folder)
        assert result.code == 1
        assert message in result.message
    result = whichgen("discover", "-m", site.run, site.images / "real", "--device", "cpu")
    assert result.code == 1
    assert "Classified as `unknown`: " in result.message
    assert "too few images for --min-size 5" in result.message
    assert "without --all, only images classified as `unknown` are grouped" in result.message
    missing = whichgen("enroll", "-m", site.run, "new", "@nowhere.txt")
    assert missing.code == 1
    assert "path list nowhere.txt does not exist" in missing.message
