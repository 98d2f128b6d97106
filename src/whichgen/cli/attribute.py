"""``whichgen attribute``: attribute images to a known origin or ``unknown``."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from whichgen.cli.command import command
from whichgen.cli.console import (
    exit_on_unreadable,
    needs_extra,
    progress,
    say,
    show_json,
    show_table,
    warn,
)
from whichgen.cli.evidence import AnswerEvidence
from whichgen.cli.image_arguments import find_images
from whichgen.cli.options import (
    AsJson,
    AttributionModel,
    Coverage,
    Images,
    QdrantUrl,
    Stability,
    Wide,
    check_writable,
    open_gallery,
)
from whichgen.cli.standard_input import restore_dash
from whichgen.constants import UNKNOWN
from whichgen.defaults import SIMILAR_IMAGES
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.inference.answers import Attribution
    from whichgen.models.origin_model import OriginModel

#: Smallest probability shown without --wide.
_MIN_PROBABILITY = 0.0005

#: Number of file names in a note on unusual images.
_MAX_NAMES = 3


@command
def attribute(
    images: Images,
    model: AttributionModel,
    evidence: AnswerEvidence,
    wide: Wide = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, Option("--csv", help="Print CSV.")] = False,
    parquet: Annotated[Path | None, Option(help="Write results to this Parquet file.")] = None,
    report: Annotated[
        Path | None, Option(help="Write a report to this .html or .pdf file (PDF: extra serve).")
    ] = None,
    coverage: Coverage = None,
    gallery: Annotated[
        Path | None, Option("-g", "--gallery", help="Gallery folder to search for similar images.")
    ] = None,
    qdrant_url: QdrantUrl = "",
    stability: Stability = True,
) -> None:
    """Attribute images to a known origin or `unknown`."""
    from whichgen.inference.answers import answer_schema
    from whichgen.inference.stability import COPIES
    from whichgen.io.tables import csv_text, write_parquet

    if as_json and as_csv:
        raise DataError("--json and --csv can't be combined. Choose one.")
    if report:
        from whichgen.service.case import get_report_format, write_case_report

        if get_report_format(report) == "pdf":
            with needs_extra("serve"):
                import fpdf  # noqa: F401  # fail before the images are attributed
    for file in filter(None, (report, parquet)):
        check_writable(file.parent)
    files = find_images(images)
    options = evidence.options()
    attributor = model.load()
    if coverage is not None:
        for note in attributor.quantile(coverage).notes:
            warn(f"note: {note}")
    start = time.perf_counter()
    answers = attributor.attribute(
        files,
        coverage=coverage,
        nearest=SIMILAR_IMAGES if gallery or report else 0,
        gallery=open_gallery(gallery, attributor.model, qdrant_url) if gallery else None,
        stability=stability,
        evidence=options,
        batch_size=model.batch_size,
        progress=progress,
    )
    seconds = time.perf_counter() - start
    answers = [
        replace(answer, image=restore_dash(answer.image), error=restore_dash(answer.error))
        for answer in answers
    ]
    schema = answer_schema(
        attributor.model.origins,
        prediction_sets=coverage is not None,
        gallery=gallery is not None,
        stability=stability,
        evidence=options is not None,
    )
    rows = [answer.as_row(schema) for answer in answers]
    if report:
        report = write_case_report(report, attributor.model, files, answers)
        say(f"Report: {report}")
    if parquet:
        write_parquet(parquet, rows, schema)
        say(f"Results: {parquet}")
    if as_json:
        show_json([answer.as_dict() for answer in answers])
    elif as_csv:
        sys.stdout.write(csv_text(rows))
    elif not parquet and not report:
        show_evidence_summaries(answers, wide=wide)
        readable = [answer for answer in answers if not answer.error]
        show_answers(readable, attributor.model, wide=wide)
    if stability and not all(answer.error for answer in answers):
        say(
            "note: five slightly altered copies of each image were attributed, too "
            f"({', '.join(COPIES)}). An answer that a copy does not confirm is replaced by a less "
            "specific one, and `unstable` lists these copies. "
            f"{1 + len(COPIES)} encodings per image, {seconds:.1f} s; --no-stability turns it off."
        )
    warn_unusual(answers)
    if coverage is not None:
        say(
            f"note: the prediction set contains the true origin for {100 * coverage:g} % of images "
            "of known origins if they resemble the validation images. This does not apply to "
            "unknown origins."
        )
    exit_on_unreadable([answer.error for answer in answers if answer.error], len(answers))


def warn_unusual(answers: Sequence[Attribution]) -> None:
    """Print one warning per kind of note (:attr:`Attribution.notes`), with some file names."""
    by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for answer in answers:
        for note in answer.notes:
            by_kind[note.partition(":")[0]].append((Path(answer.image).name, note))
    for pairs in by_kind.values():
        names = ", ".join(name for name, _ in pairs[:_MAX_NAMES])
        count = f"{len(pairs)} of {len(answers)} images" if len(pairs) > 1 else "1 image"
        more = ", …" if len(pairs) > _MAX_NAMES else ""
        warn(f"note: {count} ({names}{more}): {pairs[0][1]}")


def show_evidence_summaries(answers: Sequence[Attribution], *, wide: bool) -> None:
    """Print a table of the images with provenance evidence, and whether the model agrees.

    Nothing is printed if no evidence was collected. If ``wide``, paths are not shortened.
    """
    from whichgen.evidence.collect import CAVEAT
    from whichgen.inference.verdict import make_verdict

    rows = []
    for answer in answers:
        verdict = make_verdict(answer)
        if verdict.evidence.sentence:
            words = {True: "agrees", False: "disagrees", None: "no answer" if answer.error else "–"}
            row = {"image": answer.image, "evidence in the file": verdict.evidence.sentence}
            rows.append(row | {"model": words[verdict.agreement.agrees]})
    show_table(rows, paths=("image",), wide=wide)
    collected = [answer for answer in answers if answer.provenance is not None]
    if len(rows) < len(collected):
        say(
            f"note: {len(collected) - len(rows)} of {len(answers)} files have no evidence; {CAVEAT}"
        )


def show_answers(answers: Sequence[Attribution], model: OriginModel, *, wide: bool) -> None:
    """Print a table of answers with one row per image.

    The column ``percentile`` is the percentage of validation images of known origins with an equal
    or lower score. The column ``level`` shows the coarse origin (a generator family, ``synthetic``
    or ``real``) of each image for which it differs from the origin; this column is omitted if no
    image is classified as unknown. The column ``unstable`` lists the copies that made an answer
    less specific; it is omitted if all answers are stable. If ``wide``, the table always has the
    column ``level``, and also shows the score, the threshold and the probabilities of all known
    origins.
    """
    with_level = wide or any(answer.origin == UNKNOWN for answer in answers)
    with_unstable = any(answer.unstable for answer in answers)
    rows = []
    for answer in answers:
        ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])
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
            row |= {f"{origin} (%)": f"{100 * p:.1f}" for origin, p in ranked}
        elif answer.prediction_set is None:
            row["candidates (%)"] = ", ".join(
                f"{origin} {100 * p:.1f}" for origin, p in ranked[:2] if p >= _MIN_PROBABILITY
            )
        if answer.nearest and answer.nearest[0].path:
            first = answer.nearest[0]
            row["most similar"] = f"{first.origin or Path(first.path).name} {first.similarity:.3f}"
        rows.append(row)
    caption = (
        "percentile of the score among known validation images; below about "
        f"{100 * (1 - model.tpr):.0f}: unknown"
    )
    show_table(rows, caption=caption, paths=("image",), wide=wide)
