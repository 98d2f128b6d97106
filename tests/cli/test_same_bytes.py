"""The same images and seed give identical files, regardless of folder, workers, threads and hash
seed.

Two processes, each of which runs one command after another as a user would; what they wrote is then
compared byte for byte.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import GRID, UNKNOWN, Site

#: The encoder is not copied, because a model records its folder.
FIT = ("-d", "images", *UNKNOWN, "--shuffles", "2", "--seed", "3", "--device", "cpu", "--backbone")
LINEAR, KNN = "runs/linear/tiny_clip/images", "runs/knn/tiny_clip/images"
FUSED = "runs/fused/tiny_clip+traces/images"

TRAINING_COMMANDS = (
    ("linear", "-b", "1", "2", *GRID, "-o", "runs/linear"),
    ("knn", "-b", "1", "2", "--k-max", "3", "-o", "runs/knn"),
    ("fuse", "--C", "1", "--augment", "jpeg,blur", "-o", "runs/fused"),
    ("low-data", "--shots", "1,2", "--repeats", "1", "-b", "2", "--head", "knn", "-o", "runs/few"),
)
MODEL_COMMANDS = (
    ("robustness", "-m", LINEAR, "--kinds", "jpeg"),
    ("few-shot", "-m", LINEAR, "--shots", "1", "--repeats", "1"),
    ("report", LINEAR),
    ("enroll", "-m", LINEAR, "fresh", "images/ddpm", "-o", "runs/extended"),
    ("discover", "-m", LINEAR, "images", "--all", "-o", "runs/groups"),
    ("compare", LINEAR, KNN, "-o", "runs/comparison"),
    ("attribute", "-m", FUSED, "images", "--parquet", "runs/answers.parquet"),
    ("attribute", "-m", FUSED, "images/gan", "--report", "runs/case.html"),
)

#: Program that runs each of its arguments as a command line.
PROGRAM = """
import sys
from whichgen.cli.app import expand_blocks
from whichgen.cli.parser import build_app
for line in sys.argv[1:]:
    sys.argv[1:] = line.split()
    code = build_app()(expand_blocks(sys.argv[1:]), standalone_mode=False)
    assert not code, (line, code)
"""


def run(folder: Path, site: Site, **environment: str) -> dict[str, bytes]:
    """Run all commands on a copy of the images and return the files they wrote."""
    shutil.copytree(site.images, folder / "images", copy_function=shutil.copyfile)
    commands = [[*words, *FIT, str(site.clip)] for words in TRAINING_COMMANDS]
    commands += map(list, MODEL_COMMANDS)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(" ".join, commands)],
        cwd=folder,
        env={
            **os.environ,
            "SOURCE_DATE_EPOCH": "1700000000",
            "CUDA_VISIBLE_DEVICES": "",
            "WHICHGEN_CACHE": str(folder / "cache"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    files = (file for file in sorted((folder / "runs").rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): content(file, folder) for file in files}


def content(file: Path, folder: Path) -> bytes:
    """Return the content of a file without the working directory and values that depend on it.

    The time is not among it, SOURCE_DATE_EPOCH sets it; nor the command, which is the same.
    """
    data = file.read_bytes()
    if file.name == "SHA256SUMS":  # model.json contains the folder of the images
        return re.sub(rb"\w{64}(?=  model.json)", b"", data)
    if file.suffix in (".json", ".md", ".csv", ".txt", ".html"):
        return data.replace(str(folder).encode(), b"")
    return data


def test_same_images_and_seed_give_the_same_bytes(shared_site: Site, tmp_path: Path) -> None:
    one = run(
        tmp_path / "one",
        shared_site,
        PYTHONHASHSEED="1",
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"),
    )
    two = run(
        tmp_path / "another folder",
        shared_site,
        PYTHONHASHSEED="2",
        WHICHGEN_DETERMINISTIC="1",  # uses one thread instead of two
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "2"),
    )
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    kinds = {".safetensors", ".json", ".md", ".csv", ".png", ".parquet", ".html"}
    assert {Path(name).suffix for name in one} >= kinds
