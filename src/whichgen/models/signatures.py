"""Write and verify the checksums of a model folder, and verify its signature.

``SHA256SUMS`` lists the SHA-256 of every other file except ``model.sig``, in the format of the
program ``sha256sum``. It detects incomplete copies but not tampering, because an attacker can
change the checksums as well.

``model.sig`` is a signature of all other files, except ``.git``, ``.github``, ``.gitattributes``
and ``.gitignore``, in the format of the OpenSSF Model Signing specification (a Sigstore bundle with
an in-toto statement, ECDSA on a NIST curve). whichgen verifies it offline with the package
``model-signing`` (extra ``sign``). Create it with the command-line tool of that package::

    python -m model_signing sign key MODEL --private_key KEY.pem --signature MODEL/model.sig
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from whichgen.errors import ModelFileError, get_first_line
from whichgen.io.atomic_writes import is_temporary, write_text

#: Names of the checksum file and the signature file in a model folder.
CHECKSUMS_FILE = "SHA256SUMS"
SIGNATURE_FILE = "model.sig"

#: Environment variable with the path of the public key that must verify the signature of every
#: loaded model, unless another key is specified.
KEY_VARIABLE = "WHICHGEN_VERIFY_KEY"


def write_checksums(folder: Path, later_files: Mapping[str, bytes]) -> None:
    """Write ``SHA256SUMS``: the SHA-256 of every other file in a model folder except ``model.sig``.

    Parameters
    ----------
    folder
        The model folder.
    later_files
        Maps the name of each file that will be written after ``SHA256SUMS`` to its content, from
        which its checksum is computed.

    Raises
    ------
    OSError
        A file can't be read or written.
    """
    digests = _hash_files(folder)
    digests |= {name: hashlib.sha256(content).hexdigest() for name, content in later_files.items()}
    lines = (f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    write_text(folder / CHECKSUMS_FILE, "".join(lines))


def verify_checksums(folder: Path) -> None:
    """Check that the files of a model folder match ``SHA256SUMS``.

    Raises
    ------
    ModelFileError
        ``SHA256SUMS`` is missing or is not valid UTF-8, or a file other than the signature was
        changed, removed or added.
    OSError
        A file can't be read.
    """
    try:
        lines = (folder / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        raise ModelFileError(
            f"{folder} has no readable checksums ({CHECKSUMS_FILE}). Copy the folder again, or "
            "save the model again."
        ) from None
    expected_digests = {
        name: digest for digest, _, name in (line.partition("  ") for line in lines)
    }
    actual_digests = _hash_files(folder)
    names = sorted(
        n
        for n in expected_digests | actual_digests
        if expected_digests.get(n) != actual_digests.get(n)
    )
    if names:
        raise ModelFileError(
            f"{folder} does not match its checksums. Changed, missing or additional files: "
            f"{', '.join(names)}. Copy the model again to an empty folder, or save it again."
        )


def verify_signature(folder: Path, key: Path) -> None:
    """Verify the signature of a model folder with a public key.

    Parameters
    ----------
    folder
        The model folder.
    key
        PEM file of the public key, on the curve P-256, P-384 or P-521.

    Raises
    ------
    ModelFileError
        The extra ``sign`` is not installed, the key can't be read or is not on one of these curves,
        a file of the model can't be read, or the signature is missing, is not valid, was created
        with another key or does not match the files.
    """
    try:
        from model_signing import hashing, verifying
    except ModuleNotFoundError as error:
        raise ModelFileError(
            f"verifying a signature requires {error.name}. Install it with: pip install "
            "'whichgen[sign]'"
        ) from None
    # The hub's client stores files as symbolic links; their targets are hashed.
    hash_config = hashing.Config()  # type: ignore[no-untyped-call]
    hash_config.use_file_serialization(hashing_algorithm="sha256", allow_symlinks=True)
    hash_config.set_allow_symlinks(True)
    hash_config.set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=True)
    config = verifying.Config()  # type: ignore[no-untyped-call]
    config.set_hashing_config(hash_config)
    try:
        config.use_elliptic_key_verifier(public_key=key)
    except Exception as error:  # an invalid key file can cause any exception
        raise ModelFileError(
            f"{key} can't be used as a public key ({get_first_line(error)}). Use a PEM file with a "
            "public key on the curve P-256, P-384 or P-521."
        ) from error
    if not (folder / SIGNATURE_FILE).is_file():
        raise _make_signature_error(folder, key, f"it is not signed (no {SIGNATURE_FILE})")
    try:
        config.verify(folder, folder / SIGNATURE_FILE)
    except Exception as error:  # an untrusted signature can cause any exception
        reason = f"the signature can't be verified ({get_first_line(error)})"
        raise _make_signature_error(folder, key, reason) from error


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises
    ------
    OSError
        The file can't be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hash_files(folder: Path) -> dict[str, str]:
    """Map the path of each file, relative to ``folder``, to its SHA-256 (64 hex digits).

    ``SHA256SUMS``, ``model.sig`` and temporary files are omitted.
    """
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
    return {
        name: hash_file(file)
        for name, file in sorted(files.items())
        if file.is_file()
        and name not in (CHECKSUMS_FILE, SIGNATURE_FILE)
        and not is_temporary(file)
    }


def _make_signature_error(folder: Path, key: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        f"{folder} is rejected: {reason}. The model must be signed with the private key that "
        f"belongs to {key}. Get the model from a trusted source or, if it is your model, sign it "
        "with `python -m model_signing`."
    )
