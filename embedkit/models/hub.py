"""Model folders on the Hugging Face Hub (needs `embedkit[hub]`)."""

import errno
from pathlib import Path

from embedkit.checkpoint import (
    CALIBRATION,
    CONFIG,
    NETWORK,
    NETWORK_INT8,
    WEIGHTS,
    load_config,
)
from embedkit.errors import ModelFolderError, require, words

TRAVELS = [CONFIG, WEIGHTS, NETWORK, NETWORK_INT8, CALIBRATION, "README.md"]


def download(repo: str, revision: str | None = None) -> Path:
    """A model's folder in the Hub's cache, fetched if it is not there.

    What `huggingface_hub` honours is honoured: its cache, HF_HUB_OFFLINE, HF_TOKEN.

    Args:
        repo: a repository such as `user/name`.
        revision: a branch, tag or commit. Name a commit to get the same weights for ever; the
            folder's own name is the commit that was found.

    Returns:
        the folder.

    Raises:
        ModelFolderError: there is no such model, it cannot be reached, or the cache cannot be
            written.
        UsageError: huggingface_hub is not installed.
    """
    hub = require("huggingface_hub", "hub")
    try:
        return Path(hub.snapshot_download(repo, revision=revision, allow_patterns=TRAVELS))
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        place = f"{repo} at {revision}" if revision else repo
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if full or getattr(error, "filename", None):  # a file's fault here, and not the Hub's
            raise ModelFolderError(
                f"{place}: the cache of the Hub cannot be used: {words(error)}; HF_HOME names"
                " another folder"
            ) from error
        reason = str(error).strip().splitlines()[0]
        raise ModelFolderError(f"{place}: cannot be fetched from the Hub: {reason}") from error


def push_to_hub(folder: str | Path, repo: str, *, private: bool = False) -> str:
    """Publish a model folder: its settings, weights and card.

    Args:
        folder: the model folder.
        repo: a repository such as `user/name`, which is made if it is not there.
        private: make it private.

    Returns:
        the address of the commit.

    Raises:
        ModelFolderError: it is not a model folder.
        UsageError: huggingface_hub is not installed.
    """
    hub = require("huggingface_hub", "hub")
    load_config(Path(folder))
    api = hub.HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    done = api.upload_folder(
        repo_id=repo,
        folder_path=folder,
        allow_patterns=TRAVELS,
        commit_message="Publish an embedkit model",
    )
    return str(done.commit_url)
