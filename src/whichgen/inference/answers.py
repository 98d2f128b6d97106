"""The answer for an image, and the columns of answers in every table (CSV, Parquet, web page)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from whichgen.inference.neighbors import Neighbor

# Columns that every answer has, in order: attributes of Attribution.
_COLUMNS = {
    "image": pa.string(),
    "origin": pa.string(),
    "score": pa.float64(),
    "score_percentile": pa.float64(),
    "threshold": pa.float64(),
    "coarse_origin": pa.string(),
}


def answer_schema(
    origins: Sequence[str], *, prediction_sets: bool = False, gallery: bool = False
) -> pa.Schema:
    """Return the Arrow schema of a table of answers; ``.names`` lists its columns.

    The probability of each known origin is a column ``p(ORIGIN)``. A prediction set is a string of
    origins, separated by spaces. With ``gallery``, columns for its most similar image are added.
    """
    columns = dict(_COLUMNS)
    if prediction_sets:
        columns["prediction_set"] = pa.string()
    columns |= {f"p({origin})": pa.float64() for origin in origins}
    if gallery:
        columns |= {"nearest": pa.string(), "nearest_origin": pa.string()}
        columns["nearest_cosine"] = pa.float64()
    return pa.schema([*columns.items(), ("error", pa.string())])


@dataclass(frozen=True)
class Attribution:
    """The answer for one image.

    Parameters
    ----------
    image
        The path of the file, or ``image N`` for the Nth image if it is not a file.
    origin
        A known origin or ``unknown``; ``None`` if the image can't be read.
    probabilities
        The probability of each known origin; they sum to 1. They assume that the origin is known,
        so they mean little if the answer is ``unknown``.
    score, threshold
        The open-set score: high means known, below the threshold the answer is ``unknown``. The
        range depends on the score method (maximum probability: 0…1; ``max_logit`` of a fusion
        head: −∞…0).
    coarse_origin
        The most specific certain answer: :attr:`origin` or, if that is ``unknown``, a generator
        family, ``synthetic``, ``real`` or ``unknown`` (:mod:`whichgen.openset.hierarchy`).
    prediction_set
        Known origins that contain the true one with the requested coverage, if the image is of a
        known origin and resembles the validation images; ``None`` if no coverage was requested.
    error
        Why there is no answer; empty if there is one.
    nearest
        The most similar exemplars of the model, or images of a gallery, if requested.
    score_percentile
        Percentage, 0…100, of the held-out images of known origins whose score is no higher;
        ``None`` if the image can't be read.

    Examples
    --------
    >>> answer = Attribution("a.png", "gan", {"gan": 0.9, "real": 0.1}, 0.9, 0.5)
    >>> answer.as_row(answer_schema(["gan", "real"]))["p(gan)"]
    0.9
    """

    image: str
    origin: str | None
    probabilities: dict[str, float]
    score: float | None
    threshold: float
    coarse_origin: str | None = None
    prediction_set: tuple[str, ...] | None = None
    error: str = ""
    nearest: tuple[Neighbor, ...] | None = None
    score_percentile: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self)

    def as_row(self, schema: pa.Schema) -> dict[str, Any]:
        """Return one row of a table with the columns of a schema (:func:`answer_schema`).

        Columns without a value, as in the row of an unreadable image, are ``None``.
        """
        row = vars(self) | {f"p({origin})": p for origin, p in self.probabilities.items()}
        if self.prediction_set is not None:
            row["prediction_set"] = " ".join(self.prediction_set)
        if self.nearest:
            first = self.nearest[0]
            row |= {"nearest": first.path, "nearest_origin": first.origin}
            row["nearest_cosine"] = first.similarity
        return {name: row.get(name) for name in schema.names}
