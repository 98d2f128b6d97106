"""Tables on the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

import whichgen.cli.console as console_module
from whichgen.cli.console import shorten_path, show_table
from whichgen.cli.error_exits import exit_on_unreadable


def test_narrow_table_wraps_titles_but_not_numbers_or_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console_module, "get_console", lambda: Console(width=60))
    row = {
        "image": f"a/very/long/folder/{'x' * 80}/0001.png",
        "origin": "latent-diffusion",
        "accuracy change": "42.7 ± 14.1",
        "candidates": "latent-diffusion 67.6, real 24.3",
    }
    show_table([row], paths=["image"])
    output, _, caption = capsys.readouterr().out.partition("image paths are relative to ")
    assert caption == f"a/very/long/folder/{'x' * 80}\n"
    assert all(len(line) <= 60 for line in output.splitlines())
    assert "accuracy change" not in output
    for text in ("0001.png", "latent-diffusion  ", "42.7 ± 14.1"):
        assert text in output


def test_shortened_paths_keep_the_start_of_the_file_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console_module, "get_console", lambda: Console(width=50))
    names = ["real/a.png", f"flux/cat_{'x' * 20}.png", f"flux/dog_{'x' * 20}_1.png"]
    rows = [{"image": f"/data/{'y' * 40}/{name}", "size": "1×1 (2)\n2×2 (1)"} for name in names]
    show_table([*rows, {"image": "", "size": ""}], paths=["image"])
    output = capsys.readouterr().out
    for text in ("real/a.png", "cat_", "dog_", "_1.png", "1×1 (2)", f"to /data/{'y' * 40}\n"):
        assert text in output


@pytest.mark.parametrize(
    ("path", "width", "short"),
    [
        ("real/0000.png", 13, "real/0000.png"),
        ("flux_dev/0000.png", 14, "flux…/0000.png"),
        ("flux_dev/0000.png", 10, "…/0000.png"),
        ("flux_dev/0000.png", 9, "0000….png"),
        ("flux_dev/0000.png", 8, "0000…png"),
        ("cat_in_the_garden_17.png", 16, "cat_in_t…_17.png"),
    ],
)
def test_a_path_is_shortened_at_its_folder_first(path: str, width: int, short: str) -> None:
    assert shorten_path(path, width) == short


def test_long_lists_of_unreadable_files_are_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        exit_on_unreadable([f"{i}.png: no such file" for i in range(25)], 30)
    lines = capsys.readouterr().err.splitlines()
    assert "25 of 30 images can't be read" in lines[0]
    assert lines[-2:] == ["19.png: no such file", "… and 5 more"]
