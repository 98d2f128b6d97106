"""The answer for one image, :class:`Attribution`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from whichgen.evidence.agreement import Agreement, compare_with_prediction
from whichgen.evidence.finding import Evidence
from whichgen.evidence.summary import summarize_evidence
from whichgen.inference.answer_table import EVIDENCE_COLUMNS
from whichgen.inference.similar_images import Neighbor

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Attribution:
    """The answer for one image.

    Parameters
    ----------
    image
        Path or URL of the file. For an image in an archive, the path or URL of the archive,
        followed by ``/`` and the name or row number of the image; for bytes, a Pillow image or an
        array, ``image N`` (counted from 1).
    origin
        A known origin or ``unknown``; ``None`` if the image can't be read.
    probabilities
        Maps each known origin to its probability, in [0, 1], given that the true origin is one of
        the known origins. The probabilities sum to 1; they are not meaningful if :attr:`origin` is
        ``unknown``. Empty if the image can't be read.
    score, threshold
        Open-set score and its threshold: images with a score below the threshold are classified as
        ``unknown``. The range depends on the score method (``max_probability``: [0, 1];
        ``max_logit`` of a fusion head: (−∞, 0]). The score is ``None`` if the image can't be read.
    coarse_origin
        :attr:`origin` if that is a known origin; otherwise a coarser prediction: a generator
        family, ``synthetic`` or ``real`` or, if none of them is certain, ``unknown``
        (:mod:`whichgen.openset.hierarchy`). ``None`` if the image can't be read.
    prediction_set
        Known origins, most probable first. The set contains the true origin with a probability of
        at least the requested coverage, provided that the true origin is known and the image
        resembles the validation images (:mod:`whichgen.evaluation.conformal`). ``None`` if
        prediction sets were not requested or the image can't be read.
    error
        Reason why the image can't be read; empty if it was read.
    nearest
        The most similar exemplars of the model or images of a gallery, most similar first;
        ``None`` if they were not requested or the image can't be read.
    score_percentile
        Percentage of validation images of known origins with an equal or lower score, in [0, 100];
        ``None`` if the image can't be read.
    stability
        Number of the five altered copies of the image (:mod:`whichgen.inference.stability`) that
        have the same answer as the image. This and the next two fields are ``None`` if the
        stability check was not requested or the image can't be read.
    differing_copies
        Names of the copies with a different answer.
    original_answer
        :attr:`coarse_origin` of the image alone. If it differs from :attr:`coarse_origin`, the
        answer is *unstable*: :attr:`coarse_origin` is a less specific answer that no copy
        contradicts, and :attr:`origin` is ``unknown``, regardless of the score.
    width, height
        Size of the image in pixels, after EXIF rotation; ``None`` if the image can't be read.
    notes
        Reasons why the answer is less reliable: unusual size, almost no contrast, repaired damage,
        or features far outside the range of the training images.
    provenance
        Provenance evidence in the file, which does not change the other fields; ``None`` if it was
        not collected or nothing can be read from the file.

    Examples
    --------
    >>> from whichgen.inference.answer_table import make_answer_schema
    >>> answer = Attribution("a.png", "gan", {"gan": 0.9, "real": 0.1}, 0.9, 0.5)
    >>> answer.as_row(make_answer_schema(["gan", "real"]))["p(gan)"]
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
    stability: int | None = None
    differing_copies: tuple[str, ...] | None = None
    original_answer: str | None = None
    width: int | None = None
    height: int | None = None
    notes: tuple[str, ...] = ()
    provenance: Evidence | None = None

    @property
    def unstable(self) -> bool:
        """Whether the stability check made the answer less specific."""
        return self.original_answer not in (None, self.coarse_origin)

    @property
    def agreement(self) -> Agreement:
        """Comparison of the model's answer with the provenance evidence.

        Its attribute ``agrees`` is ``None`` if the answer and the evidence can't be compared.
        """
        evidence = self.provenance or Evidence()
        return compare_with_prediction(evidence, self.origin, self.coarse_origin)

    def describe_evidence(self) -> dict[str, Any]:
        """Return the provenance evidence as values of the :data:`EVIDENCE_COLUMNS`.

        ``evidence``, ``evidence_origin`` and ``evidence_strength`` are the sentence, the origin and
        the strength of :class:`~whichgen.evidence.summary.EvidenceSummary`, and ``evidence_agrees``
        is :attr:`Agreement.agrees <whichgen.evidence.agreement.Agreement.agrees>`. All values are
        ``None`` if :attr:`provenance` is ``None``.
        """
        if self.provenance is None:
            return dict.fromkeys(EVIDENCE_COLUMNS)
        columns = summarize_evidence(self.provenance).as_columns()
        return {**columns, "evidence_agrees": self.agreement.agrees}

    def as_dict(self) -> dict[str, Any]:
        """Return all fields and the columns of the evidence, for JSON."""
        fields = asdict(self)
        return {"image": fields.pop("image"), **self.describe_evidence(), **fields}

    def as_row(self, schema: pa.Schema) -> dict[str, Any]:
        """Return a table row: the value of each column of ``schema``.

        Missing values, such as the probabilities of an unreadable image, are ``None``.

        Parameters
        ----------
        schema
            Result of :func:`~whichgen.inference.answer_table.make_answer_schema`.
        """
        row = vars(self) | self.describe_evidence()
        row |= {f"p({origin})": p for origin, p in self.probabilities.items()}
        # Names of origins may contain spaces, but no commas.
        separators = {"prediction_set": ", ", "differing_copies": " ", "notes": " "}
        for name, separator in separators.items():
            if row[name] is not None:
                row[name] = separator.join(row[name])
        if self.nearest:
            first = self.nearest[0]
            row |= {"nearest": first.path, "nearest_origin": first.origin}
            row["nearest_cosine"] = first.similarity
        return {name: row.get(name) for name in schema.names}
