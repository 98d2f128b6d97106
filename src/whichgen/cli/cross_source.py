"""``whichgen cross-source``: evaluate a method on held-out sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from whichgen.cli.command import resumable_command
from whichgen.cli.console import say, show_progress, show_table, warn_skipped
from whichgen.cli.shared_options import OutputDir, check_writable, open_store, split_names
from whichgen.cli.training_options import TrainOptions
from whichgen.errors import DataError


@dataclass(frozen=True)
class CrossSourceOptions(TrainOptions):
    """Like :class:`TrainOptions`, but ``--output-dir`` is the results folder itself."""

    output_dir: Annotated[
        Path | None, OutputDir(help="Results folder.", show_default="output/cross-source/HEAD")
    ] = None


@resumable_command
def cross_source(
    options: CrossSourceOptions,
    head: Annotated[Literal["linear", "knn", "fusion"], Option(help="Classifier head.")] = "fusion",
    folds: Annotated[int, Option(min=3, help="Number of folds; each source is in one fold.")] = 8,
    shares: Annotated[
        str, Option(help="Repeat with these fractions of the training sources: X,X,…")
    ] = "",
) -> None:
    """Evaluate a method on held-out sources and, for comparison, on known sources."""
    from whichgen.cli.training_run import add_traces, build_fit_options
    from whichgen.data.images.image_reader import ImageReader
    from whichgen.data.splits.source_folds import link_across_sources
    from whichgen.data.splits.unknown_origins import split_unknown_origins
    from whichgen.encoders.loading import load_encoder
    from whichgen.experiments.cross_source import (
        FUSION_GRID,
        SourceSplit,
        evaluate_cross_source,
        make_fold_datasets,
    )
    from whichgen.features.extraction import extract
    from whichgen.heads.method_registry import SWEEP_METHODS
    from whichgen.io.run_metadata import collect_run_metadata, hash_parts
    from whichgen.report.cross_source_report import (
        tabulate_cross_source_metrics,
        write_cross_source,
    )

    if options.augment:
        raise DataError("cross-source does not support --augment. Omit the option.")
    data_options = options.split.build_dataset_options(data=options.data)
    is_fusion = head == "fusion"
    train_options: TrainOptions = add_traces(options) if is_fusion else options
    method = None if is_fusion else SWEEP_METHODS[head]()
    library_options = build_fit_options(train_options, method, **(FUSION_GRID if is_fusion else {}))
    folder = check_writable(options.output_dir or Path("output") / "cross-source" / head)
    samples = data_options.list_samples()
    seed = data_options.seed
    splits = [SourceSplit(folds, seed=seed), SourceSplit(folds, by_source=False, seed=seed)]
    try:
        fractions = [float(share) for share in split_names(shares)]
    except ValueError:
        raise DataError(
            f"--shares {shares!r} is not a list of numbers. Write e.g. 0.25,0.5."
        ) from None
    splits += [SourceSplit(folds, share=fraction, seed=seed) for fraction in fractions]
    unknown = split_unknown_origins(data_options)
    name = Path(options.data).resolve().name
    for split in splits:  # raise errors about sources before the images are encoded
        make_fold_datasets(name, samples, *unknown, split)
    encoder_options = train_options.encoder
    encoder = load_encoder(
        encoder_options.name, device=encoder_options.device, dtype=encoder_options.dtype
    )
    reader = ImageReader(options.cache_dir)
    images = extract(
        samples,
        encoder,
        open_store(options.cache_dir, encoder),
        reader=reader,
        batch_size=encoder_options.batch_size,
        progress=show_progress,
    )
    warn_skipped(images.skipped)
    links = link_across_sources(samples, reader, progress=show_progress)
    if links:
        linked_sources = {samples[i].source for pair in links for i in pair}
        say(
            f"note: {len(linked_sources)} sources share near-duplicates with other sources. "
            "Sources that share near-duplicates are kept in the same fold."
        )
    datasets = [make_fold_datasets(name, samples, *unknown, split, links=links) for split in splits]
    results = []
    for i, (split, folds_of_split) in enumerate(zip(splits, datasets, strict=True)):
        say(f"{i + 1} of {len(splits)}: {split.title}")
        results.append(
            evaluate_cross_source(
                folds_of_split,
                images,
                encoder,
                library_options,
                split,
                reader=reader,
                progress=show_progress,
            )
        )
    record = collect_run_metadata(
        {
            **data_options.as_config(),
            "head": head,
            "folds": folds,
            "options": vars(library_options),
        },
        seeds={"seed": seed},
        encoder=encoder.describe(),
        data_hash=hash_parts(images.keys),
    )
    write_cross_source(results, record, folder)
    for result in results:
        rows = [
            {"metric": r["metric"], "% (95 % interval)": r["value"]}
            for r in tabulate_cross_source_metrics(result)
        ]
        show_table(rows, title=f"{name}: {result.split.title}")
    say(f"Results: {folder} (cross_source.md, cross_source.json, cross_source.csv, plots/)")
