"""Create the Jinja environment for the templates of report.md and the HTML page."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from whichgen.io.result_files import format_markdown_table, format_rate
from whichgen.report import result_tables, run_warnings
from whichgen.report.figures.style import make_svg_uri


def make_environment(*, autoescape: bool) -> Environment:
    """Create the Jinja environment; if ``autoescape`` is true, inserted text is HTML-escaped."""
    environment = Environment(
        loader=PackageLoader("whichgen.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=format_rate, markdown_table=format_markdown_table)
    environment.globals.update(
        tables=result_tables, warnings=run_warnings, make_svg_uri=make_svg_uri
    )
    return environment
