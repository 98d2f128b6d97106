"""``whichgen robustness`` and ``whichgen evaluate``: a saved model on test images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichgen.cli.console import guarded, progress, say, show_table
from whichgen.cli.fit import show_unknown
from whichgen.cli.options import (
    CACHE,
    ENCODER,
    CacheFolder,
    Device,
    GroupColumn,
    Groups,
    Unknown,
    UnknownVal,
    kinds_of,
    names,
    open_store,
    warn_skipped,
    writable,
)
from whichgen.errors import DataError

if TYPE_CHECKING:
    from whichgen.data.dataset_options import DatasetOptions
    from whichgen.models.saved_model import OriginModel

ModelFolder = Annotated[Path, typer.Argument(help="A model folder, or a run's folder.")]
Data = Annotated[
    str,
    typer.Option(
        "-d",
        "--data",
        help="Other data than the model was fitted on. A folder is split as for a fit, and its "
        "test part is used.",
    ),
]
Backbone = Annotated[
    str,
    typer.Option(
        help="The encoder's folder, if it is not where the model says.", rich_help_panel=ENCODER
    ),
]


@guarded
def robustness(
    model: ModelFolder,
    data: Data = "",
    unknown: Unknown = "",
    unknown_val: UnknownVal = "",
    groups: Groups = "",
    group_column: GroupColumn = "",
    kinds: Annotated[
        str, typer.Option(help="Perturbations: jpeg,blur,crop,resize,social.")
    ] = "jpeg,blur,crop,resize,social",
    output_dir: Annotated[
        Path | None, typer.Option("-o", "--output_dir", help="Default: the run's folder.")
    ] = None,
    backbone: Backbone = "",
    device: Device = "auto",
    cache: CacheFolder = CACHE,
) -> None:
    """Test a model on images made JPEG, blurred, cropped, resized, or all of it as platforms do."""
    from whichgen.experiments.robustness import robustness as run
    from whichgen.inference.attributor import Attributor
    from whichgen.io.run_metadata import provenance
    from whichgen.models.saved_model import find_model
    from whichgen.report.experiment_reports import robustness_rows, write_robustness

    wanted = kinds_of(kinds)
    found = find_model(model)
    folder = writable(output_dir or (found.parent if found.name == "model" else found))
    attributor = Attributor.load(model, device=device, backbone=backbone)
    loaded, encoder = attributor.model, attributor.encoder
    source = source_of(loaded, data, unknown, unknown_val, groups, group_column)
    dataset = source.open(cache, progress=progress)
    store = open_store(cache, encoder)
    points = list(run(loaded, dataset, encoder, store, kinds=wanted, progress=progress))
    config: dict[str, Any] = {
        **source.as_config(),
        "kinds": list(wanted),
        "model": str(model.resolve()),
        "model_data_hash": loaded.data_hash,
    }
    record = provenance(
        config,
        seeds={"seed": source.seed},
        encoder=encoder.describe(),
        data_hash=points[0].data_hash,
    )
    warn_skipped(points[0].skipped)
    write_robustness(points, record, folder)
    show_table(robustness_rows(points), title=f"{dataset.name}: test figures, %")
    say(f"Everything is in {folder}: robustness.md, robustness.json, plots/robustness.png")


@guarded
def evaluate(
    model: ModelFolder,
    data: Data = "",
    unknown: Unknown = "",
    unknown_val: UnknownVal = "",
    groups: Groups = "",
    group_column: GroupColumn = "",
    backbone: Backbone = "",
    device: Device = "auto",
    cache: CacheFolder = CACHE,
) -> None:
    """Test a saved model once more, on its own or on other data."""
    from whichgen.experiments.robustness import measure
    from whichgen.inference.attributor import Attributor
    from whichgen.report.result_tables import headline_rows

    attributor = Attributor.load(model, device=device, backbone=backbone)
    loaded, encoder = attributor.model, attributor.encoder
    source = source_of(loaded, data, unknown, unknown_val, groups, group_column)
    dataset = source.open(cache, progress=progress)
    point = measure(loaded, dataset, encoder, open_store(cache, encoder), progress=progress)
    warn_skipped(point.skipped)
    show_table(headline_rows(point.evaluation), title=f"{dataset.name}: test figures")
    show_unknown(point.evaluation)


def source_of(
    model: OriginModel,
    data: str,
    unknown: str,
    unknown_val: str,
    groups: str,
    group_column: str,
) -> DatasetOptions:
    """The data asked for, or else those that the model was fitted on."""
    from whichgen.data.dataset_options import DatasetOptions

    if not data:
        if unknown or unknown_val or groups or group_column:
            raise DataError(
                "--unknown, --unknown-val, --groups and --group-column describe other data: give "
                "them together with --data."
            )
        if "data" not in model.provenance.get("config", {}):
            raise DataError(
                "the model does not say what data it was fitted on. Name the data with --data."
            )
        return DatasetOptions.from_config(model.provenance["config"])
    return DatasetOptions(
        data=data,
        unknown=names(unknown),
        unknown_val=names(unknown_val),
        groups=groups,
        group_column=group_column,
    )
