"""Models on the Hugging Face hub: to fetch one, and to share one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from whichgen.errors import ModelFileError
from whichgen.models.card import CARD_FILE, write_folder
from whichgen.models.saved_model import DESCRIPTION_FILE, HEAD_FILE, OriginModel
from whichgen.models.signatures import SIGNATURE_FILE, SUMS_FILE

_FILES = [DESCRIPTION_FILE, HEAD_FILE, CARD_FILE, SUMS_FILE, SIGNATURE_FILE]


def find_or_fetch(name: str | Path, *, revision: str | None = None) -> Path:
    """The folder of a model: a local one as it is, any other name fetched from the hub.

    Of a repository nothing is fetched but the two files that a model is, JSON and safetensors, and
    what goes with them: card, checksums, signature.

    Raises
    ------
    ModelFileError
        Neither a folder nor on the hub, or the hub can't be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        found = huggingface_hub.snapshot_download(
            str(name), revision=revision, allow_patterns=_FILES
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(
            f"{name} is no folder, and fetching it from the hub failed ({first}). Check the name "
            "and the network, or give the folder of a run."
        ) from error
    return Path(found)


def push(model: OriginModel, repository: str, *, private: bool = True, message: str = "") -> str:
    """Shares a model with its card in a repository of the hub, which is made if it is not there.

    Exemplars' features go with it, without which nothing can be enrolled; their small pictures, of
    images that may not be yours to share, stay here.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    ModelFileError
        The hub can't be reached, or does not allow it.
    """
    shared = model
    if model.exemplars is not None:
        shared = replace(model, exemplars=replace(model.exemplars, thumbnails=()))
    api = huggingface_hub.HfApi()
    try:
        with TemporaryDirectory() as folder:
            write_folder(shared, Path(folder), repository)
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=message or "A whichgen model",
            )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelFileError(
            f"{repository} can't be written on the hub ({error}). Log in with `hf auth login`, and "
            "check the name."
        ) from error
    return str(commit.commit_url)
