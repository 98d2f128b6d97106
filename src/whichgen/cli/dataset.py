"""``whichgen dataset``: split a folder, check a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from whichgen.cli.console import fail, guarded, progress, say, show_table, warn
from whichgen.cli.options import (
    CACHE,
    CacheFolder,
    Fractions,
    GroupColumn,
    Groups,
    Seed,
    ShareUnknown,
    Unknown,
    UnknownVal,
    names,
    shares,
)

app = typer.Typer(help="Split a folder of images, or check a data set.", no_args_is_help=True)

#: Reasons shown on the terminal; all of them are counted.
_MOST_REASONS = 20


@app.command()
@guarded
def split(
    folder: Annotated[Path, typer.Argument(help="A folder with one sub-folder an origin.")],
    output_dir: Annotated[
        Path, typer.Option("-o", "--output_dir", help="Where NAME/split1_train/… go.")
    ] = Path("dataset"),
    name: Annotated[str, typer.Option(help="The data set's name (default: the folder's).")] = "",
    unknown: Unknown = "",
    unknown_val: UnknownVal = "",
    share_unknown: ShareUnknown = False,
    groups: Groups = "",
    group_column: GroupColumn = "",
    fractions: Fractions = "0.6,0.2,0.2",
    seed: Seed = 0,
) -> None:
    """Write annotation files: train, val and test share no image, near-duplicate or group."""
    from whichgen.data.benchmarks import write_benchmark
    from whichgen.data.dataset import PARTS
    from whichgen.data.groups import read_groups
    from whichgen.data.splits import SplitOptions, split_folder

    options = SplitOptions(
        unknown=names(unknown),
        unknown_val=names(unknown_val),
        share_unknown=share_unknown,
        fractions=shares(fractions),
        groups=read_groups(Path(groups), group_column or None) if groups else None,
        seed=seed,
    )
    dataset = split_folder(folder.resolve(), options, progress=progress)
    title = name or folder.resolve().name
    written = write_benchmark(dataset, output_dir, title)
    counts = {part: Counter(s.origin for s in dataset.part(part)) for part in PARTS}
    show_table(
        [
            {"origin": origin, **{part: counts[part][origin] or "" for part in PARTS}}
            for origin in (*dataset.known, *dataset.unknown)
        ],
        title=f"{title}: images in each part",
    )
    for note in dataset.notes:
        warn(f"note: {note}")
    where = "" if output_dir == Path("dataset") else f":root={output_dir}"
    say(f"Annotation files are in {written}. Use them with --data {title}{where}")


@app.command()
@guarded
def check(
    data: Annotated[str, typer.Argument(help="A folder, or a data-set string.")],
) -> None:
    """Count images; find missing, unreadable and double files, and give-aways."""
    from whichgen.data.benchmarks import load_benchmark
    from whichgen.data.checks import check_samples
    from whichgen.data.dataset import PARTS, Sample
    from whichgen.data.splits import list_origins

    if Path(data).is_dir():
        samples = [Sample(p, o) for o, paths in list_origins(Path(data)).items() for p in paths]
    else:
        dataset = load_benchmark(data)
        samples = [sample for part in PARTS for sample in dataset.part(part)]
    report = check_samples(samples, progress=progress)
    show_table(
        [
            {
                "origin": row.origin,
                "images": row.images,
                "missing": row.missing,
                "unreadable": row.unreadable,
                "formats": _most(row.formats),
                "sizes": _most(row.sizes),
                "modes": _most(row.modes),
            }
            for row in report.origins
        ],
        title=f"{data}: {len(samples)} images",
    )
    say(
        f"{report.exact_duplicates} exact duplicates, {report.near_duplicates} pairs of "
        "near-duplicates"
    )
    for warning in report.warnings:
        warn(warning)
    if report.errors:
        shown = "\n".join(report.errors[:_MOST_REASONS])
        fail(f"{len(report.errors)} files can't be used:\n{shown}")
    if not report.ok:
        raise typer.Exit(1)
    say("Nothing suspicious.")


@app.command()
@guarded
def leaks(
    data: Annotated[str, typer.Argument(help="A folder, or a data-set string.")],
    unknown: Unknown = "",
    unknown_val: UnknownVal = "",
    share_unknown: ShareUnknown = False,
    groups: Groups = "",
    group_column: GroupColumn = "",
    fractions: Fractions = "0.6,0.2,0.2",
    seed: Seed = 0,
    cache: CacheFolder = CACHE,
) -> None:
    """Predict the origin without a look at the picture: what a model may be cheating by."""
    from whichgen.data.dataset_options import DatasetOptions
    from whichgen.report.result_tables import shortcut_rows
    from whichgen.training.shortcuts import leak_check

    source = DatasetOptions(
        data=data,
        unknown=names(unknown),
        unknown_val=names(unknown_val),
        share_unknown=share_unknown,
        fractions=shares(fractions),
        groups=groups,
        group_column=group_column,
        seed=seed,
    )
    report = leak_check(source.open(cache, progress=progress), seed=seed, progress=progress)
    show_table(
        shortcut_rows(report),
        title=f"{data}: origins told from {report.train_images} training files on "
        f"{report.test_images} test files, % (chance: balanced accuracy "
        f"{100 * report.balanced_chance:.0f})",
    )
    (warn if report.leaks else say)(report.verdict)


def _most(counts: dict[str, int]) -> str:
    """The three most frequent values with their counts."""
    top = list(counts.items())[:3]
    rest = len(counts) - len(top)
    return ", ".join(f"{value} × {n}" for value, n in top) + (f", {rest} more" if rest else "")
