"""Commands give the same results on a cluster as without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cli.conftest import whichgen
from conftest import pack_images


def rows(folder: str) -> list[dict[str, Any]]:
    """Read the answers in a folder, sorted by image."""
    answers: list[dict[str, Any]] = pq.read_table(folder).to_pylist()
    return sorted(answers, key=lambda row: str(row["image"]))


def test_results_are_the_same_as_in_one_process(
    ray_cluster: Any,
    image_folder: Callable[..., Path],
    tiny_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = image_folder({"real": 8, "gan": 8, "vae": 8})
    monkeypatch.chdir(images.parent)
    files = sorted((images / "gan").iterdir())
    pack_images(Path("gan.tar"), {file.name: file.read_bytes() for file in files})
    encoder = ["--backbone", tiny_clip, "--cache-dir", "cache", "--device", "cpu"]
    fit = ["--C", 1, "-b", 0, "--shuffles", 0, "--no-shortcut-check", "-o", "out"]
    result = whichgen("linear", "-d", "images", *encoder, *fit)
    assert result.code == 0, result.err
    (run,) = Path("out").glob("*/images")
    ray = ["--engine", "ray", "--workers", 2]
    options = ["images/real", "gan.tar", "--device", "cpu", "--batch-size", 4]
    for name, engine in (("here", []), ("there", ray)):
        result = whichgen("attribute-bulk", *options, "-m", run, "-o", name, *engine)
        assert result.code == 0, result.err
        assert f"16 images, 16 new results. Results: {name}" in result.message
    assert rows("there") == rows("here")
    # Training has cached most of the features by content.
    (Path("images/gan") / "new.png").write_bytes(files[0].read_bytes() + b"more")
    result = whichgen("extract", "images", "gan.tar", *encoder, *ray)
    assert result.code == 0, result.err
    assert "33 images, 1 newly encoded" in result.message
