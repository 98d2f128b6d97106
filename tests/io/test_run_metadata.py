"""The timestamp of run metadata."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from whichgen.errors import DataError
from whichgen.io.run_metadata import get_timestamp


def test_timestamp_is_now_or_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(get_timestamp())).total_seconds()) < 60
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert get_timestamp() == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize("wrong", ["", "yesterday", "1e99", "9" * 30])
def test_invalid_source_date_epoch_is_an_error(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
    with pytest.raises(DataError, match=r"not a valid time\. Set the environment variable to Unix"):
        get_timestamp()
