"""``whichgen verify``: verify the checksums or the signature of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from whichgen.cli.command import command
from whichgen.cli.console import say
from whichgen.cli.shared_options import ModelFolder


@command
def verify(
    model: ModelFolder,
    run: Annotated[Path | None, Argument(help="Run folder or model folder.")] = None,
) -> None:
    """Verify a model's signature with a public key or, without a key, its checksums."""
    from whichgen.models.saved_model import find_model_folder
    from whichgen.models.signatures import verify_checksums, verify_signature

    folder = find_model_folder(run or model.path)
    if model.verify_key is None:
        verify_checksums(folder)
        say(f"{folder}: checksums match. Add --verify-key to verify the signature.")
    else:
        verify_signature(folder, model.verify_key)
        say(f"{folder}: signature verified with {model.verify_key}.")
