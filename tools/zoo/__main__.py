"""Command line: ``python -m tools.zoo photos | train NAME… | draw NAME… | sheet NAME | pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from tools.zoo import photos
from tools.zoo.registry import GENERATORS, Generator

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

Names = Annotated[list[str], typer.Argument(help="generators, or all")]


@app.callback()
def _set_threads(threads: Annotated[int, typer.Option(help="CPU threads per process")] = 1) -> None:
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")


@app.command("photos")
def download_photos() -> None:
    """Download the photographs listed in photos.json."""
    photos.download(typer.echo)


@app.command()
def crops() -> None:
    """Cut the crops, which the other commands do too if they are missing."""
    typer.echo(f"{len(photos.training_crops())} to train on, {len(photos.candidates())} to choose")


@app.command()
def train(
    names: Names,
    minutes: Annotated[float | None, typer.Option(help="training time of each")] = None,
    seed: int = 0,
) -> None:
    """Train generators."""
    for generator in _generators(names):
        seconds = 60 * (minutes or generator.minutes)
        typer.echo(f"{generator.name}: {seconds:.0f} s of training")
        generator.train(seconds, seed, lambda line, name=generator.name: typer.echo(name + line))


@app.command()
def draw(names: Names, seed: int = 1) -> None:
    """Draw images from generators and keep those that match a real crop in color and detail."""
    for generator in _generators(names):
        generator.save_candidates(1000 * seed)


@app.command()
def sheet(name: str, out: Path) -> None:
    """Write a contact sheet of 60 candidates of a generator, or of real crops."""
    images = photos.candidates() if name == "real" else np.load(GENERATORS[name].candidates)
    images = images[np.random.default_rng(0).permutation(len(images))[:60]]
    rows = images.reshape(5, 12, photos.SIDE, photos.SIDE, 3).transpose(0, 2, 1, 3, 4)
    Image.fromarray(rows.reshape(5 * photos.SIDE, 12 * photos.SIDE, 3)).save(out)


@app.command("pack")
def write_pack(folder: Path = photos.HERE.parents[1] / "demo") -> None:
    """Select the images of the demo pack and write it with its NOTICE.md and README.md."""
    from tools.zoo import pack, pages

    origins = pack.select(list(GENERATORS.values()), typer.echo)
    pack.write(origins, folder)
    (folder / "NOTICE.md").write_text(pages.notice(origins), encoding="utf-8")
    (folder / "README.md").write_text(pages.readme(origins), encoding="utf-8")


def _generators(names: list[str]) -> list[Generator]:
    unknown = [name for name in names if name not in (*GENERATORS, "all")]
    if unknown:
        raise typer.BadParameter(
            f"unknown generator {', '.join(unknown)}; choose from {', '.join(GENERATORS)}, all."
        )
    return [GENERATORS[name] for name in GENERATORS if {name, "all"} & set(names)]


if __name__ == "__main__":
    app()
