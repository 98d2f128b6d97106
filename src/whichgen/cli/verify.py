"""``whichgen verify``: check the integrity and the signature of a model folder."""

from __future__ import annotations

from whichgen.cli.command import command
from whichgen.cli.console import say
from whichgen.cli.options import Model, VerifyKey, require_model


@command
def verify(model: Model = None, verify_key: VerifyKey = None) -> None:
    """Verify a model's checksums and, with a public key, its signature."""
    from whichgen.models.saved_model import find_model_folder
    from whichgen.models.signatures import verify_checksums, verify_signature

    folder = find_model_folder(require_model(model))
    if verify_key is None:
        verify_checksums(folder)
        say(f"{folder}: checksums match. Check the signer with --verify-key.")
    else:
        verify_signature(folder, verify_key)
        say(f"{folder}: signed with {verify_key} and unchanged.")
