"""Makes embedkit's models, and others' extractors, ready for a runtime."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.checkpoint import NETWORK_INT8, load_config
from embedkit.checkpoint import fingerprint as weights_fingerprint
from embedkit.config import FeatureSpec
from embedkit.errors import ModelFolderError, UsageError, missing, require
from embedkit.models.table import choose_size
from embedkit.runtime import onnx
from embedkit.runtime.description import is_description, read_description
from embedkit.runtime.embedder import Embedder, GraphEmbedder, Runtime, is_cpu
from embedkit.runtime.foreign_program import foreign_fingerprint, prepare_foreign
from embedkit.runtime.onnx import onnx_network, read_network
from embedkit.runtime.openvino import check_bfloat16, openvino_network
from embedkit.runtime.ready import Program

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ModelProgram(Program):
    """A model folder that is ready to run.

    Attributes:
        model: the folder.
        features: settings of the front-end.
        graph: the network for ONNX Runtime and OpenVINO; None for torch.
    """

    model: Path
    features: FeatureSpec
    graph: bytes | None

    @property
    def origin(self) -> str:
        """The folder's path."""
        return str(self.model.resolve())

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the front-end."""
        return self.features.to_dict()

    def start(self, threads: int = 0) -> Embedder:
        """Make it run in this process.

        Args:
            threads: threads that the network may use; 0: as many as the runtime likes.
        """
        if self.graph is not None:
            if self.runtime.needs_openvino:
                network = openvino_network(self.graph, self.runtime, threads)
            else:
                network = onnx_network(self.graph, threads, self.device)
            return GraphEmbedder(network, self.features, self.embedding_size)
        from embedkit.runtime.torch import torch_embedder

        return torch_embedder(
            self.model, self.runtime, self.device, self.embedding_size, threads or None
        )

    def count_cards(self) -> int:
        """The number of GPUs that its runtime finds."""
        if self.graph is not None:
            return onnx.count_cards()
        from embedkit.runtime.torch import count_cards

        return count_cards()

    def front_end(self) -> Callable[[Array], Array]:
        """What is computed from segments [B, samples] before the device gets them.

        For a graph it is the features. torch computes them where the network is.
        """
        if self.graph is None:
            return lambda segments: segments
        from embedkit.audio.features import front_end

        return front_end(self.features)

    def start_network(self, threads: int = 0) -> Callable[[Array], Array]:
        """What follows `front_end`, in this process; it gives embeddings float32 [B, D]."""
        embedder = self.start(threads)
        if isinstance(embedder, GraphEmbedder):
            return embedder.embed_features
        return embedder.embed_segments


def prepare(
    model: Path,
    *,
    runtime: Runtime | None = None,
    device: str = "cpu",
    dim: int | None = None,
) -> Program:
    """Make an extractor ready to run.

    Args:
        model: the model folder, or the `extractor.toml` of somebody else's extractor.
        runtime: by default ONNX Runtime on a CPU and torch on any other device; somebody else's
            extractor has its own runtime.
        device: where the network is computed.
        dim: size of the embedding, where the model was trained for several; by default the one
            that its settings name, or the largest.

    Returns:
        the extractor.

    Raises:
        ModelFolderError: `model` is not a model folder, or has no network for the runtime.
        UsageError: there is no such device or size, the runtime does not run there, or a library
            that it needs is not installed.
    """
    if is_description(model):
        return prepare_foreign(model, runtime=runtime, device=device, dim=dim)
    if runtime is None:
        runtime = Runtime.ONNX if is_cpu(device) else Runtime.TORCH
    if runtime is Runtime.TFLITE:
        raise UsageError(f"runtime {runtime} is for TensorFlow Lite files that others made")
    config = load_config(model)
    if runtime.needs_torch:
        require("torch", "train")
        from embedkit.models.build import embedding_sizes
        from embedkit.models.module import check_device

        check_device(device)
        graph, sizes = None, embedding_sizes(config.model, config.feature_shape)
    else:
        if not is_cpu(device):
            _check_onnx(runtime, device)
        if runtime.needs_openvino:
            _check_openvino(runtime)
        network = read_network(model, int8=runtime.is_quantised)
        graph, sizes = network.graph, config.model.dims or (network.embedding_size,)
    return ModelProgram(
        runtime=runtime,
        model=model,
        sample_rate=config.features.sample_rate,
        segments=config.segments,
        features=config.features,
        embedding_size=choose_size(sizes, dim or config.size),
        fingerprint=fingerprint(model, runtime),
        device=device,
        graph=graph,
    )


def _check_onnx(runtime: Runtime, device: str) -> None:
    """Refuse what only computes on a CPU."""
    if runtime is not Runtime.ONNX or device.partition(":")[0] != "cuda":
        raise UsageError(
            f"runtime {runtime} does not compute on {device}: ONNX Runtime knows cpu and, in"
            " float32, cuda; choose torch"
        )
    onnx.check_card(device)


def _check_openvino(runtime: Runtime) -> None:
    # To import it takes a third of a second, and this process has no other use for it.
    if find_spec("openvino") is None:
        raise missing("openvino", "openvino")
    if runtime is Runtime.OPENVINO_BF16:
        check_bfloat16()


def fingerprint(model: Path, runtime: Runtime) -> str:
    """SHA-256 of the file that makes the vectors: the weights, or the quantised network.

    For somebody else's extractor it is `foreign_fingerprint`.

    Args:
        model: the model folder, or the description.
        runtime: the runtime.

    Returns:
        the fingerprint.

    Raises:
        ModelFolderError: the file is not there.
    """
    if is_description(model):
        return foreign_fingerprint(read_description(model))
    if not runtime.is_quantised:
        return weights_fingerprint(model)
    path = model / NETWORK_INT8
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(f"{path}: cannot be read: {error}") from error
