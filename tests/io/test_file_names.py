"""File names that are not UTF-8 can be shown, written and restored."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from whichgen.io.atomic_writes import write_text
from whichgen.io.file_names import escape_name, escape_names, unescape_name
from whichgen.io.result_files import format_csv, write_json, write_parquet

NAME = os.fsdecode(b"caf\xe9 \xc3\xa9.png")


@pytest.mark.parametrize(
    ("name", "shown"),
    [(NAME, r"caf\xe9 é.png"), ("日本 😀.png", "日本 😀.png"), ("a\ud800b", r"a\ud800b")],
)
def test_bytes_that_are_not_utf8_are_shown_as_numbers(name: str, shown: str) -> None:
    assert escape_name(name) == shown
    assert shown.encode().decode() == shown


def test_shown_bytes_can_be_restored() -> None:
    assert os.fsencode(unescape_name(escape_name(NAME))) == b"caf\xe9 \xc3\xa9.png"
    assert unescape_name(r"C:\x86\img\xA9") == "C:\udc86\\img\\xA9"  # only if no such file exists


def test_names_in_nested_values_are_shown() -> None:
    assert escape_names({"a": [NAME, 1.5, None], NAME: (NAME,)}) == {
        "a": [r"caf\xe9 é.png", 1.5, None],
        r"caf\xe9 é.png": [r"caf\xe9 é.png"],
    }


def test_every_kind_of_table_can_hold_any_name(tmp_path: Path) -> None:
    row = {"image": NAME, "n": 1}
    assert format_csv([row]) == "image,n\ncaf\\xe9 é.png,1\n"
    write_json(tmp_path / "a.json", [row])
    assert json.loads((tmp_path / "a.json").read_text())[0]["image"] == r"caf\xe9 é.png"
    write_parquet(tmp_path / "a.parquet", [row])
    assert pq.read_table(tmp_path / "a.parquet")["image"].to_pylist() == [r"caf\xe9 é.png"]


def test_lists_keep_the_bytes_of_a_name(tmp_path: Path) -> None:
    write_text(tmp_path / "list.txt", NAME, keep_bytes=True)
    assert (tmp_path / "list.txt").read_bytes() == os.fsencode(NAME)
    write_text(tmp_path / "page.txt", NAME)
    assert (tmp_path / "page.txt").read_text() == r"caf\xe9 é.png"
