"""Columns of tables of answers (CSV, Parquet and web page)."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

#: Columns of provenance evidence (see :meth:`.Attribution.describe_evidence`).
EVIDENCE_COLUMNS = {
    "evidence": pa.string(),
    "evidence_origin": pa.string(),
    "evidence_strength": pa.string(),
    "evidence_agrees": pa.bool_(),
}
#: Columns of every answer.
_COLUMNS = {
    "origin": pa.string(),
    "score": pa.float64(),
    "score_percentile": pa.float64(),
    "threshold": pa.float64(),
    "coarse_origin": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    "notes": pa.string(),
}


def answer_schema(
    origins: Sequence[str],
    *,
    prediction_sets: bool = False,
    gallery: bool = False,
    stability: bool = False,
    evidence: bool = False,
) -> pa.Schema:
    """Return the Arrow schema of a table of answers: the name and type of each column.

    Parameters
    ----------
    origins
        The known origins; the column ``p(ORIGIN)`` contains the probability of an origin.
    prediction_sets
        Add the column ``prediction_set``: known origins separated by commas.
    gallery
        Add columns for the most similar gallery image: ``nearest`` (its path), ``nearest_origin``
        and ``nearest_cosine`` (its cosine similarity).
    stability
        Add the columns ``stability``, ``differing_copies`` (names separated by spaces) and
        ``original_answer`` of the stability check.
    evidence
        Add the columns of provenance evidence before those of the model.
    """
    columns = {"image": pa.string(), **(EVIDENCE_COLUMNS if evidence else {}), **_COLUMNS}
    if stability:
        columns |= {"stability": pa.int64(), "differing_copies": pa.string()}
        columns["original_answer"] = pa.string()
    if prediction_sets:
        columns["prediction_set"] = pa.string()
    columns |= {f"p({origin})": pa.float64() for origin in origins}
    if gallery:
        columns |= {"nearest": pa.string(), "nearest_origin": pa.string()}
        columns["nearest_cosine"] = pa.float64()
    return pa.schema([*columns.items(), ("error", pa.string())])
