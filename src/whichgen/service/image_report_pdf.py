"""Lay out a PDF report on attributed images."""

from __future__ import annotations

import io
from collections.abc import Sequence

from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos

from whichgen.service.pdf_fonts import BOLD, REGULAR, find_fallback_fonts, has_right_to_left
from whichgen.service.schemas import ImageAnswer


class PdfReport(FPDF):
    """A4 document with a Unicode font and page numbers."""

    def __init__(self, text: str) -> None:
        """Choose fonts for ``text``, the complete text of the document.

        Raises
        ------
        DataError
            A character of ``text`` is in no installed TrueType font, or a package that the text
            requires is not installed (see
            :func:`~whichgen.service.pdf_fonts.find_fallback_fonts`).
        """
        super().__init__(format="A4")
        self.set_auto_page_break(True, margin=15)
        self.add_font("DejaVu", "", REGULAR)
        self.add_font("DejaVu", "B", BOLD)
        fonts = {f"fallback {i}": file for i, file in enumerate(find_fallback_fonts(text))}
        for name, file in fonts.items():
            self.add_font(name, "", file)
        self.set_fallback_fonts(list(fonts), exact_match=False)
        if has_right_to_left(text):
            self.set_text_shaping(True)

    def footer(self) -> None:
        """Add the page number."""
        self.set_y(-12)
        self.set_font("DejaVu", size=8)
        self.cell(0, 6, f"{self.page_no()}", align="C")

    def add_text(self, text: str, *, size: float = 9.5, bold: bool = False) -> None:
        """Add a paragraph; ``size`` is the font size in points."""
        self.set_font("DejaVu", "B" if bold else "", size)
        self.multi_cell(
            0, 0.55 * size, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, wrapmode=WrapMode.WORD
        )

    def add_image(
        self, answer: ImageAnswer, thumbnail: bytes, top_origins: Sequence[tuple[str, str]]
    ) -> None:
        """Add one image: name, verdict, thumbnail, probabilities, evidence and SHA-256 digest.

        Parameters
        ----------
        answer
            Answer for the image.
        thumbnail
            JPEG thumbnail; empty to omit it.
        top_origins
            Pairs of display name and formatted probability of the origins to list, in order.
        """
        if self.will_page_break(75):
            self.add_page()
        self.ln(4)
        self.add_text(answer.name, size=9)
        verdict = answer.verdict
        if verdict.evidence.sentence:
            is_strong = verdict.evidence.strength == "strong"
            sentence = f"Evidence in the file: {verdict.evidence.sentence}."
            self.add_text(sentence, size=11, bold=is_strong)
        self.add_text(f"Model: {verdict.words}", size=11, bold=True)
        if verdict.agreement.sentence:
            self.add_text(verdict.agreement.sentence, bold=verdict.agreement.agrees is False)
        if thumbnail:
            self.image(io.BytesIO(thumbnail), w=50, h=40, keep_aspect_ratio=True)
        self.add_text(verdict.detail)
        if answer.comparison:
            self.add_text(answer.comparison)
            self.add_text("; ".join(f"{origin} {p}" for origin, p in top_origins))
        if answer.provenance:
            for finding in answer.provenance.findings:
                text = f"Finding ({finding.indicates}): {finding.title}. {finding.detail}"
                self.add_text(text, size=8.5)
            for note in answer.provenance.notes:
                self.add_text(f"Note: {note}", size=8.5)
        self.add_text(f"SHA-256 {answer.sha256}", size=7.5)
