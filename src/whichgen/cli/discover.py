"""``whichgen discover``: how many generators are behind the unknown images?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from whichgen.cli.console import fail, guarded, progress, say, show_table
from whichgen.cli.options import BatchSize, Device, Seed, writable
from whichgen.cli.robustness import Backbone, ModelFolder
from whichgen.errors import DataError


@guarded
def discover(
    model: ModelFolder,
    folder: Annotated[Path, typer.Argument(help="A folder of images.")],
    k: Annotated[
        int | None,
        typer.Option("-k", min=1, help="So many groups (default: HDBSCAN tells how many)."),
    ] = None,
    min_size: Annotated[int, typer.Option(min=2, help="Images in a group, at least.")] = 5,
    everything: Annotated[
        bool, typer.Option("--all", help="Group all images, not only those answered `unknown`.")
    ] = False,
    output_dir: Annotated[
        Path, typer.Option("-o", "--output_dir", help="Where the groups go.")
    ] = Path("discovered"),
    backbone: Backbone = "",
    device: Device = "auto",
    batch_size: BatchSize = 32,
    seed: Seed = 0,
) -> None:
    """Group images of unknown origin into putative generators."""
    import numpy as np

    from whichgen.data.dataset import list_images
    from whichgen.data.reading import image_digest, read_bytes
    from whichgen.evaluation.clustering import agreement
    from whichgen.inference.attributor import Attributor
    from whichgen.inference.discover import discover as run
    from whichgen.io.run_metadata import fingerprint, provenance
    from whichgen.openset.threshold import decide
    from whichgen.report.discovery import Discovery, discovery_rows, write_discovery

    files = list_images(folder) if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder} holds no image. Give a folder of images.")
    writable(output_dir)
    attributor = Attributor.load(model, device=device, backbone=backbone)
    features, errors = attributor.encode(files, batch_size=batch_size, progress=progress)
    readable = [file for file, error in zip(files, errors, strict=True) if not error]
    strange = decide(*attributor.model.predict(features), attributor.model.threshold) < 0
    chosen = np.ones(len(readable), dtype=bool) if everything else strange
    say(f"{int(strange.sum())} of {len(readable)} images are answered `unknown`.")
    paths = tuple(file for file, take in zip(readable, chosen.tolist(), strict=True) if take)
    groups, number = run(
        attributor.model,
        attributor.encoder,
        features[chosen],
        k=k,
        min_size=min_size,
        seed=seed,
    )
    truth = tuple(p.relative_to(folder).parts[0] if p.parent != folder else "" for p in paths)
    found = Discovery(
        paths=paths,
        truth=truth,
        groups=tuple(groups),
        number=number,
        agreement=agreement(np.array(truth), number) if len(set(truth)) > 1 else None,
    )
    record = provenance(
        {
            "model": str(model.resolve()),
            "model_data_hash": attributor.model.data_hash,
            "folder": str(folder.resolve()),
            "k": k,
            "min_size": min_size,
            "all": everything,
        },
        seeds={"seed": seed},
        encoder=attributor.encoder.describe(),
        data_hash=fingerprint(image_digest(read_bytes(path)) for path in paths),
    )
    write_discovery(found, record, output_dir)
    show_table(discovery_rows(found), title=f"{len(groups)} groups of {len(paths)} images")
    if found.agreement:
        a = found.agreement
        say(f"Against the sub-folders: NMI {a.nmi:.3f}, purity {a.purity:.3f}, ARI {a.ari:.3f}.")
    if groups:
        listed = shlex.quote(str(output_dir / f"{groups[0].name}.txt"))
        say(f"To teach the model a group: whichgen enroll {model} NAME @{listed}")
    say(f"Everything is in {output_dir}: report.md, sheet.png, groups.csv, one list a group")
    unread = [error for error in errors if error]
    if unread:
        fail(f"{len(unread)} of {len(files)} images can't be read:\n" + "\n".join(unread[:20]))
        raise typer.Exit(1)
