"""Run every command and every Python block of the README as printed."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from conftest import noise_image, save_tiny_clip
from whichgen.data.benchmarks.origin_lists import load_bundled_origins, load_origins

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a Markdown text as language and content."""
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


BLOCKS = code_blocks(README)


def shell_lines() -> list[str]:
    """Return the shell commands of the README, without comments."""
    text = "".join(text for kind, text in BLOCKS if kind == "sh")
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def commands(program: str) -> list[str]:
    """Return the commands that start with a program."""
    return [line for line in shell_lines() if line.startswith(program)]


def environment_of(folder: Path, **environment: str) -> dict[str, str]:
    """Return a clean environment with this Python's programs first on the path."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "WHICHGEN_CACHE": str(folder / "cache"),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        # Starting worker processes takes longer than a small run.
        "LOKY_MAX_CPU_COUNT": "1",
        **environment,
    }


def shell(command: str, folder: Path, **environment: str) -> str:
    """Run a command and return its output; fail if its exit status is not 0."""
    process = subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env=environment_of(folder, **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}\n{process.stderr}"
    return process.stdout + process.stderr


def write_genimage(folder: Path, noise: Callable[..., Image.Image]) -> None:
    """Write GenImage split1 with 6 + 3 + 3 images per known and 3 + 3 per unknown origin."""
    origins = load_origins("GenImage", folder).splits["split1"]
    unknown = origins.unknown["all"]
    for part, count in (("train", 6), ("val", 3), ("test", 3)):
        annotations = folder / "GenImage" / f"split1_{part}" / "annotations"
        annotations.mkdir(parents=True)
        for suffix, names in (("", origins.known), ("_out_all", unknown)):
            if suffix and part == "train":
                continue
            lines = []
            for label, name in enumerate(names):
                for i in range(count):
                    file = folder / "GenImage" / part / f"{name}{i}.png"
                    file.parent.mkdir(exist_ok=True)
                    seed = stable_seed(part, name, i)
                    noise(seed, tint=len(name) % 5).save(file)
                    lines.append(f"{file.relative_to(folder / 'GenImage')}\t{label}\n")
            (annotations / f"split1_{part}{suffix}.txt").write_text("".join(lines))


def write_archives_of_genimage(folder: Path) -> None:
    """Create empty images in the folders of GenImage's archives."""
    folders = load_bundled_origins("GenImage").image_folders
    for (generator, names), part, kind in product(
        folders.items(), ("train", "val"), ("ai", "nature")
    ):
        if generator == "real":
            continue
        archive = folder / generator / names[1] / part / kind
        archive.mkdir(parents=True)
        for i in range(4):
            (archive / f"{generator}{i}.png").touch()


def stable_seed(*parts: object) -> int:
    """Return a seed that, unlike ``hash``, is the same in every process."""
    return zlib.crc32(repr(parts).encode())


def create_workspace(folder: Path) -> Path:
    """Create the files that the commands of the README use."""
    (folder / "demo").symlink_to(ROOT / "demo")
    for tint, origin in enumerate(("real", "gan-a", "gan-b", "new-model", "other-model")):
        (folder / "my_images" / origin).mkdir(parents=True)
        for i in range(12):
            image = noise_image(1000 * tint + i, tint=tint)
            image.save(folder / "my_images" / origin / f"{i}.png")
    noise_image(77, (64, 48)).save(folder / "photo.jpg")
    write_genimage(folder / "dataset", noise_image)
    write_archives_of_genimage(folder / "downloads" / "GenImage")
    # A tiny encoder in the hub's cache replaces the default encoder.
    cached = folder / "hub" / "hub" / "models--openai--clip-vit-base-patch16"
    save_tiny_clip(cached / "snapshots" / "tiny")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("tiny")
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with all files that the README uses."""
    return create_workspace(tmp_path_factory.mktemp("workspace"))


def test_demo_runs_and_ends_with_metrics_plots_and_answers(tmp_path: Path) -> None:
    assert "make demo" in commands("make")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "whichgen").symlink_to(Path(sys.executable).parent / "whichgen")
    # A link to the Python of a virtual environment would not find its packages.
    (venv / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "bin" / "python").chmod(0o755)
    # The virtual environment exists, so `make` must not create it again.
    (venv / "ready").touch()
    output = shell(
        f"make demo VENV={venv} OUT={tmp_path / 'run'}",
        ROOT,
        WHICHGEN_CACHE=str(tmp_path / "cache"),
        MAKEFLAGS="",
        LOKY_MAX_CPU_COUNT="2",
    )
    run = tmp_path / "run" / "efficientnet_lite0+traces" / "images"
    assert "Closed-set accuracy" in output
    assert "true origin" in output and "vqvae (unknown)" in output
    plots = [Path(plot) for plot in re.findall(r"\S+/plots/\S+\.png", output)]
    assert {plot.stem for plot in plots} == {"confusion_open", "scores", "embedding"}
    assert all(plot.is_file() for plot in plots)
    assert f"whichgen attribute YOUR_IMAGE -m {run}" in output
    assert re.search(r"^  \. \S+/bin/activate$", output, re.MULTILINE)
    # File properties and mean color must not reveal the origin of demo images.
    results = json.loads((run / "results.json").read_text("utf-8"))
    assert not any(result["detected"] for result in results["shortcut_check"]["sets"])
    # The saved model gives the same answers as the evaluated model.
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        expected = {row["path"]: row["answer"] for row in list(csv.DictReader(file))[::8]}
    assert len(set(expected.values())) > 3
    options = f"-m {run} --no-stability --csv 2>/dev/null"
    answers = shell(f"whichgen attribute {' '.join(expected)} {options}", tmp_path)
    assert {row["image"]: row["origin"] for row in csv.DictReader(answers.splitlines())} == expected


def test_make_test_is_what_ci_runs() -> None:
    # Do not run `make test` here, because it would run this test again.
    assert "make test" in commands("make")
    steps = shell("make --dry-run --always-make test VENV=/venv", ROOT, MAKEFLAGS="")
    assert all(tool in steps for tool in ("ruff check", "ruff format", "mypy", "pytest"))
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_whichgen_command_runs(workspace: Path) -> None:
    programs = [command.split()[1] for command in commands("whichgen")]
    assert programs == ["attribute", "dataset", "fuse", "attribute"]
    for command in commands("whichgen"):
        shell(command, workspace)


def test_every_python_block_runs(workspace: Path) -> None:
    shell(commands("whichgen fuse")[0] + " --force", workspace)
    code = "\n".join(text for kind, text in BLOCKS if kind == "python")
    assert "Attributor" in code
    shell(f"cat > readme.py <<'END'\n{code}\nEND\npython readme.py", workspace)


def test_all_shell_lines_are_tested() -> None:
    tested = len(commands("whichgen")) + len(commands("make"))
    assert tested == len(shell_lines())


def test_readme_is_short() -> None:
    assert len(README.encode()) <= 8192
