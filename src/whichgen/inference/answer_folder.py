"""Answers for a large collection as a folder of Parquet files, which grows run by run.

``part-00000.parquet`` and so on, each written whole or not at all and never changed; beside them
``_runs.json`` (readers of Parquet folders pass over names that begin so) says which model
answered, and when it was asked what.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whichgen.data.shards import hash_name
from whichgen.errors import DataError
from whichgen.features.shard_extraction import KeySet
from whichgen.inference.bulk import ShardAnswers
from whichgen.io.atomic import write_text
from whichgen.io.tables import Row, write_parquet
from whichgen.progress import Progress, no_progress

#: Rows held in memory before they are written as a part.
PART_ROWS = 2048

_RUNS = "_runs.json"


@dataclass(frozen=True)
class AnswerSummary:
    """How a collection was gone through: images seen, rows written, and why there are no others.

    ``broken`` counts rows whose ``error`` is set.
    """

    images: int
    written: int
    broken: int
    unread: tuple[str, ...]


class AnswerFolder:
    """The folder of one model's answers.

    Parameters
    ----------
    folder
        Made if it is not there.
    asked
        What answers depend on, as JSON values: the model's digest, the coverage. A folder of
        others is refused.
    origins
        The model's known origins: a column each.
    prediction_set
        Whether rows have a prediction set.

    Raises
    ------
    DataError
        The folder holds answers of another model or coverage, or a file of it is damaged.
    """

    def __init__(
        self,
        folder: Path,
        asked: Mapping[str, Any],
        origins: Sequence[str],
        *,
        prediction_set: bool,
    ) -> None:
        self.folder = folder
        text, number = pa.string(), pa.float64()
        self._schema = pa.schema(
            [
                *(("image", text), ("origin", text), ("score", number), ("threshold", number)),
                ("coarse_origin", text),
                *([("prediction_set", text)] if prediction_set else []),
                *((f"p({origin})", number) for origin in origins),
                ("error", text),
            ]
        )
        self._file = folder / _RUNS
        self._about: dict[str, Any] = {"asked": dict(asked), "runs": []}
        self._parts = sorted(folder.glob("part-*.parquet"))
        if self._file.exists():
            try:
                self._about = json.loads(self._file.read_text(encoding="utf-8"))
                same = self._about["asked"] == json.loads(json.dumps(asked))
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{self._file} is damaged; give another folder.") from None
            if not same:
                raise DataError(
                    f"{folder} holds answers of another model or coverage. Give another folder."
                )
        elif self._parts:
            raise DataError(f"{folder} holds Parquet files of other origin. Give another folder.")

    def known(self) -> KeySet:
        """The images that have answers, by :func:`~whichgen.data.shards.hash_name`."""
        return KeySet(key for part in self._parts for key in self._keys_of(part))

    def begin(self, run_metadata: Mapping[str, Any]) -> None:
        """Notes a run, before it is made."""
        self._about["runs"].append(dict(run_metadata))
        write_text(self._file, json.dumps(self._about, indent=1) + "\n")

    def write(
        self,
        found: Iterable[ShardAnswers],
        *,
        total: int | None = None,
        progress: Progress = no_progress,
    ) -> AnswerSummary:
        """Writes what is found; what was found is kept if this stops."""
        waiting: list[Row] = []
        unread: list[str] = []
        written = broken = 0

        def flush() -> None:
            nonlocal written, broken
            if waiting:
                last = int(self._parts[-1].stem.partition("-")[2]) if self._parts else -1
                part = self.folder / f"part-{last + 1:05d}.parquet"
                write_parquet(part, waiting, self._schema)
                self._parts.append(part)
                written += len(waiting)
                broken += sum(bool(row["error"]) for row in waiting)
                waiting.clear()

        def images() -> Iterator[int]:
            for part in found:
                waiting.extend(part.rows)
                unread.extend(part.unread)
                if len(waiting) >= PART_ROWS:
                    flush()
                yield from range(part.images)

        try:
            seen = sum(1 for _ in progress(images(), description="Attributing", total=total))
        finally:
            flush()
        return AnswerSummary(seen, written, broken, tuple(unread))

    def _keys_of(self, part: Path) -> Iterator[bytes]:
        try:
            column = pq.read_table(part, columns=["image"])["image"]
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{part} can't be read ({error}). Remove it: its images are asked about anew."
            ) from None
        yield from (hash_name(name.as_py()) for name in column)
