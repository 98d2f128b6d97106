"""What a report says of its controls: the leak check, and fits on shuffled labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from whichgen.evaluation.evaluate import Evaluation
from whichgen.report.tables import Row, markdown_table, percent
from whichgen.training.controls import Controls, ShuffleControl
from whichgen.training.shortcuts import LeakReport

#: Of a run whose controls were all switched off.
NO_CONTROLS = Controls()

SUSPICIOUS = (
    "SHUFFLED LABELS WERE LEARNED: heads fitted on permuted labels are right more often than "
    "chance allows. The true labels reach the fit or the test by some other way; no figure of this "
    "run counts."
)


def leak_rows(leaks: LeakReport) -> list[Row]:
    """A row for each set of traits, in percent."""
    return [
        {
            "by": found.traits,
            "accuracy": percent(found.accuracy),
            "balanced accuracy": percent(found.balanced_accuracy),
            "AUROC": percent(found.auroc),
            "OSCR": percent(found.oscr),
        }
        for found in leaks.sets
    ]


def controls_section(controls: Controls, evaluation: Evaluation) -> str:
    """Markdown text of the controls that were asked for, beside the model's own figures."""
    detection = evaluation.detection
    model: Row = {
        "by": "**the model**",
        "accuracy": percent(evaluation.closed.accuracy),
        "balanced accuracy": percent(evaluation.closed.macro_recall),
        "AUROC": percent(detection.auroc if detection else None),
        "OSCR": percent(evaluation.oscr),
    }
    text = []
    if controls.leaks:
        rows = [*leak_rows(controls.leaks), model]
        text.append(
            "## Leak check\n\nThe origin predicted from the files without a look at the picture: "
            f"size, format and tables (`file`), mean color and contrast (`color`).\n\n"
            f"{markdown_table(rows)}\n{controls.leaks.verdict}"
        )
    if controls.shuffle:
        text.append(_shuffled(controls.shuffle, evaluation))
    return "\n\n".join(text)


def _shuffled(control: ShuffleControl, evaluation: Evaluation) -> str:
    verdict = f"\n\n**{SUSPICIOUS}**" if control.suspicious else ""
    return f"## Shuffled labels\n\n{shuffle_figures(control, evaluation)}{verdict}"


def shuffle_figures(control: ShuffleControl, evaluation: Evaluation) -> str:
    """What the control by shuffled labels measured, in two sentences."""
    found = [shuffle.balanced_accuracy for shuffle in control.shuffles]
    p = "" if control.p_value is None else f" (p = {control.p_value:.2g}, Student's t)"
    return (
        f"The same head fitted {len(found)} times on permuted training labels: balanced accuracy "
        f"{percent(control.mean)} % on average, {percent(min(found))} to {percent(max(found))} %. "
        f"Guessing has {percent(control.chance)} %{p}, the model "
        f"{percent(evaluation.closed.macro_recall)} %."
    )


def controls_json(controls: Controls) -> dict[str, Any]:
    """The part of ``results.json``."""
    return {
        "leak_check": asdict(controls.leaks) if controls.leaks else None,
        "shuffled_labels": asdict(controls.shuffle) if controls.shuffle else None,
    }
