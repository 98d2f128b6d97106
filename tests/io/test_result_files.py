"""Tables as Markdown, CSV and Parquet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgen.io.result_files import (
    format_csv,
    format_markdown_table,
    format_rate,
    write_csv,
    write_parquet,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "50.0"), (1, "100.0"), (0.123456, "12.3"), (None, "–"), (float("nan"), "–")],
)
def test_rate_is_shown_in_percent(value: float | None, text: str) -> None:
    assert format_rate(value) == text


def test_a_markdown_table_has_the_first_row_s_columns_and_bars_stay_in_their_cell() -> None:
    rows = [{"a": 1, "b|c": "x|y"}, {"a": 2}]
    assert format_markdown_table(rows) == "| a | b\\|c |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |  |\n"
    assert format_markdown_table([]) == ""


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), texts, min_size=1), min_size=1))
def test_csv_gives_back_what_went_in(rows: list[dict[str, str]]) -> None:
    read = list(csv.DictReader(io.StringIO(format_csv(rows), newline="")))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    expected = [{c: row.get(c, "") for c in columns} for row in rows]
    # A row whose only cell is empty is quoted, so that it is a row.
    assert read == expected


def test_csv_goes_to_a_file_and_no_row_is_an_empty_table(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"name": "ü,1", "n": 2}])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == 'name,n\n"ü,1",2\n'
    write_csv(tmp_path / "b.csv", [])
    assert list(csv.DictReader(io.StringIO((tmp_path / "b.csv").read_text()))) == []


def test_parquet_gives_back_what_went_in_with_null_where_a_key_lacks(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "origin": None, "error": "cut"},
        {"image": "ü.png", "origin": "gan", "score": 0.25, "error": ""},
    ]
    write_parquet(tmp_path / "deep" / "a.parquet", rows)
    table = pq.read_table(tmp_path / "deep" / "a.parquet")
    assert table.column_names == ["image", "origin", "error", "score"]
    assert table.to_pylist() == [{**rows[0], "score": None}, rows[1]]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.parquet"]
