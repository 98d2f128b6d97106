"""Run the reference implementation on a dataset, as a separate process.

python benchmarks/speed/reference_process.py REQUEST.json

``REQUEST.json`` contains the folder of annotation files, the methods, and for each method the block
to run in full and the value of C or k that whichgen selected for each block. On the other blocks,
only this value is fitted, to compare validation metrics. The features are written to a file that it
names, and the results are added to it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import reference_implementation as reference

from whichgen.encoders.dinov2_small_weights import load_dinov2_network
from whichgen.heads.knn import PAPER_K
from whichgen.heads.linear import PAPER_C

#: Function that fits a classifier, and the candidate values.
METHODS = {
    "linear": (reference.fit_linear, PAPER_C),
    "knn": (reference.fit_knn, PAPER_K),
}

#: Annotation file of each part. The known validation images are the known test images, too.
FILES = {
    "train": "split1_train/annotations/split1_train.txt",
    "val": "split1_val/annotations/split1_val.txt",
    "val_unknown": "split1_val/annotations/split1_val_out_all.txt",
    "test": "split1_val/annotations/split1_val.txt",
    "test_unknown": "split1_test/annotations/split1_test_out_all.txt",
}


def main() -> None:
    """Add the results to the request file."""
    file = Path(sys.argv[1])
    request = json.loads(file.read_text())
    file.write_text(json.dumps({**request, "results": run(request)}))


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Write the features, and return the results of each method (see :func:`run_method`)."""
    network = load_dinov2_network().eval()
    splits = Path(request["splits"])
    loaders = reference.make_loaders(
        {part: reference.read_annotations(splits / name) for part, name in FILES.items()}
    )
    blocks = range(len(network.encoder["layer"]))
    start = time.perf_counter()
    parts = {
        part: reference.extract_features(loader, network, blocks)
        for part, loader in loaders.items()
    }
    extraction = time.perf_counter() - start
    images = sum(len(features[0].y) for features in parts.values())
    arrays = {f"{part} y": features[0].y for part, features in parts.items()}
    for part, features in parts.items():
        arrays |= {f"{part} {block}": features[block].x for block in blocks}
    np.savez(request["features"], **{name: array.numpy() for name, array in arrays.items()})
    by_block = [{part: features[block] for part, features in parts.items()} for block in blocks]
    return {
        method: {
            **run_method(method, by_block, **settings),
            "extraction": extraction,
            "images": images,
        }
        for method, settings in request["methods"].items()
    }


def run_method(
    method: str,
    by_block: list[dict[str, reference.Features]],
    block: int,
    selected: dict[str, float],
) -> dict[str, Any]:
    """Run a method with all values on one block, and with one value on each of the other blocks.

    Parameters
    ----------
    method
        One of :data:`METHODS`.
    by_block
        Features of each part of the dataset, for each block.
    block
        The block on which all values are fitted.
    selected
        Maps each block to the value to fit.

    Returns
    -------
    dict
        ``value``: the selected value; ``validation``: metrics by block; ``test``: metrics;
        ``fit_seconds``: seconds of all fits on the block; ``values``: number of values; ``sweep``:
        steps, objective and validation metrics of each linear probe on the block.
    """
    fit, values = METHODS[method]
    result = reference.run_block(fit, values, by_block[block])
    validation = {block: asdict(result.validation[result.value])}
    for other_block, value in selected.items():
        if int(other_block) != block:
            parts = by_block[int(other_block)]
            predict = fit(parts["train"], value)
            metrics = reference.evaluate(predict, parts["val"], parts["val_unknown"])
            validation[int(other_block)] = asdict(metrics)
    sweep = [
        {
            "value": value,
            "steps": int(probe.model.n_iter_[0]),
            "objective": reference.objective(
                probe.model.coef_, probe.model.intercept_, by_block[block]["train"], value
            ),
            **asdict(result.validation[value]),
        }
        for value, probe in result.fits.items()
        if isinstance(probe, reference.LinearProbe)
    ]
    return {
        "sweep": sweep,
        "value": result.value,
        "validation": validation,
        "test": asdict(result.test),
        "fit_seconds": result.seconds,
        "values": len(values),
    }


if __name__ == "__main__":
    main()
