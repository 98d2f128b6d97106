"""Models on the hub, which the cache of its client replaces here."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from PIL import Image

from whichgen.encoders.encoder import Encoder
from whichgen.errors import ModelFileError
from whichgen.inference.attributor import Attributor
from whichgen.models.hub import download_model
from whichgen.models.model_card import create_model_card
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import load_model, save_model
from whichgen.models.signatures import verify_checksums

COMMIT = "a" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository ``someone/origins`` in the cache of the hub's client."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--origins"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    return repository / "snapshots" / COMMIT


class Hub:
    """Store uploaded files, as the hub does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, Any] = {}

    def create_repo(self, repository: str, **options: Any) -> None:
        self.made[repository] = options

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        assert repo_id in self.made
        shutil.copytree(folder_path, self.folder)
        return huggingface_hub.CommitInfo(
            commit_url=f"https://huggingface.co/{repo_id}/commit/{COMMIT}",
            commit_message=commit_message,
            commit_description="",
            oid=COMMIT,
        )


def test_uploaded_model_is_downloaded(
    model: OriginModel,
    encoder: Encoder,
    images: list[Image.Image],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub(cache)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    exemplars = replace(model.exemplars, thumbnails=(b"x",) * 24)
    pushed = Attributor(replace(model, exemplars=exemplars), encoder)
    address = pushed.push_to_hub("someone/origins")
    assert address.endswith(COMMIT)
    assert hub.made == {"someone/origins": {"private": True, "exist_ok": True}}
    files = {"README.md", "SHA256SUMS", "head.safetensors", "model.json"}
    assert {f.name for f in cache.iterdir()} == files
    verify_checksums(cache)
    fetched = Attributor.from_pretrained("someone/origins", device="cpu")
    assert [a.as_dict() for a in fetched.attribute(images)] == [
        a.as_dict() for a in pushed.attribute(images)
    ]
    assert fetched.model.exemplars.thumbnails == ()  # pictures are not shared


def test_local_folder_needs_no_hub(model: OriginModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m")
    loaded = Attributor.from_pretrained(tmp_path / "m", device="cpu")
    assert loaded.model.origins == model.origins


@pytest.mark.parametrize("name", ["someone/nothing", "no such folder/at all/here"])
def test_missing_repository_is_reported(name: str, cache: Path) -> None:
    with pytest.raises(ModelFileError, match="not a folder, and it can't be downloaded"):
        download_model(name)


def test_failed_upload_is_reported(
    model: OriginModel, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(Hub):
        def create_repo(self, repository: str, **options: Any) -> None:
            raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi", lambda: Closed(Path()))
    with pytest.raises(ModelFileError, match=r"no network.*hf auth login"):
        Attributor(model, encoder).push_to_hub("someone/origins")


def test_offline_upload_does_not_blame_the_environment(
    model: OriginModel, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("whichgen.io.hub_access.can_connect", lambda _: False)
    with pytest.raises(ModelFileError, match=r"failed \(no connection to http\S+ within"):
        Attributor(model, encoder).push_to_hub("someone/origins")


def test_card_lists_origins_metrics_and_limits(model: OriginModel, tmp_path: Path) -> None:
    origins = ("real", "a|b\n# *gan*", "vae")
    hierarchy = replace(model.hierarchy, families=dict.fromkeys(origins[1:], "a*"))
    odd = replace(model, origins=origins, hierarchy=hierarchy, metrics={"accuracy": 0.876})
    card = create_model_card(odd, "someone/origins")
    head, _, body = card.removeprefix("---\n").partition("---\n")
    assert "library_name: whichgen" in head
    assert "- real\n" in body and r"- a\|b \# \*gan\* (a\*)" in body
    assert "| Closed-set accuracy | 87.6 |" in body and "AUROC" not in body
    assert 'from_pretrained("someone/origins")' in body
    assert "evidence, not proof" in body
    assert "not tested after its last change" in create_model_card(replace(model, metrics={}))
    assert "- Data: `not recorded`, digest" in create_model_card(replace(model, run_metadata={}))
    assert load_model(save_model(odd, tmp_path / "m")).origins == odd.origins
