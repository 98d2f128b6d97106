"""``whichgen attribute``: which generator made these images?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.console import fail, guarded, needs_extra, say, show_table, track, warn
from whichgen.cli.options import BatchSize, Device, QdrantUrl, VerifyKey, writable
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.attribution.attributor import Attribution
    from whichgen.attribution.model import OriginModel
    from whichgen.attribution.nearest import Neighbourhood

#: More origins than that have no column each on a terminal.
_MOST_COLUMNS = 8
#: How many nearest images of a gallery are told.
_NEAREST = 6


@guarded
def attribute(
    model: Annotated[Path, typer.Argument(help="A model folder, or a run's folder.")],
    images: Annotated[
        list[Path], typer.Argument(help="Image files, folders of them, or lists: @FILE.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.")] = False,
    parquet: Annotated[Path | None, typer.Option(help="Write this Parquet file.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report with pictures: a .html or .pdf file.")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="The encoder's folder, if it is not where the model says.")
    ] = "",
    device: Device = "auto",
    batch_size: BatchSize = 32,
    verify_key: VerifyKey = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Answer a set of origins, too: the true one is in it this often, as in 0.9."
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(help="Tell the nearest images of this gallery (of `gallery build`)."),
    ] = None,
    url: QdrantUrl = "",
) -> None:
    """Say for each image which known origin made it, or `unknown`."""
    if as_json and as_csv:
        raise DataError("choose one of --json and --csv.")
    from whichgen.attribution.attributor import Attributor
    from whichgen.report.tables import csv_text, write_parquet

    nearest = _NEAREST if gallery else 0
    if report:
        with needs_extra("serve"):
            from whichgen.service.answers import NEAREST as nearest
            from whichgen.service.case import write_case, writer_of
        writer_of(report)  # a wrong suffix is told now, not after all images
    for target in (report, parquet):
        if target:
            writable(target.parent)
    files = find_images(images)
    attributor = Attributor.load(model, device=device, backbone=backbone, key=verify_key)
    among = opened_gallery(gallery, attributor.model, url) if gallery else None
    if coverage is not None:
        for note in attributor.quantile(coverage).notes:
            warn(f"note: {note}")
    answers = attributor.attribute(
        files,
        coverage=coverage,
        nearest=nearest,
        among=among,
        batch_size=batch_size,
        track=track,
    )
    if report:
        write_case(report, attributor.model, files, answers)
        say(f"The report is {report}")
    if parquet:
        write_parquet(parquet, [answer.as_row() for answer in answers])
        say(f"{len(answers)} answers are in {parquet}")
    if as_json:
        rows = [answer.as_dict() for answer in answers]
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    elif as_csv:
        sys.stdout.write(csv_text([answer.as_row() for answer in answers]))
    elif not parquet and not report:
        _show(answers)
    if coverage is not None:
        say(
            f"note: a set holds the true origin of {100 * coverage:g} % of images of known "
            "origins that are like the validation images; of an unknown generator it says nothing."
        )
    unread = [answer.error for answer in answers if answer.error]
    if unread:
        fail(f"{len(unread)} of {len(answers)} images have no answer:\n" + "\n".join(unread[:20]))
        raise typer.Exit(1)


def opened_gallery(folder: Path, model: OriginModel, url: str) -> Neighbourhood:
    """The gallery in a folder."""
    from whichgen.attribution.gallery.open import open_gallery

    with needs_extra("qdrant"):
        return open_gallery(folder, model, url=url)


def find_images(paths: list[Path]) -> list[Path]:
    """The files named, all images below the folders named, and those in lists named ``@FILE``."""
    from whichgen.data.samples import list_images

    found: list[Path] = []
    for path in paths:
        if str(path).startswith("@"):
            inside = _listed(Path(str(path)[1:]))
        else:
            inside = list_images(path) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path} holds no image.")
        found += inside
    return found


def _listed(file: Path) -> list[Path]:
    """The paths in a text file, one a line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list {file} can't be read ({error}). One path a line.") from None
    return [Path(line) for line in lines if line.strip()]


def _show(answers: list[Attribution]) -> None:
    read = [answer for answer in answers if not answer.error]
    if not read:
        return
    show_table(
        [
            {
                "image": answer.image,
                "origin": answer.origin,
                "at least": answer.at_least,
                "score": f"{answer.score:.6f}",
                **({} if answer.covered is None else {"set": ", ".join(answer.covered) or "none"}),
                **_probabilities(answer),
                **_nearest(answer),
            }
            for answer in read
        ],
        title=f"A score below {read[0].threshold:.6f} is answered `unknown`. "
        "Right of it: the probability of each known origin, in %",
        whole=("origin", "score"),
    )


def _probabilities(answer: Attribution) -> dict[str, str]:
    """A column for each origin, or the three most probable in one where there are many."""
    if len(answer.probabilities) <= _MOST_COLUMNS:
        return {origin: f"{100 * p:.1f}" for origin, p in answer.probabilities.items()}
    top = sorted(answer.probabilities.items(), key=lambda item: -item[1])[:3]
    return {"most probable": ", ".join(f"{origin} {100 * p:.1f}" for origin, p in top)}


def _nearest(answer: Attribution) -> dict[str, str]:
    """The nearest image of a gallery, if one was asked."""
    if not answer.nearest or not answer.nearest[0].path:
        return {}
    first = answer.nearest[0]
    return {"nearest": f"{first.origin or Path(first.path).name} {first.similarity:.3f}"}
