"""A report on the images of a request, to print, file or pass on: one HTML file, or a PDF."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import get_data_path

from whichgen.data.reading import MAX_PIXELS, decode_image, make_thumbnail, read_bytes
from whichgen.errors import DataError, ImageError
from whichgen.inference.attributor import Attribution
from whichgen.inference.verdict import exact, spelled
from whichgen.io.atomic import replace_file
from whichgen.io.run_metadata import get_timestamp
from whichgen.models.saved_model import OriginModel
from whichgen.service.responses import answered, describe, model_digest
from whichgen.service.schemas import ImageOut, ModelOut
from whichgen.service.settings import Limits, Settings
from whichgen.service.uploads import inspect

#: Files of one's own have no limit but the decoder's.
UNLIMITED = Limits(image_bytes=2**40, image_pixels=MAX_PIXELS)

#: Pixels of a picture's longer side.
_SIDE = 320
#: Origins that are listed for an image, the most probable first.
_MOST_ORIGINS = 8

CAVEATS = (
    "An answer is evidence, not proof: weigh it with where the file came from and with what else "
    "is known of it.",
    "Probabilities are of the known origins, if the image is of one of them. “Unknown” means that "
    "it is less like them than the threshold asks for; a new generator that resembles a known one "
    "is taken for it.",
    "Resizing, cropping, compression and screenshots lower every figure of the model.",
    "What a file says of itself can be removed and forged: its absence proves nothing, its "
    "presence little.",
)


@dataclass(frozen=True)
class Case:
    """An image with its answer: ``picture`` is a JPEG, empty for a file that is no image."""

    answer: ImageOut
    picture: bytes

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The most probable known origins."""
        found = sorted(self.answer.probabilities.items(), key=lambda item: -item[1])
        return [(spelled(origin), p) for origin, p in found[:_MOST_ORIGINS]]


def case_of(answer: ImageOut, data: bytes) -> Case:
    """A case, with the picture made from the file."""
    if answer.error:
        return Case(answer, b"")
    try:
        return Case(answer, make_thumbnail(decode_image(data), _SIDE))
    except ImageError:
        return Case(answer, b"")


def made(model: ModelOut) -> list[tuple[str, str]]:
    """What made the report."""
    return [
        ("Time", f"{datetime.fromisoformat(get_timestamp()):%Y-%m-%d %H:%M} UTC"),
        ("Program", f"whichgen {model.whichgen}"),
        ("Model", model.digest),
        ("Known origins", ", ".join(spelled(origin) for origin in model.origins)),
        ("Encoder and head", f"{model.encoder}, {model.head}, score {model.score}"),
        (
            "Test figures",
            ", ".join(
                f"{name} {100 * value:.1f} %"
                for name, value in model.metrics.items()
                if name in ("accuracy", "auroc", "oscr") and isinstance(value, int | float)
            )
            or "none: an origin was enrolled since the test",
        ),
    ]


def write_case(
    file: Path, model: OriginModel, paths: Sequence[Path], answers: Sequence[Attribution]
) -> None:
    """Writes a report on image files and their answers, as HTML or PDF by the file's suffix."""
    cases = []
    for path, answer in zip(paths, answers, strict=True):
        upload = inspect(str(path), _content(path), UNLIMITED)
        cases.append(case_of(answered(upload, answer, model), upload.data))
    described = describe(model, Settings(), model_digest(model))
    with replace_file(file) as temporary:
        temporary.write_bytes(writer_of(file)(cases, described))


def writer_of(file: Path) -> Callable[[Sequence[Case], ModelOut], bytes]:
    """What writes a report of a file's suffix.

    Raises
    ------
    DataError
        It is neither ``.html`` nor ``.pdf``.
    """
    writers = {".html": case_html, ".pdf": case_pdf}
    if file.suffix not in writers:
        raise DataError(f"{file}: a report is written as .html or .pdf.")
    return writers[file.suffix]


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except ImageError:
        return b""  # its answer says why


def case_html(cases: Sequence[Case], model: ModelOut) -> bytes:
    """One HTML file that needs nothing else."""
    environment = Environment(
        loader=PackageLoader("whichgen.service", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["exact"] = exact
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    template = environment.get_template("case.html.j2")
    return template.render(cases=cases, made=made(model), caveats=CAVEATS).encode()


def case_pdf(cases: Sequence[Case], model: ModelOut) -> bytes:
    """The same as a PDF of A4 pages."""
    page = _Page()
    page.add_page()
    page.line_of("Which generative model made these images?", size=16)
    for name, value in made(model):
        page.line_of(f"{name}: {value}", size=8.5)
    for caveat in CAVEATS:
        page.line_of(f"• {caveat}", size=8.5)
    for case in cases:
        page.case(case)
    return bytes(page.output())


class _Page(FPDF):
    """A4 with a font that knows more than Latin letters."""

    def __init__(self) -> None:
        super().__init__(format="A4")
        self.set_auto_page_break(True, margin=15)
        fonts = Path(get_data_path()) / "fonts" / "ttf"
        self.add_font("DejaVu", "", fonts / "DejaVuSans.ttf")
        self.add_font("DejaVu", "B", fonts / "DejaVuSans-Bold.ttf")

    def footer(self) -> None:
        """The page's number."""
        self.set_y(-12)
        self.set_font("DejaVu", size=8)
        self.cell(0, 6, f"{self.page_no()}", align="C")

    def line_of(self, text: str, *, size: float = 9.5, bold: bool = False) -> None:
        """A paragraph."""
        self.set_font("DejaVu", "B" if bold else "", size)
        self.multi_cell(
            0, 0.55 * size, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, wrapmode=WrapMode.WORD
        )

    def case(self, case: Case) -> None:
        """One image: picture, verdict, probabilities, what the file says."""
        answer = case.answer
        if self.will_page_break(75):
            self.add_page()
        self.ln(4)
        self.line_of(answer.name, size=9)
        self.line_of(answer.verdict.words, size=13, bold=True)
        if case.picture:
            self.image(io.BytesIO(case.picture), w=50, h=40, keep_aspect_ratio=True)
        self.line_of(answer.verdict.detail)
        if answer.score is not None:
            side = "below" if answer.score < answer.threshold else "not below"
            self.line_of(
                f"Open-set score {answer.score:.4g}, {side} the threshold {answer.threshold:.4g}."
            )
            self.line_of("; ".join(f"{origin} {exact(p)}" for origin, p in case.ranked))
        if answer.evidence:
            for text in answer.evidence.contradictions:
                self.line_of(f"Contradiction: {text}", bold=True)
            for finding in answer.evidence.findings:
                self.line_of(f"The file: {finding.title}. {finding.detail}", size=8.5)
        self.line_of(f"SHA-256 {answer.sha256}", size=7.5)
