"""Checksums and signatures: changed, unsigned and forged folders are rejected with the reason."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from model_signing.signing import Config

from whichgen.errors import ModelFileError
from whichgen.inference.attributor import Attributor
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import save_model
from whichgen.models.signatures import verify_checksums, verify_signature


def save_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write the private key ``NAME.pem`` and the public key ``NAME.pub``."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def sign(folder: Path, private: Path) -> None:
    """Sign a folder as ``model_signing sign key`` does, without starting a process."""
    (folder / "model.sig").unlink(missing_ok=True)
    Config().use_elliptic_key_signer(private_key=private).sign(folder, folder / "model.sig")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    return save_keys(tmp_path, "newsroom")


@pytest.fixture
def folder(models: dict[str, OriginModel], tmp_path: Path) -> Path:
    """The folder of an unsigned model."""
    return save_model(models["linear"], tmp_path / "run" / "model")


def modify(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"0", b"1", 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "description": lambda folder: modify(folder / "model.json"),
    "arrays": lambda folder: modify(folder / "head.safetensors"),
    "card": lambda folder: (folder / "README.md").write_text("Trust me."),
    "missing card": lambda folder: (folder / "README.md").unlink(),
    "additional file": lambda folder: (folder / "more.json").write_text("{}"),
    "hidden file": lambda folder: (folder / ".hidden").write_text("x"),
    "subfolder": lambda folder: shutil.copytree(folder, folder / "inner"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_folder_is_rejected(change: str, folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    sign(folder, private)
    verify_signature(folder, public)
    verify_checksums(folder)
    CHANGES[change](folder)
    with pytest.raises(ModelFileError, match=r"rejected: .*can't be verified .Signature mismatch"):
        Attributor.load(folder, key=public)
    with pytest.raises(ModelFileError, match="does not match its checksums"):
        verify_checksums(folder)


def test_signature_detects_rewritten_checksums(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    sign(folder, private)
    card, checksums = folder / "README.md", folder / "SHA256SUMS"
    before = hashlib.sha256(card.read_bytes()).hexdigest()
    card.write_text("Trust me.")
    after = hashlib.sha256(card.read_bytes()).hexdigest()
    checksums.write_text(checksums.read_text().replace(before, after))
    verify_checksums(folder)
    with pytest.raises(ModelFileError, match=r"Hash mismatch for .*README\.md"):
        verify_signature(folder, public)


def test_checksums_have_the_format_of_sha256sum(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    digests = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert digests == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("README.md", "head.safetensors", "model.json")
    }
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelFileError, match="no readable checksums"):
        verify_checksums(folder)


def test_unsigned_foreign_and_forged_signatures_are_rejected(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    with pytest.raises(ModelFileError, match="not signed") as error:
        verify_signature(folder, public)
    assert str(public) in str(error.value)
    foreign_private, foreign_public = save_keys(tmp_path, "foreign")
    sign(folder, foreign_private)
    with pytest.raises(ModelFileError, match=r"can't be verified .Key mismatch"):
        verify_signature(folder, public)
    verify_signature(folder, foreign_public)
    # The foreign signature, claimed to be made with the newsroom's key.
    file = folder / "model.sig"
    text = file.read_text()
    sign(folder, private)
    forged = json.loads(text)
    forged["verificationMaterial"] = json.loads(file.read_text())["verificationMaterial"]
    for content in (json.dumps(forged), "{}", "", text[:100]):
        file.write_text(content)
        with pytest.raises(ModelFileError, match="rejected: the signature can't be verified"):
            verify_signature(folder, public)


def test_environment_variable_requires_a_signature(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys
    assert Attributor.load(folder, device="cpu").model.origins
    monkeypatch.setenv("WHICHGEN_VERIFY_KEY", str(public))
    with pytest.raises(ModelFileError, match="not signed"):
        Attributor.load(folder, device="cpu")
    sign(folder, private)
    assert Attributor.load(folder.parent, device="cpu").model.origins
    assert Attributor.from_pretrained(folder, device="cpu").model.origins


def test_symbolic_links_of_the_hub_are_followed(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    sign(folder, private)
    (tmp_path / "links").mkdir()
    for file in folder.iterdir():
        (tmp_path / "links" / file.name).symlink_to(file)
    verify_signature(tmp_path / "links", public)
    modify(folder / "model.json")
    with pytest.raises(ModelFileError, match="rejected"):
        verify_signature(tmp_path / "links", public)


def test_unusable_key_is_reported(folder: Path, tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "ed.pub").write_bytes(
        other.public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    for wrong in (tmp_path / "ed.pub", tmp_path / "none", folder / "model.json", folder):
        with pytest.raises(ModelFileError, match="can't be used as a public key"):
            verify_signature(folder, wrong)


def test_documented_command_signs_a_folder(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    command = ["sign", "key", folder, "--private_key", private, "--signature", folder / "model.sig"]
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verify_signature(folder, public)


def test_missing_extra_is_named(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(ModelFileError, match=r"pip install 'whichgen\[sign\]'"):
        verify_signature(folder, keys[1])
