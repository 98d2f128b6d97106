"""Compare fusion with the paper's method on several datasets, and write a table.

    python benchmarks/claims.py --shared ../shared/images --out benchmarks/claims

The paper's method is a linear probe on the best block, with 45 values of C and the maximum
probability as open-set score. Each row of the table compares both methods on the same splits and
test images, under the protocol ``clean``. It contains the mean ± standard deviation of the metrics
over choices of unknown generators and seeds of the split, the relative change of the error
(100 − metric), the number of pairs in which fusion has a higher OSCR, and the number of pairs in
which it is significantly higher. Measured cells are saved in ``--out``; later runs measure only
missing cells.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cells import METHODS, Cell, read_predictions, run_cell

from whichgen.data.dataset_options import DatasetOptions
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.paired_comparison import compare_predictions
from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import Row, format_markdown_table, write_csv

#: The base encoder of all methods.
ENCODER = "efficientnet_lite0"

#: Choices of unknown generators for the shared images: all unknown generators, and those that are
#: used only for validation. Without the latter, all unknown generators are tested, and known
#: generators are held out in turn for selection.
SHARED = {
    "A": (
        "simulacra,stable_diffusion_beta,dalle2,disco_diffusion",
        "simulacra,stable_diffusion_beta",
    ),
    "B": ("simulacra,stable_diffusion_beta,dalle2,disco_diffusion", "dalle2,disco_diffusion"),
    "C": (
        "latent_diffusion,disco_diffusion,dalle2,midjourney_2022",
        "latent_diffusion,disco_diffusion",
    ),
    "D": ("glid3_xl,simulacra,dalle_mini,stable_diffusion_beta", "glid3_xl,simulacra"),
    "E": ("simulacra,stable_diffusion_beta,dalle2,disco_diffusion", ""),
}

#: Choices of unknown generators for the demo's images.
PACK = {
    "a": ("vqvae,wgan-gp,flow-matching,vae", "vqvae,wgan-gp"),
    "b": ("vqvae,wgan-gp,flow-matching,vae", "flow-matching,vae"),
    "c": ("dcgan,vae,ddpm,latent-diffusion", "dcgan,vae"),
    "d": ("dcgan,vae,ddpm,latent-diffusion", "ddpm,latent-diffusion"),
    "e": ("vqvae,wgan-gp,flow-matching,vae", ""),
}

#: Perturbations of all images, including training images; one row of the table for each.
PERTURBATIONS = (
    "jpeg:75",
    "jpeg:42",
    "blur:3",
    "crop:12.5",
    "resize:128",
    "resize:352",
    "social:3",
)


@dataclass(frozen=True)
class Claim:
    """A row of the table: pairs of cells, one with fusion and one with the paper's method."""

    title: str
    fusion: tuple[Cell, ...]
    paper: tuple[Cell, ...]


def list_claims(data: Sequence[str], seeds: Sequence[int]) -> list[Claim]:
    """List the rows of the table for the named datasets, ``shared`` or ``pack``."""
    claims = []
    for name in data:
        choices = {"shared": SHARED, "pack": PACK}[name]
        cells = [Cell(name, choice, "paper", seed) for choice in choices for seed in seeds]
        first_seed = [cell for cell in cells if cell.seed == seeds[0]]
        claims.append(_make_claim(f"{name}, unmodified", cells))
        claims += [
            _make_claim(f"{name}, {p}", [replace(cell, perturbation=p) for cell in first_seed])
            for p in PERTURBATIONS
        ]
        claims.append(
            Claim(
                f"{name}, 10 images per origin; paper's method with 100",
                tuple(replace(cell, method="fusion", shots=10) for cell in cells),
                tuple(replace(cell, shots=100) for cell in cells),
            )
        )
    return claims


def _make_claim(title: str, paper: Sequence[Cell]) -> Claim:
    return Claim(title, tuple(replace(cell, method="fusion") for cell in paper), tuple(paper))


def make_dataset_options(cell: Cell, folders: dict[str, Path]) -> DatasetOptions:
    """Return the options of a cell's dataset and its split; ``folders`` maps datasets to paths."""
    folder = folders[cell.data]
    unknown, val = {"shared": SHARED, "pack": PACK}[cell.data][cell.choice]
    groups = folder / "index.tsv" if cell.data == "shared" else folder.parent / "groups.tsv"
    return DatasetOptions(
        data=str(folder),
        unknown=tuple(unknown.split(",")),
        unknown_val=tuple(val.split(",")) if val else (),
        share_unknown=not val,
        fractions=(0.5, 0.25, 0.25),
        groups=str(groups),
        group_column="content" if cell.data == "shared" else "group",
        seed=cell.seed,
    )


def make_row(claim: Claim, out: Path) -> Row:
    """Return the table row of a claim, in percent; all its cells must be measured."""
    metrics = {
        method: [json.loads((out / f"{cell.name}.json").read_text())["figures"] for cell in cells]
        for method, cells in (("paper", claim.paper), ("fusion", claim.fusion))
    }
    row: dict[str, Any] = {"data": claim.title, "pairs": len(claim.fusion)}
    for metric, title in (("accuracy", "accuracy"), ("auroc", "AUROC"), ("oscr", "OSCR")):
        paper, fusion = (
            100 * np.array([values[metric] for values in metrics[method]])
            for method in ("paper", "fusion")
        )
        row[f"paper {title}"] = _format_mean(paper)
        row[f"fusion {title}"] = _format_mean(fusion)
        if metric != "accuracy":
            error_ratio = (100 - fusion.mean()) / (100 - paper.mean())
            row[f"{title} error"] = f"{100 * (error_ratio - 1):+.0f} %"
    row |= _test_differences(claim, out)
    return row


def _test_differences(claim: Claim, out: Path) -> Row:
    """Count the pairs in which fusion has a higher OSCR (paired bootstrap, p < 0.05)."""
    n_better = n_significant = 0
    for fusion_cell, paper_cell in zip(claim.fusion, claim.paper, strict=True):
        fusion, paper = read_predictions(fusion_cell, out), read_predictions(paper_cell, out)
        oscr = compare_predictions(
            (fusion.known, fusion.unknown),
            (paper.known, paper.unknown),
            fusion.origins,
            resamples=500,
        )["oscr"]
        n_better += oscr.difference > 0
        n_significant += oscr.p_value < 0.05 and oscr.difference > 0
    n = len(claim.fusion)
    return {"OSCR better": f"{n_better}/{n}", "p < 0.05": f"{n_significant}/{n}"}


def _format_mean(values: np.ndarray) -> str:
    std = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():.1f} ± {std:.1f}"


def main() -> None:
    """Measure the missing cells, and write ``claims.md`` and ``claims.csv``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--shared", type=Path, help="folder of the shared images; omit for the demo only"
    )
    parser.add_argument("--pack", type=Path, default=Path("demo/images"), help="demo images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/claims"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "whichgen")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="", help="text in the titles of the rows to measure")
    arguments = parser.parse_args()
    folders = {"pack": arguments.pack}
    if arguments.shared:
        folders["shared"] = arguments.shared
    claims = list_claims(sorted(folders, reverse=True), arguments.seeds)
    claims = [claim for claim in claims if arguments.only in claim.title]
    cells = dict.fromkeys(cell for claim in claims for cell in (*claim.paper, *claim.fusion))
    encoders = {}
    for number, cell in enumerate(cells, start=1):
        name = ENCODER + METHODS[cell.method][0]
        if name not in encoders:
            encoders[name] = load_encoder(name, device="auto", dtype="float32")
        options = make_dataset_options(cell, folders)
        record = run_cell(cell, options, encoders[name], arguments.cache, arguments.out)
        print(f"{number}/{len(cells)} {cell.name} {record['figures']}", flush=True)
    rows = [make_row(claim, arguments.out) for claim in claims]
    write_csv(arguments.out / "claims.csv", rows)
    write_text(arguments.out / "claims.md", f"# Claims\n\n{format_markdown_table(rows)}")
    print(format_markdown_table(rows))


if __name__ == "__main__":
    main()
