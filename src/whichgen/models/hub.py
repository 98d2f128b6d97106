"""Download models from the Hugging Face hub, and upload models to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from whichgen.errors import ModelFileError, get_first_line
from whichgen.io.hub_access import hub_access
from whichgen.models.model_card import CARD_FILE
from whichgen.models.origin_model import OriginModel
from whichgen.models.saved_model import DESCRIPTION_FILE, HEAD_FILE, save_model
from whichgen.models.signatures import CHECKSUMS_FILE, SIGNATURE_FILE

#: Names of the files that are downloaded from a repository.
_FILES = [DESCRIPTION_FILE, HEAD_FILE, CARD_FILE, CHECKSUMS_FILE, SIGNATURE_FILE]


def download_model(name: str | Path, *, revision: str | None = None) -> Path:
    """Download a model from the hub unless ``name`` is a local folder.

    Parameters
    ----------
    name
        Path of a local folder, or the hub repository ``owner/name``.
    revision
        Branch, tag or commit of the repository; default: its main branch. Ignored for a folder.

    Returns
    -------
    pathlib.Path
        Local folder of the model.

    Raises
    ------
    ModelFileError
        ``name`` is not a folder and can't be downloaded, for example because the repository or the
        revision does not exist, or the hub can't be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    # Import here, because importing huggingface_hub takes half a second.
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    with hub_access() as offline:
        try:
            folder = huggingface_hub.snapshot_download(
                str(name), revision=revision, allow_patterns=_FILES
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = offline or get_first_line(error)
            raise ModelFileError(
                f"{name} is not a folder, and it can't be downloaded from the hub ({reason}). "
                "Check the name, the revision and the network, log in with `hf auth login` if the "
                "repository is private, or specify a local run folder or model folder."
            ) from error
    return Path(folder)


def upload_model(
    model: OriginModel, repository: str, *, private: bool = True, message: str = ""
) -> str:
    """Upload a model and its card to a hub repository, which is created if it does not exist.

    The features of the exemplars are uploaded because enrollment requires them. The thumbnails of
    the exemplars are not uploaded, because the licenses of the images may not permit it.

    Parameters
    ----------
    model
        The model to upload.
    repository
        The hub repository ``owner/name``.
    private
        Whether a new repository is private; an existing repository keeps its visibility.
    message
        Commit message; default: ``Upload a whichgen model``.

    Returns
    -------
    str
        The URL of the commit.

    Raises
    ------
    ModelFileError
        The upload fails, for example because the hub can't be reached or rejects the upload.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    model = replace(model, exemplars=replace(model.exemplars, thumbnails=()))
    api = huggingface_hub.HfApi()
    with hub_access() as offline:
        try:
            with TemporaryDirectory() as folder:
                save_model(model, Path(folder), name=repository)
                api.create_repo(repository, private=private, exist_ok=True)
                commit = api.upload_folder(
                    repo_id=repository,
                    folder_path=folder,
                    commit_message=message or "Upload a whichgen model",
                )
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            # If the hub can't be reached, the client wrongly blames HF_HUB_OFFLINE.
            is_offline = isinstance(error, OfflineModeIsEnabled)
            reason = offline if is_offline else get_first_line(error)
            raise ModelFileError(
                f"uploading the model to {repository} failed ({reason}). Check the repository "
                "name and the network connection, and log in with `hf auth login`."
            ) from error
    return str(commit.commit_url)
