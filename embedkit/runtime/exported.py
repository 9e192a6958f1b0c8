"""The networks that exports left in a model folder."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from embedkit.checkpoint import fingerprint
from embedkit.errors import ModelFolderError
from embedkit.runtime.graph import split

FLOAT32, INT8 = "model.onnx", "model-int8.onnx"
WEIGHTS_OF = "fingerprint"  # the key of the file's metadata that names the weights it was made from


def int8_path(model: Path) -> Path:
    """Where a model folder holds its quantised network.

    Raises:
        ModelFolderError: it holds none.
    """
    path = model / INT8
    if not path.is_file():
        raise ModelFolderError(
            f"{model}: has no quantised network; `embedkit export {model} --to onnx --int8` makes"
            " it"
        )
    return path


def read_network(path: Path) -> onnx.ModelProto:
    """Read the network of an exported file: features -> embeddings.

    Raises:
        ModelFolderError: it is damaged, or was made from other weights than its folder holds.
    """
    try:
        whole = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise ModelFolderError(f"{path}: cannot be read: {error}") from error
    made_from = {entry.key: entry.value for entry in whole.metadata_props}.get(WEIGHTS_OF)
    if made_from != fingerprint(path.parent):
        raise ModelFolderError(
            f"{path}: was made from other weights than the model's; `embedkit export` makes it anew"
        )
    return split(whole)
