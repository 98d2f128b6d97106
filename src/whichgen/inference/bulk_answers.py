"""Store the answers for a large collection of images in a folder of Parquet files.

Each run adds files, numbered from ``part-00000.parquet``, which are written atomically and never
changed. ``_runs.json`` contains the settings, such as the digest of the model and the coverage,
which are the same for all runs, and the metadata of each run. Parquet readers ignore files whose
names begin with an underscore.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whichgen.data.shards.find_shards import hash_name
from whichgen.errors import DataError
from whichgen.features.shard_extraction import KeySet
from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attribution import Attribution
from whichgen.inference.bulk_job import ShardAnswers
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import write_parquet
from whichgen.option_names import name_option
from whichgen.progress import Progress, no_progress

#: Minimum number of rows that are collected in memory before they are written to a file.
PART_ROWS = 2048

_RUNS = "_runs.json"


@dataclass
class AnswerSummary:
    """Numbers of images, answers and errors in one call of :meth:`AnswerFolder.write`.

    Parameters
    ----------
    n_images
        Number of images, including files that could not be read and images that were skipped
        because they already have an answer.
    n_written
        Number of answers written.
    n_invalid
        Number of written answers with an ``error``, because the file can't be decoded or is not
        supported.
    read_errors
        Error message of each file that could not be read; no answer is written for it.
    """

    n_images: int = 0
    n_written: int = 0
    n_invalid: int = 0
    read_errors: list[str] = field(default_factory=list)


class AnswerFolder:
    """Folder of Parquet files with the answers of one model for many images.

    Parameters
    ----------
    folder
        Path of the folder; :meth:`record_run` and :meth:`write` create it if it does not exist.
    model_digest
        Digest of the model's description (:func:`~whichgen.models.saved_model.hash_description`).
    origins
        The known origins of the model; each origin has a column with its probability.
    coverage
        Coverage of the prediction sets, in (0, 1); ``None`` omits the column ``prediction_set``.
    stability
        Whether the answers contain the columns of the stability check.
    evidence
        Whether the answers contain the columns of provenance evidence.

    Raises
    ------
    DataError
        ``_runs.json`` is damaged; the folder contains answers of another model, or with another
        ``coverage``, ``stability`` or ``evidence``; or it contains files of answers but no
        ``_runs.json``.
    OSError
        ``_runs.json`` can't be read.
    """

    def __init__(
        self,
        folder: Path,
        model_digest: str,
        origins: Sequence[str],
        coverage: float | None = None,
        *,
        stability: bool = False,
        evidence: bool = False,
    ) -> None:
        self.folder = folder
        self._schema = make_answer_schema(
            origins,
            prediction_sets=coverage is not None,
            stability=stability,
            evidence=evidence,
        )
        self._record_file = folder / _RUNS
        settings = {"model": model_digest, "coverage": coverage}
        settings |= {"stability": stability, "evidence": evidence}
        self._record: dict[str, Any] = {"settings": settings, "runs": []}
        self._parts = sorted(folder.glob("part-*.parquet"))
        if self._record_file.exists():
            try:
                record = json.loads(self._record_file.read_text(encoding="utf-8"))
                has_same_settings, runs = record["settings"] == settings, list(record["runs"])
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{self._record_file} is damaged. Choose another folder.") from None
            if has_same_settings:
                self._record["runs"] = runs
            elif self._parts:  # without answers, a new record replaces the old one
                raise DataError(
                    f"{folder} contains answers of another model, or with other settings of "
                    f"{name_option('--coverage')}, {name_option('--stability')} or "
                    f"{name_option('--no-evidence', '`evidence`')}. Choose another folder."
                )
        elif self._parts:
            raise DataError(
                f"{folder} contains Parquet files, but no {_RUNS}. Choose another folder."
            )

    def read_image_keys(self) -> KeySet:
        """Return the keys of the images that already have an answer.

        The key of an image is computed by :func:`~whichgen.data.shards.find_shards.hash_name`.

        Raises
        ------
        DataError
            A Parquet file can't be read.
        """
        return KeySet(key for part in self._parts for key in self._read_keys(part))

    def record_run(self, run_metadata: Mapping[str, Any]) -> None:
        """Append the metadata of a run to ``_runs.json``; call this method before :meth:`write`.

        Parameters
        ----------
        run_metadata
            Options, seeds and versions
            (:func:`whichgen.io.run_metadata.collect_run_metadata`).

        Raises
        ------
        OSError
            The file can't be written.
        """
        self._record["runs"].append(dict(run_metadata))
        write_text(self._record_file, json.dumps(self._record, indent=1) + "\n")

    def write(
        self,
        answers: Iterable[ShardAnswers],
        *,
        total: int | None = None,
        progress: Progress = no_progress,
    ) -> AnswerSummary:
        """Write answers to files; every file but the last has at least :data:`PART_ROWS` rows.

        If an exception or Ctrl-C stops this method, the answers received so far are still written.
        Exceptions that ``answers`` raises are passed on.

        Parameters
        ----------
        answers
            Answers for successive batches of images.
        total
            Number of images, for the progress bar; ``None`` if unknown.
        progress
            Progress bar (:data:`whichgen.progress.Progress`).

        Returns
        -------
        AnswerSummary
            Numbers of images, answers and errors in all batches.

        Raises
        ------
        OSError
            A file can't be written.
        """
        summary = AnswerSummary()
        pending: list[Attribution] = []

        def read_images() -> Iterator[int]:
            for batch in answers:
                pending.extend(batch.answers)
                summary.n_images += batch.n_images
                summary.n_written += len(batch.answers)
                summary.n_invalid += sum(bool(answer.error) for answer in batch.answers)
                summary.read_errors += batch.read_errors
                if len(pending) >= PART_ROWS:
                    self._write_part(pending)
                    pending.clear()
                yield from range(batch.n_images)

        try:
            deque(progress(read_images(), description="Attributing", total=total), maxlen=0)
        finally:
            self._write_part(pending)
        return summary

    def _write_part(self, answers: Sequence[Attribution]) -> None:
        """Write answers, if any, to a new file."""
        if answers:
            number = int(self._parts[-1].stem.partition("-")[2]) + 1 if self._parts else 0
            part = self.folder / f"part-{number:05d}.parquet"
            write_parquet(part, [answer.as_row(self._schema) for answer in answers], self._schema)
            self._parts.append(part)

    def _read_keys(self, part: Path) -> Iterator[bytes]:
        """Yield the keys of the images in a file."""
        try:
            column = pq.read_table(part, columns=["image"])["image"]
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{part} can't be read ({error}). Check its permissions or, if it is damaged, "
                "delete it to attribute its images again."
            ) from None
        yield from (hash_name(name.as_py()) for name in column)
