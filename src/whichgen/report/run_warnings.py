"""List the warnings about a run, for the command line, ``report.md`` and the HTML page."""

from __future__ import annotations

from whichgen.evaluation.protocols import PAPER
from whichgen.option_names import name_option
from whichgen.report.run_reader import Run

#: Warnings about the metrics of a run.
SHUFFLE_WARNING = (
    "Possible label leak: heads fitted on shuffled labels are significantly better than chance, so "
    "the results may not be valid. Check whether the true labels leak into training or evaluation, "
    "remove the leak, and rerun."
)
CHANCE_WARNING = (
    "The model is not clearly better than chance: the confidence interval of macro recall "
    "includes chance or lies below it, or the AUROC of known vs. unknown images is below 50 %. Add "
    "training images of each origin, or try another encoder."
)
NO_UNKNOWN_WARNING = (
    "There are no unknown test images, so this run does not measure the rejection of images of "
    "unknown generators."
)


def list_warnings(run: Run) -> list[str]:
    """Return the warnings to show with the metrics of a run.

    The warnings concern the protocol ``paper``, test sources that are, or may be, training sources,
    shortcuts, label leaks, models that are not clearly better than chance, missing unknown test
    images and unreadable files.
    """
    results = run.results
    messages = list(results.protocol.notes) if results.protocol.name == PAPER else []
    overlap = results.test.source_overlap
    if overlap and overlap.seen != 0:
        messages.append(overlap.note)
    if results.shortcut_check and results.shortcut_check.detected:
        messages.append(results.shortcut_check.message)
    if results.shuffled_labels and results.shuffled_labels.suspicious:
        messages.append(SHUFFLE_WARNING)
    recall, auroc = results.intervals.get("macro_recall"), results.test.metrics["auroc"]
    if (recall and recall.low <= 1 / len(run.origins)) or (auroc is not None and auroc < 0.5):
        messages.append(CHANCE_WARNING)
    if not len(run.unknown):
        advice = (
            f"Hold out origins of an image folder with {name_option('--unknown')}, or use a "
            "dataset that contains unknown test images."
        )
        messages.append(f"{NO_UNKNOWN_WARNING} {advice}")
    if results.skipped:
        messages.append(
            f"Unreadable files skipped: {len(results.skipped)}. See skipped.txt in the run folder."
        )
    return messages
