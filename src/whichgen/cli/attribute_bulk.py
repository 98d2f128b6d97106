"""``whichgen attribute-bulk``: attribute a large collection and write Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from whichgen.cli.collection_options import CollectionSources, EngineOptions
from whichgen.cli.command import resumable_command
from whichgen.cli.console import say, show_progress, warn
from whichgen.cli.error_exits import exit_on_unreadable
from whichgen.cli.evidence_flags import AnswerEvidence
from whichgen.cli.shared_options import (
    AttributionModel,
    Coverage,
    OutputDir,
    Stability,
    check_writable,
)
from whichgen.phrases import format_count


@resumable_command
def attribute_bulk(
    sources: CollectionSources,
    model: AttributionModel,
    engine: EngineOptions,
    evidence: AnswerEvidence,
    output_dir: Annotated[Path, OutputDir(help="Output folder for Parquet files.")] = Path(
        "attributions"
    ),
    coverage: Coverage = None,
    stability: Stability = False,
) -> None:
    """Attribute a large collection of images; rerun the command to resume.

    Files are images, .tar or .parquet files. URLs have the form s3://BUCKET/PREFIX or
    hf://datasets/OWNER/NAME.
    """
    from whichgen.data.shards.find_shards import count_images, find_shards
    from whichgen.inference.bulk_answers import AnswerFolder
    from whichgen.inference.bulk_job import AttributionJob
    from whichgen.io.run_metadata import hash_parts
    from whichgen.models.saved_model import hash_description, load_model

    check_writable(output_dir)
    batch_size = model.batch_size
    options = evidence.read_options()
    saved_model = load_model(model.path, key=model.verify_key)
    backbone = model.backbone or str(saved_model.encoder["name"])
    shards = find_shards(sources, column=engine.column, batch_size=batch_size)
    answers = AnswerFolder(
        output_dir,
        hash_description(model.path),
        saved_model.origins,
        coverage,
        stability=stability,
        evidence=evidence.evidence,
    )
    keys_to_skip = answers.read_image_keys()
    config = {"backbone": backbone, "engine": engine.engine, "batch_size": batch_size}
    config |= {"coverage": coverage, "stability": stability}
    config |= {name: str(value or "") for name, value in vars(evidence).items()}
    data_hash = hash_parts(repr(shard) for shard in shards)
    answers.record_run(model.describe_run(saved_model, {}, data_hash, sources=sources, **config))
    job = AttributionJob(
        saved_model, backbone, model.device, batch_size, coverage, stability, options, keys_to_skip
    )
    with engine.process(shards, job) as results:
        summary = answers.write(results, total=count_images(shards), progress=show_progress)
    say(
        f"{format_count(summary.n_images, 'image')}, "
        f"{format_count(summary.n_written, 'new result')}. Results: {output_dir}"
    )
    if summary.n_invalid:
        warn(
            f"Images that can't be decoded: {summary.n_invalid}. See the column `error` in the "
            "results."
        )
    exit_on_unreadable(summary.read_errors, summary.n_images)
