"""Whose model folder it is, and whether it is whole: checksums, and a signature with a key.

``SHA256SUMS``, which every model folder has, names its files and their digests as the program
``sha256sum`` does. It finds broken copies; whoever changes the files can change it, too.

``model.sig`` is a signature by the holder of a private key over the digests of all files of the
folder, in the format of the OpenSSF Model Signing specification (a Sigstore bundle with an in-toto
statement, ECDSA on NIST's curves), written and checked offline by sigstore's package
``model-signing``, which needs no other part of whichgen to check it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from whichgen.errors import ModelFileError
from whichgen.io.atomic import is_temporary, write_text
from whichgen.models.saved_model import OriginModel, find_model, load_model

SUMS_FILE = "SHA256SUMS"
SIGNATURE_FILE = "model.sig"

#: The public key that every model loaded must be signed with, if no other is named.
KEY_VARIABLE = "WHICHGEN_VERIFY_KEY"

#: The password of an encrypted private key.
PASSWORD_VARIABLE = "WHICHGEN_KEY_PASSWORD"


def write_sums(folder: Path, coming: Mapping[str, bytes] | None = None) -> None:
    """Writes the checksums of all files of a model folder.

    ``coming``: what will be written after them, by name.
    """
    digests = _digests(folder) | {
        name: hashlib.sha256(content).hexdigest() for name, content in (coming or {}).items()
    }
    lines = (f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    write_text(folder / SUMS_FILE, "".join(lines))


def check_sums(folder: Path) -> None:
    """Raises :class:`ModelFileError` unless the files of a folder are those of its checksums."""
    try:
        lines = (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        raise ModelFileError(
            f"{folder} has no checksums that can be read ({SUMS_FILE}). Save the model anew."
        ) from None
    told = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _digests(folder)
    differing = sorted(name for name in told | found if told.get(name) != found.get(name))
    if differing:
        raise ModelFileError(
            f"{folder} is not as it was written: {', '.join(differing)} changed, went or came. "
            "Copy the folder anew."
        )


def sign(folder: Path, key: Path, password: str | None = None) -> None:
    """Signs all files of a model folder, the checksums too.

    Parameters
    ----------
    key
        A private key in PEM: an elliptic curve's, P-256, P-384 or P-521.
    password
        That of an encrypted key; left out, it is looked for in :data:`PASSWORD_VARIABLE`.

    Raises
    ------
    ModelFileError
        The extra ``sign`` is not installed, the files are not those of the checksums, or the key is
        not one to sign with.
    """
    signing = _library("signing").Config()
    if (folder / SUMS_FILE).is_file():
        check_sums(folder)
    else:  # an earlier version of whichgen saved it
        write_sums(folder)
    given = password or os.environ.get(PASSWORD_VARIABLE)
    try:
        signing.use_elliptic_key_signer(private_key=key, password=given.encode() if given else None)
    except Exception as error:  # a key file can hold anything
        raise _bad_key(key, "private", error) from error
    with TemporaryDirectory() as place:
        file = Path(place) / SIGNATURE_FILE
        signing.set_hashing_config(_hashing()).sign(folder, file)
        write_text(folder / SIGNATURE_FILE, file.read_text(encoding="utf-8"))


def verify(folder: Path, key: Path) -> None:
    """Checks that the files of a model folder are those that the holder of a key signed.

    Parameters
    ----------
    key
        The public key in PEM.

    Raises
    ------
    ModelFileError
        A file was changed, went or came since; there is no signature, or one with another key; the
        extra ``sign`` is not installed, or the key is none.
    """
    verifying = _library("verifying").Config()
    try:
        verifying.use_elliptic_key_verifier(public_key=key)
    except Exception as error:  # a key file can hold anything
        raise _bad_key(key, "public", error) from error
    if not (folder / SIGNATURE_FILE).is_file():
        raise _refused(folder, key, f"it is not signed (no {SIGNATURE_FILE})")
    try:
        verifying.set_hashing_config(_hashing()).verify(folder, folder / SIGNATURE_FILE)
    except Exception as error:  # whatever is wrong with a stranger's signature, it is not valid
        said = str(error)
        if said.startswith("Signature mismatch"):
            why = "a file was changed, went or came since it was signed"
        elif said.startswith("Key mismatch"):
            why = "it was signed with another key"
        else:
            why = f"its {SIGNATURE_FILE} is damaged or forged"
        raise _refused(folder, key, why) from error


def load_verified(path: Path, key: str | Path | None = None) -> OriginModel:
    """The model in a folder (or a run's folder), if it is signed with the key that is asked for.

    Raises
    ------
    ModelFileError
        See :func:`verify` and :func:`whichgen.models.saved_model.load_model`.
    """
    folder = find_model(path)
    if required := required_key(key):
        verify(folder, required)
    return load_model(folder)


def required_key(key: str | Path | None) -> Path | None:
    """The key that models must be signed with: the given one, that of the variable, or none."""
    named = key or os.environ.get(KEY_VARIABLE)
    return Path(named) if named else None


def sha256(file: Path) -> str:
    """The hex digest of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file but the checksums and the signature, by name, in order."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
    return {
        name: sha256(file)
        for name, file in sorted(files.items())
        if file.is_file() and name not in (SUMS_FILE, SIGNATURE_FILE) and not is_temporary(file)
    }


def _hashing() -> Any:
    # The hub's client keeps a model as links; what they lead to is what is hashed.
    config = _library("hashing").Config()
    config.use_file_serialization(hashing_algorithm="sha256", allow_symlinks=True)
    config.set_allow_symlinks(True)
    return config.set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)


def _library(module: str) -> Any:
    try:
        from model_signing import hashing, signing, verifying
    except ModuleNotFoundError as error:
        raise ModelFileError(
            f"{error.name} is not installed: pip install 'whichgen[sign]' brings it."
        ) from None
    return {"hashing": hashing, "signing": signing, "verifying": verifying}[module]


def _bad_key(key: Path, kind: str, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"{key} is no {kind} key that can be used ({error}). It must be PEM, of the curve P-256, "
        f"P-384 or P-521; a password is read from {PASSWORD_VARIABLE}."
    )


def _refused(folder: Path, key: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"{folder} is refused: {why}; a model signed with {key} is asked for. Get the folder anew "
        "from whom you trust, or, if it is yours, sign it: whichgen sign."
    )
