"""What whichgen claims over the paper's method, measured and put in one table.

    python benchmarks/claims.py --shared ../shared/images --out benchmarks/claims

Every row compares, on the same splits and the same test images under the clean protocol, the
paper's method (best block, linear probe over 45 values of C, maximum probability) with fusion:
figures as mean ± standard deviation over choices of the unknown generators and seeds of the split,
errors (100 − value), and in how many of the comparisons fusion is better, and significantly so.
Measured cells are kept in ``--out``; a second run, or one that was stopped, measures what is
missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cells import METHODS, Cell, read_answers, run_cell

from whichgen.data.dataset_options import DatasetOptions
from whichgen.encoders.loading import load_encoder
from whichgen.evaluation.paired_comparison import compare_predictions
from whichgen.io.atomic import write_text
from whichgen.io.result_files import Row, markdown_table, write_csv

#: The only pretrained encoder at hand. Another one is a parameter away.
ENCODER = "efficientnet_lite0"

#: Generators held out: all, and those of them that validation has (none: all are tested, and known
#: generators are left out in turn to choose).
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
PACK = {
    "a": ("vqvae,wgan-gp,flow-matching,vae", "vqvae,wgan-gp"),
    "b": ("vqvae,wgan-gp,flow-matching,vae", "flow-matching,vae"),
    "c": ("dcgan,vae,ddpm,latent-diffusion", "dcgan,vae"),
    "d": ("dcgan,vae,ddpm,latent-diffusion", "ddpm,latent-diffusion"),
    "e": ("vqvae,wgan-gp,flow-matching,vae", ""),
}

#: What every image of a data set, training ones too, is put through in some rows.
PERTURBED = ("jpeg:75", "jpeg:42", "blur:3", "crop:12.5", "resize:128", "resize:352", "social:3")


@dataclass(frozen=True)
class Claim:
    """A row: cells of ``ours`` against cells of ``theirs``, pair by pair."""

    title: str
    ours: tuple[Cell, ...]
    theirs: tuple[Cell, ...]


def claims(data: Sequence[str], seeds: Sequence[int]) -> list[Claim]:
    """The rows of some data sets."""
    rows = []
    for name in data:
        choices = {"shared": SHARED, "pack": PACK}[name]
        plain = [Cell(name, choice, "paper", seed) for choice in choices for seed in seeds]
        first = [cell for cell in plain if cell.seed == seeds[0]]
        rows.append(_claim(f"{name}, as it is", plain))
        rows += [
            _claim(f"{name}, all of it {p}", [replace(cell, perturbation=p) for cell in first])
            for p in PERTURBED
        ]
        rows.append(
            Claim(
                f"{name}, 10 images a class against the paper's method with 100",
                tuple(replace(cell, method="fusion", shots=10) for cell in plain),
                tuple(replace(cell, shots=100) for cell in plain),
            )
        )
    return rows


def _claim(title: str, theirs: Sequence[Cell]) -> Claim:
    return Claim(title, tuple(replace(cell, method="fusion") for cell in theirs), tuple(theirs))


def source_of(cell: Cell, folders: dict[str, Path]) -> DatasetOptions:
    """Where a cell's images come from, and how they are split."""
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


def row_of(claim: Claim, out: Path) -> Row:
    """The figures of a claim whose cells are all measured."""
    found = {
        side: [json.loads((out / f"{cell.name}.json").read_text())["figures"] for cell in cells]
        for side, cells in (("paper", claim.theirs), ("ours", claim.ours))
    }
    row: dict[str, Any] = {"data": claim.title, "pairs": len(claim.ours)}
    for metric, title in (("accuracy", "accuracy"), ("auroc", "AUROC"), ("oscr", "OSCR")):
        theirs, ours = (100 * np.array([f[metric] for f in found[s]]) for s in ("paper", "ours"))
        row[f"paper {title}"] = _mean_std(theirs)
        row[f"fusion {title}"] = _mean_std(ours)
        if metric != "accuracy":
            row[f"{title} error"] = (
                f"{100 * ((100 - ours.mean()) / (100 - theirs.mean()) - 1):+.0f} %"
            )
    row |= _tests(claim, out)
    return row


def _tests(claim: Claim, out: Path) -> Row:
    """In how many pairs OSCR is higher, and significantly (paired bootstrap, p < 0.05)."""
    better = significant = tested = 0
    for ours, theirs in zip(claim.ours, claim.theirs, strict=True):
        first, second = read_answers(ours, out), read_answers(theirs, out)
        found = compare_predictions(
            (first.known, first.unknown),
            (second.known, second.unknown),
            first.origins,
            resamples=500,
        )
        tested += 1
        better += found["oscr"].difference > 0
        significant += found["oscr"].p_value < 0.05 and found["oscr"].difference > 0
    return {"OSCR better": f"{better}/{tested}", "p < 0.05": f"{significant}/{tested}"}


def _mean_std(values: np.ndarray) -> str:
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():.1f} ± {spread:.1f}"


def main() -> None:
    """Measures what is missing, then writes ``claims.md`` and ``claims.csv``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shared", type=Path, help="the shared images; left out: the pack alone")
    parser.add_argument("--pack", type=Path, default=Path("demo/images"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/claims"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "whichgen")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="", help="only claims with this in their title")
    given = parser.parse_args()
    folders = {"pack": given.pack} | ({"shared": given.shared} if given.shared else {})
    rows = [c for c in claims(sorted(folders, reverse=True), given.seeds) if given.only in c.title]
    wanted = dict.fromkeys(cell for claim in rows for cell in (*claim.theirs, *claim.ours))
    encoders = {}
    for number, cell in enumerate(wanted, start=1):
        joined = ENCODER + METHODS[cell.method][0]
        if joined not in encoders:
            encoders[joined] = load_encoder(joined, device="auto", dtype="float32")
        kept = run_cell(cell, source_of(cell, folders), encoders[joined], given.cache, given.out)
        print(f"{number}/{len(wanted)} {cell.name} {kept['figures']}", flush=True)
    table = [row_of(claim, given.out) for claim in rows]
    write_csv(given.out / "claims.csv", table)
    write_text(given.out / "claims.md", f"# Claims\n\n{markdown_table(table)}")
    print(markdown_table(table))


if __name__ == "__main__":
    main()
