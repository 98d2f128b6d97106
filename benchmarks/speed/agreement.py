"""Whether whichgen and the reference implementation agree, and what the remaining differences are.

k-NN must select the same block and k, with metrics equal to 0.1 points. Linear probes differ: the
reference implementation's fits stop at 1,000 steps, most of them before they converge, so their
results depend on the order of the rows and on rounding errors. Therefore, whichgen must get the
same results from image files as from the reference implementation's features, the same metrics as
each of its fits that converges, and for no C a higher objective (:mod:`same_features`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import reference_implementation

from whichgen.io.result_files import Row

if TYPE_CHECKING:
    from protocol import Comparison

#: Largest difference between metrics of the two, in percentage points.
TOLERANCE = 0.1

#: Largest relative difference between the objectives of equal solutions.
_SAME_OBJECTIVE = 1e-7

#: Start of the text if whichgen and the reference implementation do not agree.
DIFFERENT = "**Results differ:**"


def find_differences(comparison: Comparison) -> list[str]:
    """Return what differs: the selected block or value, or metrics of the selected classifier."""
    theirs = comparison.reference
    if "same_features" in theirs:
        selected = theirs["same_features"]
        differences = [
            f"C = {fit['value']:g}: {problem}"
            for fit in theirs["fits"]
            for problem, occurs in (
                ("whichgen's objective is higher", fit["excess"] < -_SAME_OBJECTIVE),
                ("both converge to other metrics", _differs_at_convergence(fit)),
            )
            if occurs
        ]
    else:
        validation = theirs["validation"]
        block = max(validation, key=lambda block: validation[block]["auroc"])
        selected = {
            "block": int(block),
            "value": theirs["value"],
            "validation": validation[block],
            "test": theirs["test"],
        }
        differences = []
    pairs = zip(_flatten(selected), _flatten(_read_selected(comparison.results)), strict=True)
    return [
        *(f"{comparison.method}, {difference}" for difference in differences),
        *(
            f"{comparison.method}, {name}: {expected:g}, from image files {value:g}"
            for (name, expected), (_, value) in pairs
            if abs(expected - value) > (TOLERANCE if " " in name else 0)
        ),
    ]


def describe_agreement(comparisons: list[Comparison]) -> Iterator[str]:
    """Yield sentences; the first starts with :data:`DIFFERENT` if the two do not agree."""
    differences = [d for comparison in comparisons for d in find_differences(comparison)]
    if differences:
        yield f"{DIFFERENT} {'; '.join(differences)}."
    else:
        yield (
            "Agreement (checked): k-NN selects the same block and k as the reference "
            f"implementation, with metrics equal to {TOLERANCE} points. `whichgen linear`, from "
            "image files and with OpenVINO, selects the same block and C, with metrics equal to "
            f"{TOLERANCE} points, as whichgen's fits on the reference implementation's own "
            "features."
        )
    for comparison in comparisons:
        if "fits" in comparison.reference:
            yield _describe_fits(comparison.reference["fits"])


def repeat_rows(comparisons: list[Comparison]) -> Iterator[Row]:
    """Yield how the reference implementation's results change with order, noise and runtime."""
    for comparison in comparisons:
        theirs = comparison.reference
        if "repeats" not in theirs:
            continue
        first = {fit["value"]: fit for fit in theirs["sweep"]}
        values = [fit["value"] for fit in theirs["repeats"][0]["validation"]]
        unchanged = {
            "change": "none",
            "value": theirs["value"],
            "validation": [first[value] for value in values],
        }
        for repeat in (unchanged, *theirs["repeats"]):
            fits = {fit["value"]: fit for fit in repeat["validation"]}
            yield {
                "reference implementation, change": repeat["change"],
                "C": f"{repeat['value']:.4g}",
                **{
                    name: f"{fits[repeat['value']][key]:.2f}" for key, name in _METRIC_NAMES.items()
                },
                "largest change of AUROC at one C": (
                    f"{max(abs(fits[c]['auroc'] - first[c]['auroc']) for c in values):.2f}"
                ),
            }


def count_equal_blocks(comparison: Comparison) -> int:
    """Return the number of blocks of which the validation AUROC of both is equal."""
    theirs = comparison.reference["validation"]
    return sum(
        abs(theirs[str(block["block"])]["auroc"] - 100 * block["val_auroc"]) <= TOLERANCE
        for block in comparison.results["blocks"]
    )


def test_metrics(results: dict[str, Any]) -> dict[str, float]:
    """Return whichgen's test metrics in percent."""
    test = results["test"]
    values = {"accuracy": test["closed"]["accuracy"], "auroc": test["detection"]["auroc"]}
    return {name: 100 * value for name, value in {**values, "oscr": test["oscr"]}.items()}


_METRIC_NAMES = {"accuracy": "accuracy", "auroc": "AUROC", "oscr": "OSCR"}


def _differs_at_convergence(fit: dict[str, Any]) -> bool:
    return bool(fit["converged"] and fit["difference"] > TOLERANCE)


def _read_selected(results: dict[str, Any]) -> dict[str, Any]:
    """Return block, value and metrics in percent from whichgen's ``results.json``."""
    selection = results["selection"]
    (block,) = (block for block in results["blocks"] if block["block"] == selection["block"])
    return {
        "block": selection["block"],
        "value": selection["value"],
        "validation": {name: 100 * block[f"val_{name}"] for name in _METRIC_NAMES},
        "test": test_metrics(results),
    }


def _flatten(selected: dict[str, Any]) -> Iterator[tuple[str, float]]:
    yield "block", selected["block"]
    yield "value", selected["value"]
    for part in ("validation", "test"):
        yield from ((f"{part} {name}", selected[part][name]) for name in _METRIC_NAMES)


def _describe_fits(fits: list[dict[str, Any]]) -> str:
    early = [fit for fit in fits if not fit["converged"]]
    text = (
        f"Of the reference implementation's {len(fits)} fits on the selected block, "
        f"{len(fits) - len(early)} converge within {reference_implementation.MAX_ITER:,} steps. "
    )
    if not early:
        return text
    excess = 100 * max(fit["excess"] for fit in early)
    difference = max(fit["difference"] for fit in early)
    return (
        f"{text}The others stop early, with an objective up to {excess:.2g} % above whichgen's and "
        f"validation metrics up to {difference:.1f} points from those at the optimum. Such results "
        "depend on the order of the rows, which the reference implementation shuffles, and on "
        "rounding errors. Validation metrics of the selected block when its fits are repeated with "
        "up to five values of C around the selected one:"
    )
