"""``whichgen attribute``: attribute images to a known origin or ``unknown``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Option

from whichgen.cli.answer_output import show_answers, warn_unusual, write_answer_rows
from whichgen.cli.command import command
from whichgen.cli.console import require_extra, say, show_json, show_progress, warn
from whichgen.cli.error_exits import exit_if_all_missing, exit_on_unreadable
from whichgen.cli.evidence_flags import AnswerEvidence
from whichgen.cli.image_arguments import find_images
from whichgen.cli.image_from_stdin import restore_dash
from whichgen.cli.shared_options import (
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
from whichgen.defaults import SIMILAR_IMAGES
from whichgen.errors import DataError


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
        Path | None,
        Option(help="Write a report to this .html or .pdf file (PDF needs extra `serve`)."),
    ] = None,
    coverage: Coverage = None,
    gallery: Annotated[
        Path | None, Option("-g", "--gallery", help="Gallery folder to search for similar images.")
    ] = None,
    qdrant_url: QdrantUrl = "",
    stability: Stability = True,
) -> None:
    """Attribute images to a known origin or `unknown`."""
    from whichgen.inference.answer_table import make_answer_schema
    from whichgen.inference.stability import COPIES

    if as_json and as_csv:
        raise DataError("--json and --csv can't be combined. Choose one.")
    if report:
        from whichgen.service.image_report import get_report_format, write_image_report

        if get_report_format(report) == "pdf":
            with require_extra("serve"):
                import fpdf  # noqa: F401  # fail before the images are attributed
    for file in filter(None, (report, parquet)):
        check_writable(file.parent)
    files = find_images(images)
    exit_if_all_missing(files)
    if gallery:
        from whichgen.gallery.gallery_description import read_description

        read_description(gallery)  # fail before the encoder is loaded
    options = evidence.read_options()
    attributor = model.load()
    if coverage is not None:
        for note in attributor.compute_quantile(coverage).notes:
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
        progress=show_progress,
    )
    seconds = time.perf_counter() - start
    answers = [
        replace(answer, image=restore_dash(answer.image), error=restore_dash(answer.error))
        for answer in answers
    ]
    if report:
        report = write_image_report(report, attributor.model, files, answers)
        say(f"Report: {report}")
    if parquet or as_csv:  # PyArrow takes time to import
        schema = make_answer_schema(
            attributor.model.origins,
            prediction_sets=coverage is not None,
            gallery=gallery is not None,
            stability=stability,
            evidence=options is not None,
        )
        write_answer_rows(answers, schema, parquet=parquet, as_csv=as_csv)
    if as_json:
        show_json([answer.as_dict() for answer in answers])
    elif not (as_csv or parquet or report):
        show_answers(answers, attributor.model, wide=wide)
    if stability and not all(answer.error for answer in answers):
        listing = "the report" if report else "the column `unstable`"
        if as_json or as_csv or parquet:
            listing = "`differing_copies`"
        say(
            f"note: the stability check also attributed {len(COPIES)} slightly altered copies of "
            f"each image ({', '.join(COPIES)}). If a copy does not confirm the answer, the answer "
            f"for the image becomes less specific, and {listing} lists the copy. With the check, "
            f"each image was encoded {1 + len(COPIES)} times ({seconds:.1f} s in total); turn it "
            "off with --no-stability."
        )
    warn_unusual(answers)
    if coverage is not None:
        say(
            f"note: on average, at least {100 * coverage:g} % of the prediction sets of images of "
            "known origins contain the true origin, provided that the images resemble the "
            "validation images. This does not apply to images of unknown origins."
        )
    exit_on_unreadable([answer.error for answer in answers if answer.error], len(answers))
