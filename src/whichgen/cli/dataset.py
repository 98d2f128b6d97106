"""``whichgen dataset``: split a folder of images, prepare or check a dataset, find shortcuts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from whichgen.cli.command import command
from whichgen.cli.console import say, show_progress, show_table, warn
from whichgen.cli.error_exits import exit_on_unreadable
from whichgen.cli.shared_options import (
    CacheDir,
    OutputDir,
    Real,
    Seed,
    Sources,
    SplitFlags,
    split_names,
)
from whichgen.defaults import CACHE_DIR, SAMPLES_PER_CLASS
from whichgen.errors import DataError
from whichgen.phrases import format_count

app = typer.Typer(
    help="Split, check or prepare a dataset, or find shortcuts.", no_args_is_help=True
)

Data = Annotated[str, Argument(help="Folder with one subfolder per origin, or dataset string.")]


@app.command()
@command
def split(
    folder: Annotated[Path, Argument(help="Folder with one subfolder per origin.")],
    flags: SplitFlags,
    output_dir: Annotated[
        Path, OutputDir(help="Output folder, in which NAME/split1_train etc. are created.")
    ] = Path("dataset"),
    name: Annotated[
        str, Option(help="Name of the dataset.", show_default="the folder's name")
    ] = "",
    cache_dir: CacheDir = CACHE_DIR,
) -> None:
    """Split a folder of images; write the annotation files of the splits.

    Duplicates, near-duplicates, and images of the same group or source are never divided between
    training, validation and testing.
    """
    from whichgen.data.benchmarks.benchmark_files import write_benchmark
    from whichgen.data.dataset import SPLITS

    options = flags.build_dataset_options(data=str(folder.resolve()), samples_per_class=0)
    dataset = options.open(cache_dir, progress=show_progress)
    title = name or folder.resolve().name
    annotations = write_benchmark(dataset, output_dir, title)
    counts = {part: Counter(s.origin for s in dataset.split(part)) for part in SPLITS}
    show_table(
        [
            {"origin": origin, **{part: counts[part][origin] or "" for part in SPLITS}}
            for origin in (*dataset.known, *dataset.unknown)
        ],
        title=f"{title}: images per split",
    )
    for note in dataset.notes:
        warn(f"note: {note}")
    root = "" if output_dir == Path("dataset") else f":root={output_dir}"
    # With `:split=`, the name is not read as a folder of images.
    say(f"Annotation files: {annotations}. Train with --data {title}:split=split1{root}")


@app.command()
@command
def check(
    data: Data, sources: Sources = "", real: Real = "", cache_dir: CacheDir = CACHE_DIR
) -> None:
    """Check a dataset for unreadable files, duplicates, shortcuts and confounded sources.

    The exit status is 1 if there is a warning or an unreadable file, and 0 otherwise.
    """
    from whichgen.data.checks.check_dataset import check_samples
    from whichgen.data.images.image_reader import ImageReader
    from whichgen.data.layouts.folder_layout import check_origin_names, read_layout
    from whichgen.data.open_dataset import list_samples
    from whichgen.data.splits.split_images import read_samples
    from whichgen.data.tables.groups_and_sources import read_source_option

    folder, is_in_subfolders = Path(data), False
    if folder.is_dir():
        photographs = split_names(real)
        names = read_source_option(sources, folder, photographs) if sources else None
        layout = read_layout(folder, photographs)
        samples = read_samples(folder, layout, sources=names)
        is_in_subfolders = all(sample.path in layout.sources for sample in samples)
        for note in layout.notes:
            say(note)
    else:
        samples = list(list_samples(data))
        if sources or real:
            option = "--sources" if sources else "--real"
            raise DataError(
                f"{option} applies only to folders, but {data} is a dataset string. Remove "
                f"{option}."
            )
    report = check_samples(samples, ImageReader(cache_dir), progress=show_progress)
    rows = [asdict(row) for row in report.origins]
    rare_columns = ("missing", "unreadable", "qualities", "former_jpeg")
    empty_columns = {column for column in rare_columns if not any(row[column] for row in rows)}
    show_table(
        [
            {
                column: format_frequent_values(cell) if isinstance(cell, dict) else cell
                for column, cell in row.items()
                if column not in empty_columns
            }
            for row in rows
        ],
        title=f"{data}: {format_count(len(samples), 'image')}",
    )
    show_table(
        [
            {
                "origin": row.origin,
                "sources": row.n_sources,
                "with other origins": row.n_shared_sources,
                "images per source": "–".join(map(str, dict.fromkeys(row.images_per_source_range))),
            }
            for row in report.sources
        ],
        title="Sources",
    )
    if is_in_subfolders and not sources:
        say("If the subfolders of the origins are sources, add --sources folders.")
    say(
        f"{format_count(report.exact_duplicates, 'exact duplicate')}, "
        f"{format_count(report.near_duplicates, 'near-duplicate')}"
    )
    warnings = [*check_origin_names({s.origin for s in samples}), *report.warnings]
    for warning in warnings:
        warn(warning)
    exit_on_unreadable(report.errors, len(samples), "file")
    if warnings:
        raise SystemExit(1)
    sources_text = "; sources" if report.sources else ""
    say(
        "Checked: names of origins, damaged files, duplicates and near-duplicates; formats, sizes, "
        f"color modes, JPEG quality and traces of JPEG per origin{sources_text}. No warnings. "
        "`whichgen dataset shortcuts` also tests whether a classifier can predict the origin from "
        "such properties."
    )


@app.command()
@command
def prepare(
    name: Annotated[
        str, Argument(help="Benchmark: GenImage, OSMA or DiffusionForensics.", metavar="NAME")
    ],
    folder: Annotated[Path, Argument(help="Folder with the extracted archives.")],
    output_dir: Annotated[
        Path, OutputDir(help="Output folder, in which NAME/split1_train etc. are created.")
    ] = Path("dataset"),
    samples_per_class: Annotated[
        int, Option(min=0, help="Maximum number of images per class in each split; 0: all.")
    ] = SAMPLES_PER_CLASS,
    seed: Seed = 0,
    force: Annotated[bool, Option("--force", help="Overwrite existing annotation files.")] = False,
) -> None:
    """Write annotation files for a published benchmark from its extracted archives."""
    from whichgen.data.benchmarks.benchmark_files import write_splits
    from whichgen.data.benchmarks.prepare_benchmark import prepare_benchmark
    from whichgen.data.dataset import SPLITS

    benchmark = prepare_benchmark(name, folder, samples_per_class=samples_per_class, seed=seed)
    title, unknown_file = benchmark.origins.name, benchmark.origins.unknown_file
    if not force and (existing := sorted((output_dir / title).glob("*/annotations/*.txt"))):
        raise DataError(
            f"{existing[0]} exists. Choose another --output-dir, or add --force to overwrite the "
            f"annotation files of {title}."
        )
    annotations = write_splits(benchmark.splits, output_dir, title, unknown_file=unknown_file)
    show_table(
        [
            {"split": split, **{part: len(dataset.split(part)) for part in SPLITS}}
            for split, dataset in benchmark.splits.items()
        ],
        title=f"{title}: images per split",
    )
    for note in benchmark.notes:
        warn(f"note: {note}")
    root = "" if output_dir == Path("dataset") else f":root={output_dir}"
    say(
        f"Annotation files: {annotations}. Train with --data "
        f"{title}:split={next(iter(benchmark.splits))}{root}"
    )


@app.command()
@command
def shortcuts(data: Data, flags: SplitFlags, cache_dir: CacheDir = CACHE_DIR) -> None:
    """Test whether file properties and mean color predict the origin."""
    from whichgen.data.images.image_reader import ImageReader
    from whichgen.report.result_tables import tabulate_shortcuts
    from whichgen.training.shortcut_check import check_shortcuts

    reader = ImageReader(cache_dir)
    options = flags.build_dataset_options(data=data)
    dataset = options.open(cache_dir, reader=reader, progress=show_progress)
    for note in dataset.notes:
        say(f"note: {note}")
    report = check_shortcuts(dataset, reader, seed=flags.seed, progress=show_progress)
    show_table(
        tabulate_shortcuts(report),
        title=f"{data}: origins predicted from file properties and mean color (%)",
        caption=f"{report.train_images} training and {report.test_images} test files, chance "
        f"{100 * report.balanced_chance:.0f} % balanced accuracy",
    )
    (warn if report.detected else say)(report.message)


def format_frequent_values(counts: Mapping[str, int]) -> str:
    """Format the three most frequent values with their counts, one per line, e.g. ``PNG (5)``.

    ``counts[value]`` is the number of files, most frequent value first. The count is omitted if
    there is only one value. If there are more than three values, the last line is the number of
    omitted values, e.g. ``2 more``.
    """
    if len(counts) == 1:
        return next(iter(counts))
    top = list(counts.items())[:3]
    n_omitted = len(counts) - len(top)
    return "\n".join(f"{value} ({n})" for value, n in top) + (
        f"\n{n_omitted} more" if n_omitted else ""
    )
