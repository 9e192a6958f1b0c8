"""Finds the model that made some vectors, wherever it is now."""

from contextlib import suppress
from pathlib import Path

from embedkit.config import FORMER_MODELS, OWN_MODELS
from embedkit.errors import EmbeddingFolderError, ModelFolderError
from embedkit.runtime.description import is_description
from embedkit.runtime.embedder import Runtime
from embedkit.runtime.program import fingerprint
from embedkit.store import Provenance


def find_model(provenance: Provenance, runtime: Runtime, named: Path | None) -> Path:
    """Find the model that made some vectors: its folder, or the description of somebody else's.

    Args:
        provenance: that of the vectors.
        runtime: the runtime that made them.
        named: where the model is now, if it has moved.

    Returns:
        its path.

    Raises:
        EmbeddingFolderError: it is not there, or what is there is another model.
    """
    # embedkit's own may have been elsewhere: in another environment, on another machine.
    for own in OWN_MODELS.values() if named is None else ():
        with suppress(ModelFolderError):  # one that has no quantised network made none of these
            if fingerprint(own, runtime) == provenance.fingerprint:
                return own
    folder = named or Path(provenance.model)
    wanted = f"the model that made these vectors (it was {provenance.model})"
    former = FORMER_MODELS.get(provenance.fingerprint)
    if named is None and former is not None:
        raise EmbeddingFolderError(
            f"these vectors were made by embedkit's own model of version {former}, which this"
            " version does not bring: `embedkit extract` the sounds into a new folder, or name the"
            " folder of the old model with --model"
        )
    if not folder.exists():
        kind = "file" if is_description(folder) else "folder"
        raise EmbeddingFolderError(f"{folder}: no such {kind}; name that of {wanted} with --model")
    try:
        found = fingerprint(folder, runtime)
    except ModelFolderError as error:
        raise EmbeddingFolderError(f"{error}; name the folder of {wanted} with --model") from error
    if found != provenance.fingerprint:
        raise EmbeddingFolderError(
            f"{folder}: not {wanted}: its weights are {found[:12]}, and those were"
            f" {provenance.fingerprint[:12]}; name the right folder with --model"
        )
    return folder
