"""Tables on the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

import whichgen.cli.console as console_module
from whichgen.cli.console import show_table


def test_narrow_table_wraps_titles_but_no_number_or_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console_module, "out", Console(width=60))
    row = {
        "image": f"a/very/long/folder/{'x' * 80}/0001.png",
        "origin": "latent-diffusion",
        "accuracy change": "42.7 ± 14.1",
        "candidates": "latent-diffusion 67.6, real 24.3",
    }
    show_table([row], paths=["image"])
    output = capsys.readouterr().out
    assert all(len(line) <= 60 for line in output.splitlines())
    assert "accuracy change" not in output
    for text in ("0001.png", "latent-diffusion  ", "42.7 ± 14.1"):
        assert text in output
