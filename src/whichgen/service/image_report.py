"""Write reports on attributed images: self-contained HTML files or PDFs."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from whichgen.data.images.decoding import decode_image, make_thumbnail, read_bytes
from whichgen.data.images.image_limits import MAX_PIXELS
from whichgen.errors import DataError, ImageError, WhichgenWarning
from whichgen.inference.attribution import Attribution
from whichgen.inference.verdict import format_origin, format_percentage
from whichgen.io.atomic_writes import replace_file
from whichgen.io.run_metadata import get_timestamp
from whichgen.models.origin_model import OriginModel
from whichgen.service.limits import Limits
from whichgen.service.responses import build_image_answer, describe_model
from whichgen.service.schemas import ImageAnswer, ModelDescription
from whichgen.service.settings import Settings
from whichgen.service.uploaded_image import inspect_upload

#: Limits for local files, which allow all images that the image decoder accepts.
_LOCAL_LIMITS = Limits(image_bytes=2**40, image_pixels=MAX_PIXELS)

#: Maximum width and height of a thumbnail in pixels.
_THUMBNAIL_SIDE = 320
#: Maximum number of origins listed per image.
_TOP_ORIGINS = 8

ReportFormat = Literal["html", "pdf"]
#: Pairs (name, value) in the header of a report.
Facts = list[tuple[str, str]]

#: Caveats in the header of every report.
CAVEATS = (
    "An answer is evidence, not proof. Consider it together with the source of the file and other "
    "evidence.",
    "Probabilities assume that the image is from one of the known origins. “Unknown” means that "
    "the score is below the threshold, or that slightly altered copies of the image have other "
    "answers. Images from a new generator that resembles a known one can be attributed to the "
    "known one.",
    "The model can be less accurate on resized, cropped or recompressed images and on screenshots "
    "than on its test set.",
    "Missing metadata proves nothing. Anyone can write metadata, or sign Content Credentials with "
    "a certificate of their own.",
)


@dataclass(frozen=True)
class ReportedImage:
    """Answer for one image, and the image's JPEG thumbnail; empty if the answer has an error."""

    answer: ImageAnswer
    thumbnail: bytes

    @property
    def top_origins(self) -> list[tuple[str, str]]:
        """Display names and formatted probabilities of at most eight origins, highest first."""
        ranking = sorted(self.answer.probabilities.items(), key=lambda item: -item[1])
        return [(format_origin(o), format_percentage(p)) for o, p in ranking[:_TOP_ORIGINS]]


def render_report(
    answers: Sequence[ImageAnswer],
    contents: Sequence[bytes],
    model: ModelDescription,
    format: ReportFormat,
) -> bytes:
    """Render a report as a self-contained HTML page or a PDF, and return its bytes.

    ``contents[i]`` are the bytes of the image file of ``answers[i]``.

    Raises
    ------
    DataError
        The text of a PDF needs a font or the package uharfbuzz, which are not installed
        (:func:`~whichgen.service.pdf_fonts.find_fallback_fonts`), or SOURCE_DATE_EPOCH is not a
        valid time.
    ImageError
        An image whose answer has no error can't be decoded.
    ImportError
        ``format`` is ``pdf``, and the package fpdf2 is not installed.
    """
    images = [
        ReportedImage(
            answer, b"" if answer.error else make_thumbnail(decode_image(data), _THUMBNAIL_SIDE)
        )
        for answer, data in zip(answers, contents, strict=True)
    ]
    render = {"html": _render_html, "pdf": _render_pdf}[format]
    return render(images, _list_facts(model))


def write_image_report(
    file: Path, model: OriginModel, paths: Sequence[Path], answers: Sequence[Attribution]
) -> Path:
    """Write a report on local image files, and return its path.

    If the text of a PDF needs a font or the package uharfbuzz, which are not installed
    (:func:`~whichgen.service.pdf_fonts.find_fallback_fonts`), an HTML report is written instead;
    its suffix is ``.html``.

    Parameters
    ----------
    file
        Path of the report; its suffix is ``.html`` or ``.pdf``.
    model
        Model that attributed the images.
    paths
        Paths of the image files.
    answers
        Answers of the model, in the order of ``paths``.

    Raises
    ------
    DataError
        The suffix of ``file`` is neither ``.html`` nor ``.pdf``, or SOURCE_DATE_EPOCH is not a
        valid time.
    ImageError
        An image file was changed or removed after its attribution, and can't be decoded.
    ImportError
        The suffix is ``.pdf``, and the package fpdf2 is not installed.
    OSError
        The report can't be written.

    Warns
    -----
    WhichgenWarning
        An HTML report is written instead of a PDF.
    """
    uploads = [inspect_upload(str(path), _read_content(path), _LOCAL_LIMITS) for path in paths]
    render = partial(
        render_report,
        [build_image_answer(*pair, model) for pair in zip(uploads, answers, strict=True)],
        [upload.data for upload in uploads],
        describe_model(model, Settings()),
    )
    try:
        content = render(get_report_format(file))
    except DataError as error:
        if file.suffix != ".pdf":
            raise
        file = file.with_suffix(".html")
        warnings.warn(f"{error} Writing {file} instead.", WhichgenWarning, stacklevel=1)
        content = render("html")
    with replace_file(file) as temporary:
        temporary.write_bytes(content)
    return file


def get_report_format(file: Path) -> ReportFormat:
    """Return the report format that corresponds to the suffix of a file name.

    Raises
    ------
    DataError
        The suffix is neither ``.html`` nor ``.pdf``.
    """
    formats: dict[str, ReportFormat] = {".html": "html", ".pdf": "pdf"}
    if file.suffix not in formats:
        raise DataError(f"{file}: unknown report format. Use the suffix .html or .pdf.")
    return formats[file.suffix]


def _read_content(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except ImageError:
        return b""  # the report shows the error message of the answer


def _list_facts(model: ModelDescription) -> Facts:
    """Return the report header as (name, value) pairs, such as the model and its test metrics."""
    metrics = [
        f"{name} {100 * value:.1f} %"
        for name, value in model.metrics.items()
        if name in ("accuracy", "auroc", "oscr") and isinstance(value, int | float)
    ]
    return [
        ("Time", f"{datetime.fromisoformat(get_timestamp()):%Y-%m-%d %H:%M} UTC"),
        ("Software", f"whichgen {model.whichgen}"),
        ("Model", model.digest),
        ("Known origins", ", ".join(format_origin(origin) for origin in model.origins)),
        ("Encoder and head", f"{model.encoder}, {model.head}, score {model.score}"),
        ("Test metrics", ", ".join(metrics) or "not available (not tested after the last change)"),
    ]


def _render_html(images: Sequence[ReportedImage], facts: Facts) -> bytes:
    environment = Environment(
        loader=PackageLoader("whichgen.service"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    template = environment.get_template("image_report.html.j2")
    return template.render(images=images, facts=facts, caveats=CAVEATS).encode()


def _render_pdf(images: Sequence[ReportedImage], facts: Facts) -> bytes:
    from whichgen.service.image_report_pdf import PdfReport  # needs fpdf

    answers = (image.answer.model_dump_json(exclude={"nearest"}) for image in images)
    page = PdfReport("\n".join([*answers, *chain(*facts), *CAVEATS]))
    page.add_page()
    page.add_text("Which generative model made these images?", size=16)
    for text in [*(f"{name}: {value}" for name, value in facts), *(f"• {c}" for c in CAVEATS)]:
        page.add_text(text, size=8.5)
    for image in images:
        page.add_image(image.answer, image.thumbnail, image.top_origins)
    return bytes(page.output())
