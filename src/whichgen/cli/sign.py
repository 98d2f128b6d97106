"""``whichgen sign`` and ``whichgen verify``: whose model folder it is, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whichgen.cli.console import guarded, say
from whichgen.cli.robustness import ModelFolder


@guarded
def sign(
    model: ModelFolder,
    key: Annotated[
        Path, typer.Option(help="The private key: PEM, of the curve P-256, P-384 or P-521.")
    ],
) -> None:
    """Sign a model folder, so that others can verify that it is yours and whole.

    WHICHGEN_KEY_PASSWORD is the password of an encrypted key.
    """
    from whichgen.models.saved_model import find_model
    from whichgen.models.signatures import SIGNATURE_FILE
    from whichgen.models.signatures import sign as run

    folder = find_model(model)
    run(folder, key)
    say(f"Signed: {folder / SIGNATURE_FILE}. Pass it on with the folder, and the public key apart.")


@guarded
def verify(
    model: ModelFolder,
    key: Annotated[
        Path | None,
        typer.Option(
            envvar="WHICHGEN_VERIFY_KEY",
            help="The signer's public key; without it: checksums alone.",
        ),
    ] = None,
) -> None:
    """Verify that a model folder is whole and, with a key, whose it is."""
    from whichgen.models.saved_model import find_model
    from whichgen.models.signatures import check_sums
    from whichgen.models.signatures import verify as run

    folder = find_model(model)
    if key is None:
        check_sums(folder)
        say(f"{folder} is as it was written. Whose it is, only a signature tells: --key.")
    else:
        run(folder, key)
        say(f"{folder} is as the holder of {key} signed it.")
