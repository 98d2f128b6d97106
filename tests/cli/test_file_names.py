"""Commands work with all valid file and folder names."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from whichgen.cli.app import prepend_dot_slash
from whichgen.models.saved_model import load_model

from .conftest import GRID, Site, whichgen

ODD = (
    *(os.fsdecode(b"caf\xe9.png"), "new\nline.png", "tab\there.png", '"quoted".png'),
    *("it's, a comma;.png", "@user.png", "-x.png", "#1.png", "back\\slash.png"),
    *("日本語 עברית 😀.png", "[bold]red.png", "a|b.png"),
)
SHOWN = {os.fsdecode(b"caf\xe9.png"): r"caf\xe9.png"}


@pytest.fixture
def odd(site: Site) -> Site:
    """Copy of the shared folder with unusual file names and system files such as ``.DS_Store``."""
    for origin in ("real", "gan"):
        for file, name in zip(sorted((site.images / origin).iterdir()), ODD, strict=False):
            file.rename(file.with_name(name))
    for name in ("@eaDir", "#recycle", "$RECYCLE.BIN", "real/@eaDir", "__MACOSX", "lost+found"):
        (site.images / name).mkdir()
        (site.images / name / "a.png").write_bytes((site.images / "vae/000.png").read_bytes())
    (site.images / "real" / "._a.png").write_bytes(b"resource fork")
    (site.images / "real" / "Thumbs.db").write_bytes(b"thumbnails")
    (site.images / "gan" / "up").symlink_to("..")
    (site.images / "gan" / "gone.png").symlink_to("nowhere")
    (site.images / "flow").rename(site.folder / "elsewhere")
    (site.images / "flow").symlink_to(site.folder / "elsewhere")
    (site.images / "ddpm").rename(site.images / os.fsdecode(b"dif\xff"))
    return site


ORIGINS = {"real", "gan", "vae", "flow", "dif_xff"}


def test_check_and_split(odd: Site) -> None:
    with pytest.warns(UserWarning, match=r"gone\.png"):
        result = whichgen("dataset", "check", odd.images)
    assert "50 images" in result.out
    result = whichgen("dataset", "split", odd.images, "-o", "splits", "--unknown", "dif_xff")
    assert result.code == 0, result.err
    again = whichgen("dataset", "check", "images:split=split1:root=splits")
    assert "50 images" in again.out and "missing" not in again.out
    for name in ORIGINS:
        assert name in result.out and name in again.out


def test_train_and_use_a_model(odd: Site) -> None:
    command = ["linear", *odd.options(out="new"), "--unknown", "flow", "-b", 1, *GRID]
    result = whichgen(*command)
    assert result.code == 0, result.err
    run = odd.folder / "new/tiny_clip/images"
    assert set(load_model(run).origins) == ORIGINS - {"flow"}
    assert whichgen(*command).code == 0  # from the cached split
    assert "left out" not in whichgen("report", run).message
    result = whichgen("discover", odd.images, "--all", "-m", run, "--min-size", 2, "-o", "groups")
    assert result.code == 0, result.err
    groups = sorted((odd.folder / "groups").glob("unknown-*.txt"))
    lists = [f"@{group}" for group in groups]
    answers = whichgen("attribute", *lists, "-m", run, "--no-stability", "--json")
    assert answers.code == 0, answers.err
    result = whichgen("attribute-bulk", *lists, "-m", run, "-o", "bulk", "--no-stability")
    assert result.code == 0, result.err
    names = pq.read_table(odd.folder / "bulk")["image"].to_pylist()
    assert sorted(names) == sorted(answer["image"] for answer in json.loads(answers.out))


def test_shell_globs(odd: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(odd.images / "real")
    names = sorted(path.name for path in Path().glob("*.png") if not path.name.startswith("."))
    command = ["attribute", *prepend_dot_slash(names), "-m", odd.run, "--no-stability"]
    shown = [SHOWN.get(name, name) for name in names]
    with pytest.warns(UserWarning, match="@user"):
        answers = json.loads(whichgen(*command, "--json").out)
    assert [answer["image"] for answer in answers] == shown
    answers = csv.DictReader(io.StringIO(whichgen(*command, "--csv").out, newline=""))
    assert [answer["image"] for answer in answers] == shown
    lines = whichgen(*command).out.splitlines()
    assert any(line.startswith(r"new\nline.png ") for line in lines)
    result = whichgen(*command, "--report", "report.html")
    assert result.code == 0, result.err
    page = Path("report.html").read_text()
    assert r"caf\xe9.png" in page and "日本語 עברית 😀.png" in page
    assert whichgen("evidence", *prepend_dot_slash(names)).code == 0
