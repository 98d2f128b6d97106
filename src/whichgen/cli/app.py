"""The program ``whichgen``."""

from __future__ import annotations

import functools
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from whichgen.cli import dataset, gallery
from whichgen.cli.attribute import attribute
from whichgen.cli.compare import compare
from whichgen.cli.console import warn
from whichgen.cli.discover import discover
from whichgen.cli.enroll import enroll, fewshot
from whichgen.cli.evidence import evidence
from whichgen.cli.extract import extract
from whichgen.cli.fit import knn, linear
from whichgen.cli.fuse import fuse
from whichgen.cli.lowdata import lowdata
from whichgen.cli.report import report
from whichgen.cli.robustness import evaluate, robustness
from whichgen.cli.serve import serve
from whichgen.cli.sign import sign, verify
from whichgen.deterministic import be_deterministic
from whichgen.errors import WhichgenWarning
from whichgen.version import __version__

app = typer.Typer(
    help="Which generative model made this image? Open-set origin attribution.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    # --c_min, as the first implementation spells it, and --c-min are the same option.
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
)


@app.callback(invoke_without_command=True)
def start(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            envvar="WHICHGEN_DETERMINISTIC",
            help="The same bytes whatever number of threads: one, on the CPU.",
        ),
    ] = False,
) -> None:
    """Which generative model made this image? Open-set origin attribution."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name need not be text, nor a terminal know every letter.
            stream.reconfigure(errors="backslashreplace")
    if show:
        typer.echo(__version__)
        raise typer.Exit
    if deterministic:
        be_deterministic()


_COMMANDS = (
    linear,
    knn,
    fuse,
    extract,
    attribute,
    serve,
    evidence,
    discover,
    enroll,
    evaluate,
    compare,
    robustness,
    lowdata,
    fewshot,
    report,
    sign,
    verify,
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(dataset.app, name="dataset")
app.add_typer(gallery.app, name="gallery")


def expand_blocks(arguments: Sequence[str]) -> list[str]:
    """``-b 5 6 7``, as the first implementation takes it → ``-b 5 -b 6 -b 7``."""
    expanded: list[str] = []
    option = ""
    for argument in arguments:
        if option and argument.isdecimal() and expanded[-1] != option:
            expanded += [option, argument]
            continue
        if argument in ("-b", "--blocks"):
            option = argument
        elif not argument.isdecimal():
            option = ""
        expanded.append(argument)
    return expanded


def _show_warning(otherwise: Callable[..., None], message: Warning | str, *rest: Any) -> None:
    """Ours are for the user, in one line; all others as Python shows them."""
    if isinstance(message, WhichgenWarning):
        warn(f"note: {message}")
    else:
        otherwise(message, *rest)


def main() -> None:
    """The entry point of the command line."""
    # Our own limit on pixels is an error; below it, Pillow's warning helps nobody.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)
    app(args=expand_blocks(sys.argv[1:]))
