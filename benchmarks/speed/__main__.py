"""How fast whichgen is, as ratios measured side by side in one run.

python benchmarks/speed                    # all, into benchmarks/RESULTS.md
python benchmarks/speed --only solvers startup
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import extraction
import gpu
import metrics
import solvers
import startup
import torch
import whole
from random_clip import clip_b16

from whichgen.encoders.loading import load_encoder
from whichgen.io.atomic import write_text
from whichgen.io.run_metadata import collect_run_metadata
from whichgen.io.tables import Row, markdown_table

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "demo" / "images"
HELD_OUT = ("vqvae", "wgan-gp", "flow-matching", "vae")


def few(images: Path, folder: Path, n: int = 8) -> Path:
    """The first images of each origin, linked into a folder."""
    for origin in sorted(images.iterdir()):
        (folder / origin.name).mkdir(parents=True)
        for file in sorted(origin.iterdir())[:n]:
            (folder / origin.name / file.name).symlink_to(file)
    return folder


def whole_experiment() -> list[Row]:
    """On the pretrained encoder, for the numbers, and on CLIP's architecture, for the time."""
    with TemporaryDirectory() as folder:
        images = few(PACK, Path(folder) / "images")
        lite = load_encoder("efficientnet_lite0", device="cpu", dtype="float32")
        clip = clip_b16(Path(folder) / "clip")
        exact, half = (load_encoder(clip, device="cpu", dtype=d) for d in ("float32", "bfloat16"))
        openvino = load_encoder(clip, device="openvino") if find_spec("openvino") else None
        return [
            *whole.measure("EfficientNet-Lite0", images, lite, lite, HELD_OUT),
            *whole.measure("CLIP ViT-B/16 (random)", images, exact, exact, HELD_OUT),
            *whole.measure("the same, bfloat16 to float32", images, half, exact, HELD_OUT),
            *(
                whole.measure("the same, OpenVINO to torch", images, openvino, exact, HELD_OUT)
                if openvino
                else ()
            ),
        ]


def paths_of_c() -> list[Row]:
    """On a block of the pretrained encoder, and on a larger made-up one."""
    with TemporaryDirectory() as folder:
        encoder = load_encoder("efficientnet_lite0", device="cpu", dtype="float32")
        parts = whole.parts_of(PACK, encoder, Path(folder), HELD_OUT)
        of = whole.arrays(parts, block=9)
        rows = solvers.measure(f"block 9: {of.x.shape[0]} × {of.x.shape[1]}", of.x, of.y)
    x, y = solvers.encoder_like(2000, 256, 9)
    quick = [way for way in solvers.WAYS if "newton-cholesky" not in way]
    rows += solvers.measure("made up: 2000 × 256, 9 origins", x, y, quick)
    return rows


SECTIONS: dict[str, tuple[str, Callable[[], list[Row]]]] = {
    "whole": (
        "The whole experiment, one split of eight images an origin of the demo's pack",
        whole_experiment,
    ),
    "extraction": (
        "CLIP ViT-B/16 (random weights) on the CPU, images of 224 × 224 from JPEGs of 640 × 480",
        extraction.measure,
    ),
    "solvers": ("A path of twelve values of C", paths_of_c),
    "metrics": ("Metrics", metrics.measure),
    "startup": ("Start-up, best of five", startup.measure),
    "gpu": ("CLIP ViT-B/16 on a GPU", gpu.measure),
}


def main() -> None:
    """Runs the sections and writes the table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    parser.add_argument("--only", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    given = parser.parse_args()
    made = collect_run_metadata({"sections": given.only}, seeds={}, encoder={}, data_hash="")
    libraries = ", ".join(f"{name} {number}" for name, number in made["libraries"].items())
    text = [
        "# Speed",
        "",
        "Written by `make bench`. Ratios are of one run; times are this machine's.",
        "",
        f"{made['machine']}, {torch.get_num_threads()} threads, Python {made['python']}; "
        f"{libraries}; whichgen {made['whichgen']}; {made['time']}.",
        "",
    ]
    for name in given.only:
        title, measure = SECTIONS[name]
        start = time.perf_counter()
        table = markdown_table(measure())
        print(f"## {title} ({time.perf_counter() - start:.0f} s)\n\n{table}", flush=True)
        text += [f"## {title}", "", table]
    write_text(given.out, "\n".join(text))


if __name__ == "__main__":
    main()
