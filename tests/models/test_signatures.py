"""Checksums and signatures: what is refused, and that it is told why."""

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

from whichgen.errors import ModelFileError
from whichgen.inference.attributor import Attributor
from whichgen.models.card import save_with_card
from whichgen.models.saved_model import OriginModel
from whichgen.models.signatures import check_sums, sign, verify


def save_keys(folder: Path, name: str, password: str = "") -> tuple[Path, Path]:
    """Makes the key ``NAME.pem`` and its public part ``NAME.pub``."""
    key = ec.generate_private_key(ec.SECP256R1())
    locked = pem.BestAvailableEncryption(password.encode()) if password else pem.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, locked),
    )
    public.write_bytes(
        key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    return save_keys(tmp_path, "newsroom")


@pytest.fixture
def folder(models: dict[str, OriginModel], tmp_path: Path) -> Path:
    """A model's folder, not signed."""
    save_with_card(models["linear"], tmp_path / "run")
    return tmp_path / "run/model"


def changed(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"0", b"1", 1))


#: What can happen to a folder on its way.
HARM: dict[str, Callable[[Path], object]] = {
    "the description changed": lambda folder: changed(folder / "model.json"),
    "the arrays changed": lambda folder: changed(folder / "head.safetensors"),
    "the card changed": lambda folder: (folder / "README.md").write_text("Trust me."),
    "the card went": lambda folder: (folder / "README.md").unlink(),
    "a file came": lambda folder: (folder / "more.json").write_text("{}"),
    "a hidden file came": lambda folder: (folder / ".gitattributes").write_text("x"),
    "a folder came": lambda folder: shutil.copytree(folder, folder / "inner"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_folder_that_is_not_as_it_was_is_refused(
    harm: str, folder: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    sign(folder, private)
    verify(folder, public)
    check_sums(folder)
    HARM[harm](folder)
    with pytest.raises(ModelFileError, match=r"refused: a file was changed, went or came since"):
        Attributor.load(folder, key=public)
    with pytest.raises(ModelFileError, match="changed, went or came"):
        check_sums(folder)
    with pytest.raises(ModelFileError, match="not as it was written"):
        sign(folder, private)  # nobody signs a broken copy unawares


def test_checksums_can_be_rewritten_by_anybody_a_signature_can_not(
    folder: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    sign(folder, private)
    card, sums = folder / "README.md", folder / "SHA256SUMS"
    before = hashlib.sha256(card.read_bytes()).hexdigest()
    card.write_text("Trust me.")
    after = hashlib.sha256(card.read_bytes()).hexdigest()
    sums.write_text(sums.read_text().replace(before, after))
    check_sums(folder)
    with pytest.raises(ModelFileError, match="changed, went or came since it was signed"):
        verify(folder, public)


def test_checksums_are_those_of_coreutils(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    told = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert told == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("README.md", "head.safetensors", "model.json")
    }
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelFileError, match="has no checksums that can be read"):
        check_sums(folder)


def test_an_unsigned_folder_another_key_and_a_forged_signature_are_refused(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    with pytest.raises(ModelFileError, match="not signed") as refused:
        verify(folder, public)
    assert str(public) in str(refused.value)
    stranger, strangers = save_keys(tmp_path, "stranger")
    sign(folder, stranger)
    with pytest.raises(ModelFileError, match="signed with another key"):
        verify(folder, public)
    verify(folder, strangers)
    # The stranger's signature under the newsroom's name.
    file = folder / "model.sig"
    bundle, hint = json.loads(file.read_text()), json.loads(file.read_text())
    sign(folder, private)
    right = json.loads(file.read_text())
    bundle["verificationMaterial"] = right["verificationMaterial"]
    for forged in (json.dumps(bundle), "{}", "", json.dumps(hint)[:100]):
        file.write_text(forged)
        with pytest.raises(ModelFileError, match="damaged or forged"):
            verify(folder, public)


def test_the_variable_names_the_key_that_is_required(
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


def test_a_hub_s_links_are_followed(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    sign(folder, private)
    (tmp_path / "links").mkdir()
    for file in folder.iterdir():
        (tmp_path / "links" / file.name).symlink_to(file)
    verify(tmp_path / "links", public)
    changed(folder / "model.json")
    with pytest.raises(ModelFileError, match="refused"):
        verify(tmp_path / "links", public)


def test_a_key_that_can_not_be_used_is_one_message(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, public = save_keys(tmp_path, "locked", password="open sesame")
    with pytest.raises(ModelFileError, match="no private key that can be used"):
        sign(folder, locked)
    monkeypatch.setenv("WHICHGEN_KEY_PASSWORD", "open sesame")
    sign(folder, locked)
    verify(folder, public)
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "ed.pub").write_bytes(
        other.public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    )
    for wrong in (tmp_path / "ed.pub", tmp_path / "none", folder / "model.json", folder):
        with pytest.raises(ModelFileError, match="no public key that can be used"):
            verify(folder, wrong)


def test_the_signature_is_the_specification_s(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    sign(folder, private)
    command = ["verify", "key", str(folder), "--signature", str(folder / "model.sig")]
    command += ["--public_key", str(public)]
    done = subprocess.run(
        [sys.executable, "-m", "model_signing", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout


def test_the_extra_is_named_where_it_is_missing(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(ModelFileError, match=r"pip install 'whichgen\[sign\]'"):
        verify(folder, keys[1])
