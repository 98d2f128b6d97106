"""Output of ``whichgen attribute``: tables, CSV, Parquet and notes on unusual images."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgen.cli.console import say, show_table, warn
from whichgen.constants import UNKNOWN
from whichgen.phrases import format_count

if TYPE_CHECKING:
    import pyarrow as pa

    from whichgen.inference.attribution import Attribution
    from whichgen.models.origin_model import OriginModel

#: Smallest probability shown without --wide; a smaller one would be shown as 0.0 %.
_MIN_PROBABILITY = 0.0005

#: Maximum number of file names in a note on unusual images.
_MAX_NAMES = 3


def _show_evidence_summaries(answers: Sequence[Attribution], *, wide: bool) -> None:
    """Print the provenance evidence of images, and whether the model agrees with it.

    The table has one row per image with evidence. Below it is the number of the other images whose
    evidence was collected. If ``wide``, paths are not shortened.
    """
    from whichgen.evidence.collect import CAVEAT
    from whichgen.inference.verdict import make_verdict

    rows = []
    for answer in answers:
        verdict = make_verdict(answer)
        if verdict.evidence.sentence:
            neutral_word = "no answer" if answer.error else "–"
            agreement_words = {True: "agrees", False: "disagrees", None: neutral_word}
            row = {"image": answer.image, "evidence in the file": verdict.evidence.sentence}
            rows.append(row | {"model": agreement_words[verdict.agreement.agrees]})
    show_table(rows, paths=("image",), wide=wide)
    n_without_evidence = sum(answer.provenance is not None for answer in answers) - len(rows)
    if n_without_evidence > 0:
        say(
            f"note: no evidence in {n_without_evidence} of "
            f"{format_count(len(answers), 'file')}; {CAVEAT}"
        )


def show_answers(answers: Sequence[Attribution], model: OriginModel, *, wide: bool) -> None:
    """Print a table of provenance evidence, and a table of the answers of ``model``.

    The table of answers has one row per readable image, and the following columns:

    - ``image`` and ``origin``.
    - ``level``: the coarse origin (:attr:`Attribution.coarse_origin`) if it differs from the
      origin. The column is omitted if no image is classified as ``unknown``.
    - ``unstable``: the altered copies with a different answer, if the stability check made the
      answer less specific. The column is omitted if all answers are stable.
    - ``percentile``: the percentage of validation images of known origins with an equal or lower
      score.
    - ``set``: the prediction set, if prediction sets were requested.
    - ``candidates (%)``: at most two origins, the most probable ones, with their probabilities.
      The column is omitted if prediction sets were requested.
    - ``most similar``: the origin or else the file name of the most similar gallery image, and its
      cosine similarity, if a gallery was searched.

    If ``wide``, the table always has the column ``level``, and shows the score, the threshold and
    the probabilities of all known origins instead of the candidates. Paths are not shortened.
    """
    _show_evidence_summaries(answers, wide=wide)
    answers = [answer for answer in answers if not answer.error]
    with_level = wide or any(answer.origin == UNKNOWN for answer in answers)
    with_unstable = any(answer.unstable for answer in answers)
    rows = []
    for answer in answers:
        ranking = sorted(answer.probabilities.items(), key=lambda item: -item[1])
        row: dict[str, Any] = {"image": answer.image, "origin": answer.origin}
        if with_level:
            row["level"] = "" if answer.coarse_origin == answer.origin else answer.coarse_origin
        if with_unstable:
            row["unstable"] = ", ".join(answer.differing_copies or ()) if answer.unstable else ""
        percentile = answer.score_percentile
        row["percentile"] = "–" if percentile is None else f"{percentile:.0f}"
        if answer.prediction_set is not None:
            row["set"] = ", ".join(answer.prediction_set) or "none"
        if wide:
            row |= {"score": f"{answer.score:.6f}", "threshold": f"{answer.threshold:.6f}"}
            row |= {f"{origin} (%)": f"{100 * p:.1f}" for origin, p in ranking}
        elif answer.prediction_set is None:
            row["candidates (%)"] = ", ".join(
                f"{origin} {100 * p:.1f}" for origin, p in ranking[:2] if p >= _MIN_PROBABILITY
            )
        if answer.nearest and answer.nearest[0].path:
            first = answer.nearest[0]
            row["most similar"] = f"{first.origin or Path(first.path).name} {first.similarity:.3f}"
        rows.append(row)
    caption = (
        "percentile: % of known validation images with an equal or lower score\n"
        f"images with a percentile below about {100 * (1 - model.tpr):.0f} are unknown"
    )
    show_table(rows, caption=caption, paths=("image",), wide=wide)


def write_answer_rows(
    answers: Sequence[Attribution], schema: pa.Schema, *, parquet: Path | None, as_csv: bool
) -> None:
    """Write one row per image to a Parquet file, to standard output as CSV, or to both.

    Parameters
    ----------
    answers
        The answers to write.
    schema
        Columns of the rows (:func:`whichgen.inference.answer_table.make_answer_schema`).
    parquet
        Path of the Parquet file; ``None`` to write no file.
    as_csv
        Whether to print the rows as CSV.

    Raises
    ------
    OSError
        ``parquet`` can't be written.
    """
    from whichgen.io.result_files import format_csv, write_parquet

    rows = [answer.as_row(schema) for answer in answers]
    if parquet:
        write_parquet(parquet, rows, schema)
        say(f"Results: {parquet}")
    if as_csv:
        sys.stdout.write(format_csv(rows))


def warn_unusual(answers: Sequence[Attribution]) -> None:
    """Print the notes on unusual images (:attr:`Attribution.notes`), one warning per kind of note.

    The kind of a note is its text before the first colon. A warning contains the number of images,
    at most three file names, and the complete note on the first image.
    """
    notes_by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for answer in answers:
        for note in answer.notes:
            notes_by_kind[note.partition(":")[0]].append((Path(answer.image).name, note))
    for pairs in notes_by_kind.values():
        names = ", ".join(name for name, _ in pairs[:_MAX_NAMES])
        ellipsis = ", …" if len(pairs) > _MAX_NAMES else ""
        first_name, first_note = pairs[0]
        if len(pairs) == 1:
            warn(f"note: 1 image ({first_name}): {first_note}")
        else:
            count = f"{len(pairs)} of {len(answers)} images"
            warn(f"note: {count} ({names}{ellipsis}), for example {first_name}: {first_note}")
