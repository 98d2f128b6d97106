"""``whichgen attribute``: which generator made these images?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgen.cli.console import fail, guarded, needs_extra, progress, say, show_table, warn
from whichgen.cli.engine import (
    LOCAL,
    Address,
    Column,
    Engine,
    EngineName,
    WorkerCount,
    WorkerCpus,
    WorkerGpus,
)
from whichgen.cli.extract import told_unread
from whichgen.cli.options import BatchSize, Device, QdrantUrl, VerifyKey, writable
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.inference.attributor import Attribution
    from whichgen.inference.nearest import Neighborhood
    from whichgen.models.saved_model import OriginModel

#: More origins than that have no column each on a terminal.
_MOST_COLUMNS = 8
#: How many nearest images of a gallery are told.
_NEAREST = 6


@guarded
def attribute(
    model: Annotated[Path, typer.Argument(help="A model folder, or a run's folder.")],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders of them, or lists: @FILE. With a folder as --parquet, what "
            "`extract` takes."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.")] = False,
    parquet: Annotated[
        Path | None,
        typer.Option(
            help="Write this .parquet file; or, for a large collection, a folder of them: the "
            "same command goes on where one was stopped."
        ),
    ] = None,
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
    column: Column = "",
    engine: EngineName = LOCAL,
    workers: WorkerCount = 0,
    cpus_per_worker: WorkerCpus = 1,
    gpus_per_worker: WorkerGpus = None,
    address: Address = "",
) -> None:
    """Say for each image which known origin made it, or `unknown`."""
    if as_json and as_csv:
        raise DataError("choose one of --json and --csv.")
    chosen = Engine(engine, workers, cpus_per_worker, gpus_per_worker, address)
    if parquet and (parquet.is_dir() or not parquet.suffix):
        if as_json or as_csv or report or gallery:
            raise DataError(
                "a folder as --parquet takes no --json, --csv, --report or --gallery beside it."
            )
        attribute_all(
            *(model, images, parquet, backbone, device, batch_size, verify_key),
            coverage,
            column,
            chosen,
        )
        return
    if chosen.name != LOCAL:
        raise DataError("--engine ray writes a folder of Parquet files: --parquet FOLDER.")
    from whichgen.inference.attributor import Attributor
    from whichgen.io.tables import csv_text, write_parquet

    nearest = _NEAREST if gallery else 0
    if report:
        with needs_extra("serve"):
            from whichgen.service.case import write_case, writer_of
            from whichgen.service.responses import NEAREST as nearest
        writer_of(report)  # a wrong suffix is told now, not after all images
    for target in (report, parquet):
        if target:
            writable(target.parent)
    files = find_images([Path(image) for image in images])
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
        progress=progress,
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


def opened_gallery(folder: Path, model: OriginModel, url: str) -> Neighborhood:
    """The gallery in a folder."""
    from whichgen.gallery.opening import open_gallery

    with needs_extra("qdrant"):
        return open_gallery(folder, model, url=url)


def attribute_all(
    model: Path,
    sources: list[str],
    folder: Path,
    backbone: str,
    device: str,
    batch_size: int,
    key: Path | None,
    coverage: float | None,
    column: str,
    engine: Engine,
) -> None:
    """Answers for a large collection, into a folder of Parquet files."""
    from whichgen.data.shards import count, find_shards
    from whichgen.encoders.loading import load_encoder
    from whichgen.inference.answer_folder import AnswerFolder
    from whichgen.inference.attributor import Attributor
    from whichgen.inference.bulk import AttributeJob, ShardAttributor
    from whichgen.io.run_metadata import fingerprint, provenance
    from whichgen.models.saved_model import model_digest
    from whichgen.models.signatures import load_verified

    loaded = load_verified(model, key)
    name = backbone or str(loaded.encoder["name"])
    shards = find_shards(sources, column=column, batch_size=batch_size)
    asked = {"model": model_digest(model), "coverage": coverage}
    answers = AnswerFolder(folder, asked, loaded.origins, covered=coverage is not None)
    known = answers.known()
    config = {"model": str(model.resolve()), "sources": sources, "backbone": name}
    answers.begin(
        provenance(
            config | {"engine": engine.name, "batch_size": batch_size, "coverage": coverage},
            seeds={},
            encoder=loaded.encoder,
            data_hash=fingerprint(repr(shard) for shard in shards),
        )
    )

    def here() -> ShardAttributor:
        encoder = load_encoder(name, device=device, dtype=str(loaded.encoder["dtype"]))
        attributor = Attributor(loaded, encoder, whole=batch_size)
        return ShardAttributor(attributor, known=known, coverage=coverage, batch_size=batch_size)

    def job() -> AttributeJob:
        return AttributeJob(loaded, name, device, batch_size, coverage, known)

    with engine.found(shards, here, job) as found:
        told = answers.write(found, total=count(shards), progress=progress)
    say(f"{told.images} images, {told.written} answers are new in {folder}")
    if told.broken:
        warn(f"{told.broken} of them are no images that can be read: the column `error` says why.")
    told_unread(told.unread, told.images)


def find_images(paths: list[Path]) -> list[Path]:
    """The files named, all images below the folders named, and those in lists named ``@FILE``."""
    from whichgen.data.dataset import list_images
    from whichgen.data.shards import listed

    found: list[Path] = []
    for path in paths:
        if str(path).startswith("@"):
            inside = [Path(line) for line in listed(Path(str(path)[1:]))]
        else:
            inside = list_images(path) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path} holds no image.")
        found += inside
    return found


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
