"""The first line of a table that specifies the delimiter."""

from __future__ import annotations

import pytest

from whichgen.io.text_tables import parse_rows


@pytest.mark.parametrize("delimiter", ["\r", '"'])
def test_line_end_or_quote_is_not_a_delimiter(delimiter: str) -> None:
    rows = parse_rows(f"sep={delimiter}\na\n")
    assert [row.delimiter for row in rows] == ["\t", "\t"]


def test_any_other_character_is_a_delimiter() -> None:
    (row,) = parse_rows("sep=|\r\na|b\n")
    assert row.cells == ("a", "b")
    assert row.line == 2
