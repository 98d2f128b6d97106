"""Measure the speed of whichgen relative to other implementations, in the same run.

python benchmarks/speed                    # writes benchmarks/RESULTS.md; takes half an hour
python benchmarks/speed --only solvers startup --out /tmp/some.md
python benchmarks/speed --only protocol --limit 12 --out /tmp/small.md    # to test the script
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import agreement
import extraction
import metrics
import protocol
import solvers
import torch
from remaining_time import stage_rows
from startup import startup_rows

from whichgen.io.atomic_writes import write_text
from whichgen.io.result_files import format_markdown_table
from whichgen.io.run_metadata import collect_run_metadata

ROOT = Path(__file__).resolve().parents[2]


def protocol_section(limit: int) -> Iterator[str]:
    """Yield the tables of the reference protocol."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        comparisons, data = protocol.compare(folder, limit)
        yield f"DINOv2 ViT-S/14 on the CPU, {protocol.BLOCKS} blocks. {data}"
        yield (
            "The reference implementation runs in full on the selected block. Its time is "
            f"multiplied by {protocol.BLOCKS}, because it repeats all steps for each block. "
            "whichgen's commands run in full, with report, plots and controls. Peak memory is that "
            "of the largest process."
        )
        yield format_markdown_table(list(protocol.time_rows(comparisons)))
        yield "Measured times of the reference implementation:"
        yield format_markdown_table(list(protocol.reference_rows(comparisons)))
        yield from agreement.describe_agreement(comparisons)
        yield format_markdown_table(list(agreement.repeat_rows(comparisons)))
        yield (
            "On each of the other blocks, the reference implementation is fitted with the value "
            'that whichgen selects. "Equal blocks" is the number of blocks with the same '
            "validation AUROC: on early blocks, the reference implementation stops after 1,000 "
            "steps, before it converges. Test metrics in percent:"
        )
        yield format_markdown_table(list(protocol.metric_rows(comparisons)))
        for method, origin in (("linear", "image files"), ("knn", "cached features")):
            yield f"Stages of `whichgen {method}` from {origin}; CPU time without worker processes:"
            cache = folder / (method if origin == "cached features" else "profile")
            shutil.rmtree(cache / "sweeps", ignore_errors=True)
            command = protocol.whichgen_arguments(method, folder, cache)
            yield format_markdown_table(list(stage_rows(command, folder / "stages.json")))
        yield (
            "The remaining time has these causes: each image passes through the network once, at "
            "the rate of the runtime in the next section. Worker processes import scikit-learn, "
            "then fit all heads to convergence, and five more with shuffled labels. The shortcut "
            "check and the report have no counterpart in the reference implementation."
        )


SECTIONS = {
    "protocol": "The reference protocol at realistic size",
    "extraction": "CLIP ViT-B/16 (random weights) on the CPU, JPEG images of 640 × 480 pixels",
    "solvers": "Twelve values of C",
    "metrics": "Metrics",
    "startup": "Short commands, best of five, with compiled bytecode",
}


def write_section(name: str, limit: int) -> Iterator[str]:
    """Yield the texts and tables of a section."""
    if name == "protocol":
        yield from protocol_section(limit)
    else:
        measure = {
            "extraction": extraction.measure,
            "solvers": solvers.measure,
            "metrics": metrics.measure,
            "startup": startup_rows,
        }
        yield format_markdown_table(measure[name]())


def main() -> None:
    """Run the sections and write their tables; exit with status 1 if results differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    parser.add_argument("--only", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--limit", type=int, default=0, help="images per origin; 0 for all")
    arguments = parser.parse_args()
    machine = collect_run_metadata({"sections": arguments.only}, seeds={}, encoder={}, data_hash="")
    libraries = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
    text = [
        "# Speed",
        "Written by `make bench`. The two times of a ratio are from the same run. Times depend on "
        "the machine.",
        f"{machine['machine']}, {torch.get_num_threads()} threads, Python {machine['python']}; "
        f"{libraries}; whichgen {machine['whichgen']}; {machine['time']}.",
    ]
    for name in arguments.only:
        start = time.perf_counter()
        section = [f"## {SECTIONS[name]}", *map(str.strip, write_section(name, arguments.limit))]
        print("\n\n".join(section), f"\n\n({time.perf_counter() - start:.0f} s)\n", flush=True)
        text += section
        write_text(arguments.out, "\n\n".join(text) + "\n")
    sys.exit(any(part.startswith(agreement.DIFFERENT) for part in text))


if __name__ == "__main__":
    main()
