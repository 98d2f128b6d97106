"""Columns of tables of answers (CSV, Parquet and web page)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: Names and Arrow types of the columns of provenance evidence
#: (:meth:`whichgen.inference.attribution.Attribution.describe_evidence`).
EVIDENCE_COLUMNS = {
    "evidence": "string",
    "evidence_origin": "string",
    "evidence_strength": "string",
    "evidence_agrees": "bool",
}

#: Names and Arrow types of the columns that every table has, besides the path of the image, the
#: probabilities and the error.
_COLUMNS = {
    "origin": "string",
    "score": "float64",
    "score_percentile": "float64",
    "threshold": "float64",
    "coarse_origin": "string",
    "width": "int64",
    "height": "int64",
    "notes": "string",
}


def make_answer_schema(
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
        The known origins. Each has a column ``p(ORIGIN)`` that contains its probability.
    prediction_sets
        Add the column ``prediction_set``: known origins separated by commas.
    gallery
        Add columns for the most similar gallery image: ``nearest`` (its path), ``nearest_origin``
        and ``nearest_cosine`` (its cosine similarity).
    stability
        Add the columns ``stability``, ``differing_copies`` (names separated by spaces) and
        ``original_answer`` of the stability check.
    evidence
        Add the columns of provenance evidence (:data:`EVIDENCE_COLUMNS`) after the first column,
        ``image``.
    """
    import pyarrow as pa  # takes time to import

    columns = {"image": "string", **(EVIDENCE_COLUMNS if evidence else {}), **_COLUMNS}
    if stability:
        columns |= {"stability": "int64", "differing_copies": "string"}
        columns["original_answer"] = "string"
    if prediction_sets:
        columns["prediction_set"] = "string"
    columns |= {f"p({origin})": "float64" for origin in origins}
    if gallery:
        columns |= {"nearest": "string", "nearest_origin": "string"}
        columns["nearest_cosine"] = "float64"
    return pa.schema([*columns.items(), ("error", "string")])
