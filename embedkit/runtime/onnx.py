"""Runs a network by ONNX Runtime."""

import contextlib
import ctypes
import importlib.metadata
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from embedkit.checkpoint import CALIBRATION, NETWORK, NETWORK_INT8, fingerprint
from embedkit.errors import EmbedkitError, ModelFolderError, UsageError, missing
from embedkit.runtime.embedder import EMBEDDINGS, FEATURES, Network, is_cpu

# Keys of the graph's metadata: the weights it was made from, and what it costs.
WEIGHTS_OF, MACS = "fingerprint", "macs"
EXTERNAL = "session.model_external_initializers_file_folder_path"

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# The heuristic looks for no fastest kernel anew at every size of a batch.
ON_CARD = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


@dataclass(frozen=True)
class OnnxNetwork:
    """A network as a graph, from features to embeddings.

    Features are float32 [B, 1, frames, bands], and embeddings float32 [B, D].

    Attributes:
        graph: content of the ONNX file.
        embedding_size: D.
        macs: multiply-accumulates for a segment.
    """

    graph: bytes
    embedding_size: int
    macs: int


def read_network(model: Path, *, int8: bool = False) -> OnnxNetwork:
    """Read the network of a model folder.

    Args:
        model: the model folder.
        int8: read the quantised network.

    Returns:
        the network.

    Raises:
        ModelFolderError: the folder has none, it is damaged, or it was made from other weights.
    """
    path = model / (NETWORK_INT8 if int8 else NETWORK)
    what, remedy = "the network for ONNX Runtime", f"`embedkit export {model}` makes it"
    if int8:
        what = "the network in 8 bits; --runtime onnx and openvino run this model without it"
        sounds = "" if (model / CALIBRATION).exists() else " --calibration SOUNDS"
        remedy = f"`embedkit export {model} --int8{sounds}` makes it"
    try:
        graph = path.read_bytes()
    except FileNotFoundError as error:
        # Models of version 0.1.0 come without.
        raise ModelFolderError(
            f"{model}: has no {path.name}, {what}; {remedy}, once, where torch is installed: pip"
            " install 'embedkit[train]'"
        ) from error
    except OSError as error:
        raise ModelFolderError(f"{path}: cannot be read: {error}") from error
    try:
        session = open_session(graph, threads=1)
        about = session.get_modelmeta().custom_metadata_map
        made_from, macs = about[WEIGHTS_OF], int(about[MACS])
        [size] = [out.shape[1] for out in session.get_outputs() if out.name == EMBEDDINGS]
    except Exception as error:  # ONNX Runtime's errors have no common class but this
        raise ModelFolderError(f"{path}: not a network of embedkit's: {error}; {remedy}") from error
    if made_from != fingerprint(model):
        raise ModelFolderError(f"{path}: was made from other weights than the model's; {remedy}")
    return OnnxNetwork(graph, int(size), macs)


def onnx_network(graph: bytes, threads: int, device: str = "cpu") -> Network:
    """A network that ONNX Runtime runs.

    Args:
        graph: as in `OnnxNetwork`.
        threads: threads that it may use; 0: as many as there are cores.
        device: where it computes.

    Returns:
        the network.

    Raises:
        EmbedkitError: it cannot compute there.
    """
    session = open_session(graph, threads, device)

    def network(features: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32]
        [vectors] = session.run([EMBEDDINGS], {FEATURES: features})
        return vectors

    return network


def open_session(graph: bytes, threads: int, device: str = "cpu") -> onnxruntime.InferenceSession:
    """Open a session on a device.

    Args:
        graph: content of an ONNX file.
        threads: threads that it may use; 0: as many as there are cores.
        device: `cpu`, or a GPU as `cuda:1`.

    Returns:
        the session.

    Raises:
        EmbedkitError: ONNX Runtime cannot compute on the GPU.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors come as exceptions
    # Waiting threads would spin on the cores that decode meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights that a graph looks for in other files would be read from the current folder.
    options.add_session_config_entry(EXTERNAL, os.devnull)
    if is_cpu(device):
        # Not tried again where it fails: it would print that it does.
        return onnxruntime.InferenceSession(graph, options, providers=[CPU], enable_fallback=0)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
        onnxruntime.preload_dlls()
    card = {"device_id": device.partition(":")[2] or "0", **ON_CARD}
    session = onnxruntime.InferenceSession(
        graph, options, providers=[(CUDA, card), CPU], enable_fallback=0
    )
    # Where a library is missing that the provider needs, a session is made on the CPU.
    if CUDA not in session.get_providers():
        raise EmbedkitError(
            f"ONNX Runtime {onnxruntime.__version__} cannot compute on {device}: it finds no card,"
            " or not the CUDA and cuDNN that it was made for; pip install 'embedkit[gpu]' brings"
            " these two, and --runtime torch does without them"
        )
    return session


def check_card(device: str) -> None:
    """Refuse a GPU that does not exist, and an ONNX Runtime that was made for the CPU only.

    Raises:
        UsageError: it is one of both.
    """
    if CUDA in onnxruntime.get_available_providers():
        number, count = device.partition(":")[2] or "0", count_cards()
        if not number.isdecimal() or int(number) >= count:
            raise UsageError(
                f"device {device!r} cannot be used here: found {count} cards, numbered from 0"
            )
        return
    try:
        importlib.metadata.version("onnxruntime-gpu")
    except importlib.metadata.PackageNotFoundError as error:
        raise missing("onnxruntime-gpu", "gpu") from error
    # Both fill one folder, and the last one to be installed is the one that is there.
    raise UsageError(
        "onnxruntime-gpu is installed, and over it onnxruntime, which computes on the CPU alone:"
        " pip install --force-reinstall --no-deps onnxruntime-gpu"
    )


def count_cards() -> int:
    """The number of CUDA devices that the driver has for this process; opens no context."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    # Both give 0 where all is well; a machine may have the driver and no card.
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
