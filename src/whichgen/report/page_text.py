"""What the page says in words: what was asked, of which data, by which model; what to beware."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whichgen.io.tables import percent
from whichgen.report.result_tables import SHUFFLE_WARNING, shuffle_figures
from whichgen.report.run_reader import Run
from whichgen.report.thumbnails import Thumbnails

_PROTOCOLS = {
    "clean": "clean: what was chosen was chosen on other unknown generators than it is tested on",
    "paper": "paper: as the first implementation did it, which flatters (see the note)",
}


def asked(run: Run) -> str:
    """The question that the experiment put to the model."""
    test = run.results.test
    strange = [one.name for one in test.unknown]
    start = (
        f"Which of {len(run.origins)} known origins made an image: {listed(run.origins)}? "
        f"{test.known_images} test images are of them."
    )
    if not strange:
        return f"{start} There are no images of unknown generators."
    return (
        f"{start} Or was it none of them? For that stand {test.unknown_images} images of "
        f"{listed(strange)}, which it was not fitted on."
    )


def facts(run: Run) -> dict[str, str]:
    """How it was put: encoder, head, protocol, threshold."""
    results = run.results
    low_high = results.threshold.tpr_interval
    kept = f"keeps {100 * results.threshold.tpr:g} % of known validation images"
    if low_high:
        kept += f", and {100 * low_high[0]:.1f} to {100 * low_high[1]:.1f} % of all like them"
    found = {
        "Encoder": results.run_metadata.encoder.get("name", "–"),
        "Head": _head(run),
        "Chosen by": f"{results.selection.metric} on validation",
        "Protocol": _PROTOCOLS.get(results.protocol.name, results.protocol.name),
        "Open-set score": results.score.replace("_", " "),
        "Threshold": f"{results.threshold.value:.6g}; {kept}",
    }
    return {name: str(value) for name, value in found.items()}


def _head(run: Run) -> str:
    chosen = run.results.selection
    if run.fused:
        experts = f", {len(run.results.experts)} experts" if run.results.experts else ""
        return (
            f"fusion of {chosen.members}, C = {chosen.value:g}, shrinkage "
            f"{chosen.shrinkage:g}{experts}"
        )
    return f"{run.head} on block {chosen.block}, {chosen.parameter} = {chosen.value:.4g}"


def warnings(run: Run) -> list[str]:
    """What a reader must know before any figure."""
    results = run.results
    found: list[str] = []
    if results.protocol.name == "paper":
        found += results.protocol.notes
    if results.shortcut_check and results.shortcut_check.detected:
        found.append(results.shortcut_check.message)
    if results.shuffled_labels and results.shuffled_labels.suspicious:
        found.append(SHUFFLE_WARNING)
    if not len(run.unknown):
        found.append(
            "There are no unknown test images: only closed-set figures. How never-seen generators "
            "are rejected was not measured."
        )
    if results.skipped:
        found.append(f"{len(results.skipped)} files were not readable: see skipped.txt.")
    return found


def shuffled(run: Run) -> str:
    """What the control by shuffled labels found."""
    control = run.results.shuffled_labels
    if control is None:
        return "The control by shuffled labels was switched off."
    if control.suspicious:
        verdict = SHUFFLE_WARNING
    elif control.p_value is None:
        verdict = "One such fit alone can't tell."
    else:
        verdict = "That is no more than chance allows."
    return f"{shuffle_figures(control, run.results.test)} {verdict}"


def data(run: Run) -> dict[str, str]:
    """The data card, but for the counts."""
    record = run.results.run_metadata
    config = record.config

    def names(key: str) -> str:
        named = config.get(key)
        return (listed(named) if isinstance(named, list) else str(named or "")) or "–"

    found = {
        "Data": config.get("data", "–"),
        "Unknown generators": names("unknown"),
        "… of them for validation": names("unknown_val"),
        "Shares of train, validation, test": names("fractions"),
        "Groups": config.get("groups") or "none given; near-duplicates go together by themselves",
        "Perturbed copies in training": names("augment"),
        "Images a class, at most": config.get("per_class", "–"),
        "Digest of images, origins and parts": record.data_hash,
        "Files not readable": len(run.results.skipped),
    }
    return {name: str(value) for name, value in found.items()}


def model(run: Run) -> dict[str, str]:
    """The model card."""
    results, record = run.results, run.results.run_metadata
    encoder = record.encoder
    found = {
        "Encoder": encoder.get("name", "–"),
        "Hash of its weights": encoder.get("weights_hash", "–"),
        "Blocks": f"{encoder.get('blocks', '–')}, computed in {encoder.get('dtype', '–')}",
        "Head": _head(run),
        "Open-set score": results.score,
        "Threshold": f"{results.threshold.value:.6g}",
        "Temperature of probabilities": f"{results.temperature:.4g}",
        "Known origins": listed(run.origins),
        "Seeds": ", ".join(f"{k} {v}" for k, v in record.seeds.items()) or "–",
        "Made by": f"whichgen {record.whichgen}, Python {record.python}, {record.machine}, "
        f"{record.time}",
        "Command": record.command,
    }
    if results.coverage:
        found["Prediction sets"] = (
            f"target: the true origin of {100 * results.coverage.target:g} % of known images; "
            f"they hold it for {percent(results.coverage.coverage)} % and are of "
            f"{results.coverage.mean_size:.2f} origins on average"
        )
    return {name: str(value) for name, value in found.items()}


def about_pictures(pictures: Thumbnails) -> str:
    """Why images are missing, if any are."""
    if not pictures.wanted:
        return "Images were left out on request (--no-images)."
    if not pictures.gone:
        return ""
    return (
        f"{len(pictures.gone)} images do not lie where they were tested any more, or can't be "
        "read, and are left out."
    )


def listed(names: Sequence[Any]) -> str:
    """``a, b and c``."""
    texts = [str(name) for name in names]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
