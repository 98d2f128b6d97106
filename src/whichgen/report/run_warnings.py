"""List the warnings about a run, for the command line, ``report.md`` and the HTML page."""

from __future__ import annotations

from whichgen.evaluation.protocols import PAPER
from whichgen.option_names import name_option
from whichgen.report.run_reader import Run

#: Warnings about the metrics of a run.
SHUFFLE_WARNING = (
    "Label leak: heads fitted on shuffled labels beat chance. The true labels leak into the "
    "training or test set, so the results are not valid. Find and remove the leak, then rerun."
)
CHANCE_WARNING = (
    "The model is not clearly better than chance: the interval of macro recall includes chance, or "
    "the AUROC is below 50 %. Add images of each origin, or try another encoder."
)
NO_UNKNOWN_WARNING = (
    "There are no unknown test images, so this run measures only closed-set accuracy, not the "
    "rejection of images of unknown generators."
)


def list_warnings(run: Run) -> list[str]:
    """Return the warnings about a run that a report shows before its tables.

    The warnings concern the protocol ``paper``, test sources that are also training sources,
    shortcuts, leaked labels, models that are not better than chance, missing unknown test images
    and unreadable files.
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
        advice = f"Hold out origins with {name_option('--unknown')}."
        messages.append(f"{NO_UNKNOWN_WARNING} {advice}")
    if results.skipped:
        messages.append(f"Unreadable files skipped: {len(results.skipped)}. See skipped.txt.")
    return messages
