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

Names = Annotated[list[str], typer.Argument(help="Names of generators, or all.")]


@app.callback()
def _set_threads(
    threads: Annotated[int, typer.Option(help="CPU threads per process.")] = 1,
) -> None:
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")


@app.command("photos")
def download_photos() -> None:
    """Download the photographs listed in photos.json."""
    photos.download(typer.echo)


@app.command()
def crops() -> None:
    """Cut the crops; the other commands also cut the crops if they are missing."""
    n_training, n_candidates = len(photos.load_training_crops()), len(photos.load_candidate_crops())
    typer.echo(f"{n_training} training crops, {n_candidates} candidate crops")


@app.command()
def train(
    names: Names,
    minutes: Annotated[float | None, typer.Option(help="Training time per generator.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
) -> None:
    """Train generators."""
    for generator in _select_generators(names):
        seconds = 60 * (minutes or generator.minutes)
        typer.echo(f"{generator.name}: {seconds:.0f} s of training")
        generator.train(seconds, seed, lambda line, name=generator.name: typer.echo(name + line))


@app.command()
def draw(names: Names, seed: Annotated[int, typer.Option(help="Random seed.")] = 1) -> None:
    """Draw images from generators, and save images that match a real crop in color and detail."""
    for generator in _select_generators(names):
        generator.save_candidates(1000 * seed)


@app.command()
def sheet(name: str, out: Path) -> None:
    """Write a contact sheet of 60 candidates of a generator, or of real crops."""
    is_real = name == "real"
    images = photos.load_candidate_crops() if is_real else np.load(GENERATORS[name].candidates)
    images = images[np.random.default_rng(0).permutation(len(images))[:60]]
    rows = images.reshape(5, 12, photos.SIDE, photos.SIDE, 3).transpose(0, 2, 1, 3, 4)
    Image.fromarray(rows.reshape(5 * photos.SIDE, 12 * photos.SIDE, 3)).save(out)


@app.command("pack")
def write_pack(folder: Path = photos.HERE.parents[1] / "demo") -> None:
    """Select the images of the demo pack, and write the pack with NOTICE.md and README.md."""
    from tools.zoo import pack, pages

    origins = pack.select_images(list(GENERATORS.values()), typer.echo)
    pack.write_pack(origins, folder)
    (folder / "NOTICE.md").write_text(pages.format_notice(origins), encoding="utf-8")
    (folder / "README.md").write_text(pages.format_readme(origins), encoding="utf-8")


def _select_generators(names: list[str]) -> list[Generator]:
    unknown = [name for name in names if name not in (*GENERATORS, "all")]
    if unknown:
        raise typer.BadParameter(
            f"unknown generator {', '.join(unknown)}; choose from {', '.join(GENERATORS)}, all."
        )
    return [GENERATORS[name] for name in GENERATORS if {name, "all"} & set(names)]


if __name__ == "__main__":
    app()
